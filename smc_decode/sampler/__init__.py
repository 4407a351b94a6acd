"""The sampler: Algorithm 1 (arXiv 2604.16453) over an engine and a potential, as a stream of events."""
