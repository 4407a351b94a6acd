"""Several functions in one answer: each is judged by its own tests as soon as it is complete.

r is the mean of the functions' rewards, weighted by how many assertions each has, so that every written assertion has
one share of the whole. A function that is not begun counts as ``pending``, so r moves part by part, and a definition
that is complete and wrong costs its share at once (though not for good: the last definition of a name counts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smc_decode.potentials.base import Prefix, Reward, RewardSource
from smc_decode.potentials.cache import content_key, gather
from smc_decode.potentials.code.unit_tests import UnitTests


class ModuleTests(RewardSource):
    """The reward source. ``parts``: for each function its tests, and how many assertions those are (at least one)."""

    reads_lead = True

    def __init__(self, parts: Mapping[str, tuple[UnitTests, int]], *, name: str, basis: str) -> None:
        self.name = name
        self._parts = dict(parts)
        self._basis = basis
        self._total = sum(weight for _, weight in self._parts.values())

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        columns = await gather(source.rewards(batch) for source, _ in self._parts.values())
        return [self._joined([column[i] for column in columns]) for i in range(len(batch))]

    def _joined(self, rewards: Sequence[Reward]) -> Reward:
        weights = [weight / self._total for _, weight in self._parts.values()]
        value = sum(weight * reward.value for weight, reward in zip(weights, rewards, strict=True))
        at_most = sum(weight * min(reward.at_most, 1.0) for weight, reward in zip(weights, rewards, strict=True))
        details = [reward.detail for reward in rewards]
        detail: dict[str, Any] = {
            "basis": self._basis,
            "syntax": all(each["syntax"] for each in details),
            "complete": all(each["complete"] for each in details),
            "passed": sum(each["passed"] for each in details),
            "total": self._total,
            "tests": [{"name": name, "status": _status(each)} for name, each in zip(self._parts, details, strict=True)],
        }
        behaviours = [each.get("behaviour") for each in details]
        if all(behaviours):
            detail["behaviour"] = content_key(*behaviours).hex()
        return Reward(min(value, 1.0), detail, at_most)


def _status(detail: Mapping[str, Any]) -> str:
    """``passed``, ``failed``, or ``open`` while the function is being written."""
    if not detail["syntax"]:
        return "failed"
    if not detail["complete"] or detail["undecided"]:
        return "open"
    return "passed" if detail["total"] and detail["passed"] == detail["total"] else "failed"
