"""Clocks: from the ticks of a device to monotonic time of the host. No input or output, and no clock is read."""
