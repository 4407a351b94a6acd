"""Resampling schemes, each registered under its name with one signature; packages add theirs with an entry point in
the group ``smc_decode.resampling``.

A scheme takes normalised weights W of shape (N,), the number n of offspring and a Generator, and gives
:class:`Offspring`. Unbiased: for every parent i the expected weight of its offspring is n * W_i (for the
equal-weight schemes, E[number of offspring] = n * W_i). docs/method.md, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smc_decode.laws.weights import Floats
from smc_decode.registry import Registry

Indices = NDArray[np.intp]


class Offspring(NamedTuple):
    """``ancestors`` (n,): the parent of each offspring. ``log_weights`` (n,): their weights, zero (equal) for all
    schemes but chopthin; scaled so that the weights sum to n."""

    ancestors: Indices
    log_weights: Floats


Scheme = Callable[[Floats, int, np.random.Generator], Offspring]
SCHEMES: Registry[Scheme] = Registry("resampling", group="smc_decode.resampling")


def resample(name: str, weights: Floats, n: int, rng: np.random.Generator) -> Offspring:
    """Resample with the scheme of that name.

    Raises:
        RegistryError: no such scheme (the message lists the names), or its package cannot be imported.
    """
    return SCHEMES[name](weights, n, rng)


def _equal(ancestors: Indices) -> Offspring:
    return Offspring(ancestors, np.zeros(ancestors.size))


def _invert(weights: Floats, points: Floats) -> Indices:
    """The inverse of the weights' distribution function at sorted or unsorted points in [0, 1)."""
    cumulative = np.cumsum(weights)
    # Dividing by the last entry makes it exactly 1, so that rounding can never point past a live particle.
    cumulative /= cumulative[-1]
    return np.searchsorted(cumulative, np.minimum(points, 1.0 - 2.0**-53), side="right")


@SCHEMES.register("multinomial")
def multinomial(weights: Floats, n: int, rng: np.random.Generator) -> Offspring:
    """n independent draws (Gordon, Salmond and Smith 1993)."""
    return _equal(_invert(weights, np.sort(rng.random(n))))


@SCHEMES.register("stratified")
def stratified(weights: Floats, n: int, rng: np.random.Generator) -> Offspring:
    """One uniform in each of n equal strata (Kitagawa 1996)."""
    return _equal(_invert(weights, (np.arange(n) + rng.random(n)) / n))


@SCHEMES.register("systematic")
def systematic(weights: Floats, n: int, rng: np.random.Generator) -> Offspring:
    """One uniform, shifted through the n strata (Carpenter, Clifford and Fearnhead 1999)."""
    return _equal(_invert(weights, (np.arange(n) + rng.random()) / n))


@SCHEMES.register("residual")
def residual(weights: Floats, n: int, rng: np.random.Generator) -> Offspring:
    """floor(n W_i) copies for sure, the rest multinomially on the remainders (Liu and Chen 1998)."""
    expected = n * weights
    sure = np.floor(expected).astype(np.intp)
    left = n - int(sure.sum())
    ancestors = np.repeat(np.arange(weights.size), sure)
    if left > 0:
        remainder = expected - sure
        extra = _invert(remainder / remainder.sum(), np.sort(rng.random(left)))
        ancestors = np.sort(np.concatenate([ancestors, extra]))
    return _equal(ancestors.astype(np.intp))


@SCHEMES.register("ssp")
def ssp(weights: Floats, n: int, rng: np.random.Generator) -> Offspring:
    """Srinivasan sampling process: every parent has floor or ceil of n W_i offspring (Gerber, Chopin and Whiteley
    2019, algorithm 1). Two fractional parts at a time are moved against each other until one of them is whole."""
    expected = n * weights
    counts = np.floor(expected).astype(np.intp)
    part = expected - counts
    up, down = 0, 1
    for following, uniform in enumerate(rng.random(weights.size - 1), start=2):
        rise = min(part[down], 1.0 - part[up])
        fall = min(part[up], 1.0 - part[down])
        # The part at `up` rises with probability fall / (rise + fall), else falls: its mean stays.
        if rise + fall > 0.0 and uniform < rise / (rise + fall):
            up, down, rise = down, up, fall
        if part[down] < 1.0 - part[up]:
            part[up] += rise
            down = following
        else:
            part[down] -= rise
            counts[up] += 1
            up = following
    if counts.sum() < n:  # rounding left the last part a hair below one
        counts[down if up >= weights.size else up] += 1
    return _equal(np.repeat(np.arange(weights.size), counts).astype(np.intp))


CHOPTHIN_RATIO = 3.0 + np.sqrt(8.0)
"""The largest weight ratio after chopthin; the value that Gandy and Lau (2016) recommend."""


@SCHEMES.register("chopthin")
def chopthin(weights: Floats, n: int, rng: np.random.Generator) -> Offspring:
    """Weights after resampling differ by a factor of at most :data:`CHOPTHIN_RATIO` (Gandy and Lau 2016).

    Below a threshold a: kept with probability w / a, with weight a (thinned). Above ratio * a / 2: chopped into
    about 2 w / (ratio * a) pieces of equal weight. Between: kept as it is. a is where the pieces number n.
    """
    scaled = n * weights

    def pieces(a: float) -> Floats:
        return np.where(scaled < a, scaled / a, np.maximum(1.0, 2.0 * scaled / (CHOPTHIN_RATIO * a)))

    low, high = 1.0 / CHOPTHIN_RATIO, float(n)  # below 2 / ratio there are more than n pieces
    for _ in range(64):
        a = float(np.sqrt(low * high))
        low, high = (a, high) if pieces(a).sum() > n else (low, a)
    expected = pieces(a)
    ancestors = systematic(expected / expected.sum(), n, rng).ancestors
    counts = np.bincount(ancestors, minlength=weights.size)
    weight_each = np.where(scaled < a, a, scaled / np.maximum(counts, 1))
    return Offspring(ancestors, np.log(weight_each[ancestors]))
