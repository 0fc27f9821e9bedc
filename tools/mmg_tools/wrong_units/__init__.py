"""Are wrong units and stuck channels told before the third decision, and healthy recordings left in peace?"""
