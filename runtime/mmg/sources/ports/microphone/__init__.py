"""Microphones, through PortAudio."""
