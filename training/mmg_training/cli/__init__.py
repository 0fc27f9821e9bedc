"""The commands, a file each; parsing and nothing else."""
