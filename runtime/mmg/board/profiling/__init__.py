"""What each subset of modalities costs on this board: latency, processor, memory, energy."""
