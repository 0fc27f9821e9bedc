"""IMUs on a serial port."""
