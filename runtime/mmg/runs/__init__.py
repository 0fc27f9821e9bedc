"""Runs: threads, queues and pace around the engine, for recordings and for live ports."""
