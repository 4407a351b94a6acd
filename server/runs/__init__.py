"""From a request to runs of the sampler, and what is kept of them."""
