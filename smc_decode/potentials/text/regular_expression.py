"""A regular expression that the whole answer has to match: r = 1 or 0, and ``pending`` for a prefix that still can.

Patterns come from clients and may take exponential time, so they run in a worker process with a time limit (the
``regex`` module). A match that takes too long is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from smc_decode.potentials.accounts import Workers
from smc_decode.potentials.base import PotentialError, Prefix, Reward, RewardSource
from smc_decode.potentials.cache import gather
from smc_decode.potentials.declaration import Kind
from smc_decode.potentials.options import Finite, Options, Share
from smc_decode.workers.pool import TaskDied, TaskError


class RegularExpressionOptions(Options):
    """``match``: the pattern covers the whole answer (``full``) or is found in it (``search``; a prefix without a match
    then always counts ``pending``). ``strip``: leave spaces around the answer out. ``timeout`` in seconds."""

    pattern: str = Field(min_length=1, max_length=2_000)
    match: Literal["full", "search"] = "full"
    strip: bool = False
    pending: Share = 0.5
    timeout: Finite = Field(0.5, gt=0, le=10)


class RegularExpression(RewardSource):
    """The reward source."""

    def __init__(self, options: RegularExpressionOptions, workers: Workers, *, name: str = "regex") -> None:
        self.name = name
        self.options = options
        self._workers = workers

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        return await gather(self._reward(prefix) for prefix in batch)

    async def _reward(self, prefix: Prefix) -> Reward:
        options = self.options
        try:
            found = await self._workers.acall(
                "pattern",
                options.timeout + 0.2,
                pattern=options.pattern,
                text=prefix.text,
                search=options.match == "search",
                patience=options.timeout,
                strip=options.strip,
                finished=prefix.finished,
            )
        except TaskDied:
            return Reward(0.0, {"basis": "regex", "match": "timeout"})
        except TaskError as error:
            if "TimeoutError" in str(error) or "MemoryError" in str(error):
                return Reward(0.0, {"basis": "regex", "match": "timeout"})
            raise PotentialError(f"smc.reward.params.pattern is no pattern: {error}") from error
        if found in ("full", "found"):
            # a longer text need not match any more, unless what was found stays
            value = 1.0 if prefix.finished or found == "found" else options.pending
        else:
            value = options.pending if found == "partial" and not prefix.finished else 0.0
        return Reward(value, {"basis": "regex", "match": "full" if found == "found" else found})


KIND = Kind(
    "A regular expression that the answer matches",
    RegularExpressionOptions,
    lambda options, context: RegularExpression(options, context.workers, name=context.name),
    request_params=("pattern", "match", "strip", "pending"),
    modules=("regex",),
)
