"""A virtual wearable: an activity scenario of the virtual wearer, played through real ports of this machine.

``mmg-virtual`` is its command; ``VirtualWearable`` is the same in Python.
"""
