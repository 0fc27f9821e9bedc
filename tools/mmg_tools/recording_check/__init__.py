"""Does a recording hold what it promises: replay to the last bit, cut, split and killed, at a small cost?"""
