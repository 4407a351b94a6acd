"""Self-consistency across the population: how many others reach the same answer?

r = (others with the same answer + 1/2) / (others + 1), over every complete answer of the run that was scored so far,
the batch included; so a lone answer has 1/2. A text without an answer scores 0. The score depends on the
population and not on the answer alone: it is not cached, and log Z is then no estimate of a fixed target's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Sequence

from pydantic import field_validator

from smc_decode.answers.extractors import EXTRACTORS
from smc_decode.potentials.base import Prefix, Reward, RewardSource
from smc_decode.potentials.declaration import Kind
from smc_decode.potentials.options import Options


class SelfConsistencyOptions(Options):
    """``extractor``: what makes two answers the same (``text``, ``boxed``, ``code``, or a package's own)."""

    extractor: str = "boxed"

    @field_validator("extractor")
    @classmethod
    def _known(cls, name: str) -> str:
        return EXTRACTORS.check(name)


class SelfConsistency(RewardSource):
    """The reward source. One per run: it keeps the answers that it has seen."""

    prefixes = False
    cacheable = False
    inexact = "self-consistency depends on the population: the target is not fixed"

    def __init__(self, options: SelfConsistencyOptions | None = None, *, name: str = "self_consistency") -> None:
        self.name = name
        self.options = options or SelfConsistencyOptions()
        self._seen: Counter[Hashable] = Counter()
        self._total = 0

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        extract = EXTRACTORS[self.options.extractor]
        texts = [prefix.text for prefix in batch]
        answers = await asyncio.to_thread(lambda: [extract(text) for text in texts])
        self._total += len(answers)
        self._seen.update(answer for answer in answers if answer is not None)
        return [self._reward(answer) for answer in answers]

    def _reward(self, answer: Hashable | None) -> Reward:
        detail = {"basis": "agreement", "others": self._total - 1}
        if answer is None:
            return Reward(0.0, {**detail, "note": "no answer found"})
        same = self._seen[answer] - 1
        return Reward((same + 0.5) / self._total, {**detail, "same": same, "answer": str(answer)[:200]})


KIND = Kind(
    "Share of the population that reaches the same answer",
    SelfConsistencyOptions,
    lambda options, context: SelfConsistency(options, name=context.name),
    request_params=("extractor",),
)
