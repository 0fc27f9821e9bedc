"""The networks, a short file each: three streaming encoders and the fusion over their tokens."""
