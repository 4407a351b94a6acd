"""The model's own confidence as a reward: a geometric mean of token probabilities, exp(mean log p), in (0, 1].

Statistics: ``mean`` over the whole answer; ``tail`` over its last ``window`` tokens, where minus the mean is an
unbiased estimate of the tail's mean entropy; ``lowest`` over the least confident run of ``window`` tokens.
Log-probabilities are the base model's (temperature 1). Finished and unfinished answers are scored alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

from pydantic import Field

from smc_decode.potentials.base import PotentialError, Prefix, Reward, RewardSource
from smc_decode.potentials.declaration import Kind
from smc_decode.potentials.options import Options

Statistic = Literal["mean", "tail", "lowest"]


class ConfidenceOptions(Options):
    """``window`` in tokens (``tail`` and ``lowest``)."""

    statistic: Statistic = "mean"
    window: int = Field(64, ge=1, le=100_000)


def mean_logprob(logprobs: Sequence[float], statistic: Statistic = "mean", window: int = 64) -> float:
    """The mean log-probability that a statistic looks at; 0 for no tokens."""
    if not logprobs:
        return 0.0
    if statistic == "tail":
        logprobs = logprobs[-window:]
    elif statistic == "lowest" and len(logprobs) > window:
        sums = [0.0, *accumulate(logprobs)]
        return min(sums[end] - sums[end - window] for end in range(window, len(sums))) / window
    return math.fsum(logprobs) / len(logprobs)


class Confidence(RewardSource):
    """The reward source."""

    needs_logprobs = True

    def __init__(self, options: ConfidenceOptions | None = None, *, name: str = "confidence") -> None:
        self.name = name
        self.options = options or ConfidenceOptions()

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        return [self._reward(prefix) for prefix in batch]

    def _reward(self, prefix: Prefix) -> Reward:
        if prefix.logprobs is None:
            raise PotentialError(f"reward {self.name!r} reads log-probabilities, which this run does not keep")
        mean = mean_logprob(prefix.logprobs, self.options.statistic, self.options.window)
        return Reward(min(1.0, math.exp(mean)), {"basis": "confidence", "mean_logprob": round(mean, 6)})


KIND = Kind(
    "The model's own confidence: exp of the mean log-probability, of all tokens, the tail or the least sure run",
    ConfidenceOptions,
    lambda options, context: Confidence(options, name=context.name),
    request_params=("statistic", "window"),
)
