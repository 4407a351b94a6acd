"""Log-weights: pure functions on float64 arrays of shape (N,). docs/method.md, section 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def log_sum_exp(log_weights: ArrayLike) -> float:
    """log sum_i exp(log_weights_i), without overflow; -inf where all are -inf."""
    values = np.asarray(log_weights, dtype=np.float64)
    top = float(values.max(initial=-np.inf))
    if not np.isfinite(top):
        return top
    return top + float(np.log(np.exp(values - top).sum()))


def log_mean_exp(log_weights: ArrayLike) -> float:
    """log of the mean weight: the estimate of the evidence that a weighted population carries."""
    values = np.asarray(log_weights, dtype=np.float64)
    return log_sum_exp(values) - float(np.log(values.size))


def normalise(log_weights: ArrayLike) -> Floats:
    """W_i = w_i / sum_j w_j, shape (N,).

    Raises:
        ValueError: all weights are zero, or one is NaN or +inf.
    """
    values = np.asarray(log_weights, dtype=np.float64)
    total = log_sum_exp(values)
    if not np.isfinite(total):
        raise ValueError(f"weights cannot be normalised: the log of their sum is {total}")
    weights: Floats = np.exp(values - total)
    weights /= weights.sum()
    return weights


def effective_sample_size(log_weights: ArrayLike) -> float:
    """ESS = 1 / sum_i W_i^2, between 1 and N; 0 where all weights are zero (Kong 1992)."""
    values = np.asarray(log_weights, dtype=np.float64)
    total = log_sum_exp(values)
    if total == -np.inf:
        return 0.0
    return float(np.exp(-log_sum_exp(2.0 * (values - total))))
