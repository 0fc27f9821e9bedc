"""Fuzzing: foreign bytes, made up and mutated without end, into every reader that mmg has.

A target is one reader and what must hold of it whatever it is given. A worker is a process of its own that runs one
target; a campaign starts workers, and tells what they found. atheris guides it by coverage where it is installed.
"""
