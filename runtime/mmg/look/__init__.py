"""One page of a recording: signals, sound, decisions, health and marks on one timeline, in one file."""
