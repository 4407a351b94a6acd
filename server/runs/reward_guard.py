"""What happens when the reward itself fails: the request fails (the default), or the run goes on without it.

``keep``: the prefix keeps the value that it had a block ago, so that its weight does not change. ``floor``: it
counts as reward 0. Either way the answer carries a warning, since the target is not what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import structlog

from smc_decode.potentials.base import Evaluation, Potential, PotentialKind, Prefix, RewardFailure

_log = structlog.get_logger("server.rewards")


class RewardGuard:
    """A potential that stands in for another when that one fails."""

    def __init__(self, inner: Potential, policy: Literal["keep", "floor"]) -> None:
        self._inner = inner
        self._policy = policy
        self._known: dict[tuple[int, ...], Evaluation] = {}
        self.failures = 0
        self.last_failure = ""

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def kind(self) -> PotentialKind:
        return self._inner.kind

    @property
    def log_scale(self) -> float | None:
        return self._inner.log_scale

    @property
    def cacheable(self) -> bool:
        return self._inner.cacheable

    @property
    def needs_logprobs(self) -> bool:
        return self._inner.needs_logprobs

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the answer says of the failures so far."""
        if not self.failures:
            return ()
        what = "kept its last value" if self._policy == "keep" else "counted as 0"
        return (f"the reward failed for {self.failures} prefixes and {what}: {self.last_failure}",)

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        try:
            evaluations = await self._inner.evaluate(batch)
        except RewardFailure as error:
            self.failures += len(batch)
            self.last_failure = str(error)
            _log.warning("reward failed", reward=self.name, policy=self._policy, error=str(error))
            return [self._substitute(prefix) for prefix in batch]
        if self._policy == "keep":
            self._known.update({p.token_ids: e for p, e in zip(batch, evaluations, strict=False)})
        return evaluations

    def _substitute(self, prefix: Prefix) -> Evaluation:
        # log psi = 0 for a product; for the others log R = 0 is the reward 0, where R = exp(scale * r).
        if self._policy == "keep" and self.kind == "telescoping":
            for length in range(len(prefix.token_ids), 0, -1):
                known = self._known.get(prefix.token_ids[:length])
                if known is not None:
                    return known
        return Evaluation(0.0, None, {"failed": self.last_failure})
