"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

StopCause = Literal["complete", "early_stop", "reward_reached", "max_total_tokens", "max_total_rows", "deadline"]


TOKEN_ACCOUNTS = (
    "sampled",
    "rollout",
    "mh",
    "reused",
    "drafted",
    "computed_rows",
    "prompt_computed",
    "prompt_cached",
)
"""The fields of :class:`Usage` that count the work of a run in tokens or rows, in the order in which they are told."""
WORK_ACCOUNTS = (*TOKEN_ACCOUNTS, "reward_calls", "reward_cached")
"""Those that tell all its work."""


@dataclass(slots=True)
class Usage:
    """Every token and call of a run. ``answer`` are the tokens of the returned answer; ``sampled`` every token
    drawn for particles, ``rollout`` and ``mh`` those drawn for lookahead and moves (``sampled`` has neither);
    ``reused`` rollout tokens that became part of a particle or of a next rollout, at no cost; ``drafted`` tokens of
    draws that began like earlier ones and were not drawn again. ``computed_rows``: for how many of the drawn tokens
    the model ran; the others' prefixes it had in the same call already."""

    answer: int = 0
    sampled: int = 0
    rollout: int = 0
    mh: int = 0
    reused: int = 0
    drafted: int = 0
    prompt_computed: int = 0
    prompt_cached: int = 0
    reward_calls: int = 0
    reward_cached: int = 0
    engine_calls: int = 0
    computed_rows: int = 0

    @property
    def drawn(self) -> int:
        """All tokens that the engine drew."""
        return self.sampled + self.rollout + self.mh


@dataclass(frozen=True, slots=True)
class Particle:
    """One member of the final population. ``log_weight`` is unnormalised and carries the run's evidence: the
    log-mean-exp over the population is ``log_z``. ``weight`` is normalised. ``finish_reason``: ``eos``, ``stop``
    (stop token or string), ``length`` (max_tokens), or None where the run ended before the particle did."""

    token_ids: tuple[int, ...]
    log_weight: float
    weight: float
    finished: bool
    reward: float | None
    finish_reason: str | None = None
    text: str | None = None
    logprobs: tuple[float, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SMCResult:
    """A finished run. ``ess``, ``log_zs`` and ``ancestors`` have one entry per block; ``ancestors[k]`` is the
    (N,) array of parents (the identity where block k did not resample). ``log_z`` is None where the run's mode
    gives no estimate of it. ``answer`` is the selected particle, ``draws`` all of them where more were asked."""

    particles: Sequence[Particle]
    answer: Particle
    draws: Sequence[Particle]
    log_z: float | None
    ess: Sequence[float]
    ancestors: Sequence[NDArray[np.intp]]
    resampled: Sequence[bool]
    acceptance_rate: float | None
    blocks: int
    usage: Usage
    stopped: StopCause = "complete"
    inexact: tuple[str, ...] = ()
    """Why E[exp(log_z)] is not Z or the weights are not proper at every N, said by each part that causes it."""
    warnings: Sequence[str] = ()

    @property
    def exact(self) -> bool:
        """Whether E[exp(log_z)] = Z and the weights are proper at any N (docs/method.md, "What is exact")."""
        return not self.inexact
