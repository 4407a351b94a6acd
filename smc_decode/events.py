"""What a run tells its readers. HTTP streaming, traces, metrics, the page and the benchmarks read these; the
sampler knows none of them, and a run is the same with or without a reader.

``block`` counts from 0. Arrays have shape (N,), in particle order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smc_decode.result import SMCResult, Usage


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins. ``n_blocks`` is the most it can take."""

    n_particles: int
    n_blocks: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class BlockExtended:
    """Every unfinished particle has its next block. ``token_ids`` holds the whole generated part of each."""

    block: int
    token_ids: Sequence[tuple[int, ...]]
    finished: Sequence[bool]
    new_tokens: int


@dataclass(frozen=True, slots=True)
class RolledOut:
    """Lookahead values are there. ``log_values`` (N,): log L^ per particle (0 for finished ones)."""

    block: int
    log_values: NDArray[np.float64]
    tokens: int
    reused: int


@dataclass(frozen=True, slots=True)
class Weighted:
    """The block's weights. ``log_weights`` (N,): unnormalised, carrying the evidence; ``rewards`` may be None."""

    block: int
    log_weights: NDArray[np.float64]
    rewards: Sequence[float | None]
    ess: float
    log_z: float
    bridge: float = 1.0


@dataclass(frozen=True, slots=True)
class Resampled:
    """The population was resampled: particle i is a copy of ``ancestors[i]``."""

    block: int
    ancestors: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Rejuvenated:
    """One Metropolis-Hastings step over the population. ``proposed``/``accepted`` (N,) booleans."""

    block: int
    step: int
    proposed: NDArray[np.bool_]
    accepted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Posterior:
    """The anytime posterior over final answers: ``(answer's token ids, weight)``, heaviest first, weights sum to 1."""

    block: int
    answers: Sequence[tuple[tuple[int, ...], float]]


@dataclass(frozen=True, slots=True)
class Committed:
    """Tokens that every surviving particle shares and that nothing may change any more: safe to show.

    ``token_ids`` is the whole committed prefix, growing from event to event; ``logprobs`` its base log-probabilities,
    where the run has them, else empty.
    """

    block: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of the account after a block."""

    block: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every run that did not raise."""

    result: SMCResult


Event = (
    Started
    | BlockExtended
    | RolledOut
    | Weighted
    | Resampled
    | Rejuvenated
    | Posterior
    | Committed
    | Progress
    | Finished
)
