"""The benchmark, ``python -m mmg_tools.bench``: what mmg promises of its own cost, as ratios, each with its goal.

Nothing is imported here: the memory of a process that starts from this package is one of the figures.
"""
