"""Recordings of live runs, as MCAP files: what ports delivered and what was decided of it, for replay and training."""
