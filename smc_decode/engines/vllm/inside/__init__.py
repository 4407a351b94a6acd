"""What runs inside vLLM's own process: it is imported there and nowhere else."""
