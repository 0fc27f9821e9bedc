"""The board: what this machine is, what stands in the way on it, and what each subset of modalities costs on it."""
