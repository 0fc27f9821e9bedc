"""Recordings: one module or folder for each kind of file, replayed as a sensor."""
