"""Ports: sensors that are plugged in now, and finding what is."""
