"""What happens when the reward itself fails: the request fails (the default), or the run goes on without it.

``keep``: the prefix keeps the value that it had a block ago, so that its weight does not change. ``floor``: it
counts as reward 0. Either way the target is not what was asked for: the run says so (``inexact``), and the answer
carries a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from smc_decode.potentials.base import Evaluation, Potential, Prefix, RewardFailure, inexact_of, name_of, positive_of

_log = logging.getLogger(__name__)


class RewardGuard(Potential):
    """A potential that stands in for another when that one fails. One per run.

    ``failures``: prefixes that went without; ``last_failure``: why the last of them did.
    """

    def __init__(self, inner: Potential, policy: Literal["keep", "floor"]) -> None:
        self._inner = inner
        self._policy = policy
        self._known: dict[tuple[int, ...], Evaluation] = {}
        self.name = name_of(inner)
        self.kind = inner.kind
        self.log_scale = inner.log_scale
        self.positive = positive_of(inner)
        self.cacheable = inner.cacheable
        self.needs_logprobs = inner.needs_logprobs
        self.inexact = inexact_of(inner)
        self.failures = 0
        self.last_failure = ""

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
            self.inexact = "the reward failed for a part of the run, which went on without it"
            _log.warning("reward %s failed (policy %s): %s", self.name, self._policy, error)
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
