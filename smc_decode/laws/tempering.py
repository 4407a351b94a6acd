"""Adaptive tempering: the next step of a sequence of targets, by bisection of the ESS (Jasra et al. 2011)."""

from __future__ import annotations

from collections.abc import Callable

from smc_decode.laws.weights import Floats, effective_sample_size


def next_level(log_weights: Callable[[float], Floats], current: float, ess: float, n: int) -> float:
    """The largest level in [current, 1] whose weights keep an ESS of ``ess`` * n.

    Args:
        log_weights: the population's log-weights, shape (N,), as a function of the level.
        current: the level so far; the result is never below it. Exactly 1.0 where the whole step keeps the ESS.
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
