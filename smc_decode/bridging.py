"""Adaptive bridging: how far the target may be raised at a block. docs/method.md, "Bridging"."""

from __future__ import annotations

from collections.abc import Callable

from smc_decode.weights import Floats, effective_sample_size


def next_bridge(log_weights: Callable[[float], Floats], current: float, ess: float, n: int) -> float:
    """The largest bridge in [current, 1] whose weights keep an ESS of ``ess`` * n, by bisection (Jasra et al. 2011).

    Args:
        log_weights: the population's log-weights, shape (N,), as a function of the bridge.
        current: the bridge so far; the result is never below it. Exactly 1.0 where the whole step keeps the ESS.
    """
    if effective_sample_size(log_weights(1.0)) >= ess * n:
        return 1.0
    low, high = current, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        if effective_sample_size(log_weights(middle)) >= ess * n:
            low = middle
        else:
            high = middle
    return low
