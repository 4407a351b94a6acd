"""Trajectories: what has been drawn for one particle, as an immutable value.

Copies made by resampling share a trajectory; nothing is ever changed in place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A generated prefix x_{1:n} with the numbers of the model and of the potential that belong to it.

    ``logprobs``, ``proposal_logprobs``, ``log_z``: per token, or empty where the run needs none of them.
    ``log_potential``: log of the product of the potentials so far (log R for a telescoping one); None: not scored.
    ``log_potentials``: its running value at the end of each block (product potentials only), for moves that cut.
    ``at_most``: no continuation has a higher reward.
    """

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    proposal_logprobs: tuple[float, ...] = ()
    log_z: tuple[float, ...] = ()
    finish_reason: str | None = None
    log_potential: float | None = 0.0
    log_potentials: tuple[float, ...] = ()
    reward: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    at_most: float = math.inf

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def finished(self) -> bool:
        """Complete: ended by EOS or a stop, or at max_tokens."""
        return self.finish_reason is not None

    def head(self, length: int, block_size: int) -> Trajectory:
        """The first ``length`` tokens, unscored beyond the block boundaries that they contain."""
        if length >= len(self):
            return self
        kept = self.log_potentials[: length // block_size]
        return Trajectory(
            self.token_ids[:length],
            self.logprobs[:length],
            self.proposal_logprobs[:length],
            self.log_z[:length],
            log_potential=0.0 if length == 0 else None,
            log_potentials=kept,
        )

    def can_reach(self, reward: float) -> bool:
        """Whether it has this reward, or may still come to it."""
        if self.finished:
            return self.reward is not None and self.reward >= reward
        return self.at_most >= reward

    def scored(
        self,
        log_potential: float,
        log_potentials: tuple[float, ...] = (),
        reward: float | None = None,
        detail: Mapping[str, Any] | None = None,
        at_most: float = math.inf,
    ) -> Trajectory:
        """The same trajectory with what its potential said."""
        return Trajectory(  # by hand: dataclasses.replace is half of a toy run's time
            self.token_ids,
            self.logprobs,
            self.proposal_logprobs,
            self.log_z,
            self.finish_reason,
            log_potential,
            log_potentials,
            reward,
            detail or {},
            at_most,
        )
