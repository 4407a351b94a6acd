"""Several rewards as one: a weighted sum, r = sum w_i r_i / sum w_i, or a weighted product, r = prod r_i^(w_i /
sum w).

A member that judges complete answers only counts ``pending`` for the unfinished ones, also where it is the only
member. With ``weights`` the weights come from a file that ``fuse`` fitted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from smc_decode.potentials.base import Prefix, Reward, RewardFailure, RewardSource, inexact_of
from smc_decode.potentials.cache import gather
from smc_decode.potentials.declaration import Kind
from smc_decode.potentials.options import Finite, Options, RewardConfigError, Share


class EnsembleOptions(Options):
    """``members``: names of other rewards and their weights. ``params``: the members' own params, by name.
    ``weights``: a file of fitted weights, instead of those in ``members``."""

    members: dict[str, Finite] = Field(min_length=1, max_length=16)
    combine: Literal["sum", "product"] = "sum"
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    weights: str | None = None
    pending: Share = 0.5

    @model_validator(mode="after")
    def _usable(self) -> EnsembleOptions:
        if any(weight < 0 for weight in self.members.values()) or not any(self.members.values()):
            raise ValueError("members: weights must not be negative, and one must be positive")
        strangers = sorted(set(self.params) - set(self.members))
        if strangers:
            raise ValueError(f"params: {', '.join(strangers)} is no member; members: {', '.join(self.members)}")
        return self


def read_weights(path: str, members: Sequence[str]) -> dict[str, float]:
    """The weights in a file that ``fuse`` wrote. Raises RewardConfigError."""
    try:
        table = json.loads(Path(path).read_text())["weights"]
        weights = {name: float(table[name]) for name in members}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RewardConfigError(f"{path} has no weights for {', '.join(members)}: {error!r}") from error
    if any(not 0 <= weight < math.inf for weight in weights.values()) or not any(weights.values()):
        raise RewardConfigError(f"{path}: weights must be finite and not negative, and one must be positive")
    return weights


class Ensemble(RewardSource):
    """The reward source over ``members``: (source, weight)."""

    reads_lead = True

    def __init__(
        self,
        members: Sequence[tuple[RewardSource, float]],
        combine: Literal["sum", "product"] = "sum",
        *,
        name: str = "ensemble",
        pending: float = 0.5,
    ) -> None:
        used = [(source, weight) for source, weight in members if weight > 0]
        total = math.fsum(weight for _, weight in used)
        if not used or not math.isfinite(total):
            raise ValueError("an ensemble needs a member with a positive, finite weight")
        self.name = name
        self._members = [(source, weight / total) for source, weight in used]
        self._combine = combine
        self._pending = pending
        self.cacheable = all(source.cacheable for source, _ in used)
        self.needs_logprobs = any(source.needs_logprobs for source, _ in used)
        self.inexact = next((reason for source, _ in used if (reason := inexact_of(source))), None)

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        columns = await gather(self._ask(source, batch) for source, _ in self._members)
        return [self._mix([column[index] for column in columns]) for index in range(len(batch))]

    async def _ask(self, source: RewardSource, batch: Sequence[Prefix]) -> list[Reward]:
        judged = [i for i, prefix in enumerate(batch) if source.prefixes or prefix.finished]
        rewards = await source.rewards([batch[i] for i in judged]) if judged else []
        if len(rewards) != len(judged):
            raise RewardFailure(f"reward {source.name!r} gave {len(rewards)} rewards for {len(judged)} prefixes")
        answers = [Reward(self._pending, {"basis": "pending"})] * len(batch)
        for i, reward in zip(judged, rewards, strict=True):
            answers[i] = reward
        return answers

    def _mix(self, rewards: Sequence[Reward]) -> Reward:
        weights = [weight for _, weight in self._members]
        values = [reward.value for reward in rewards]
        if self._combine == "sum":
            value = math.fsum(w * r for w, r in zip(weights, values, strict=True))
        else:
            value = math.prod(r**w for w, r in zip(weights, values, strict=True))
        detail = {
            source.name: {"value": round(reward.value, 6), **reward.detail}
            for (source, _), reward in zip(self._members, rewards, strict=True)
        }
        return Reward(min(1.0, max(0.0, value)), detail)


def create(
    options: EnsembleOptions, member: Callable[[str, Mapping[str, Any], str], RewardSource], *, name: str, where: str
) -> Ensemble:
    """The ensemble of a request. ``member(name, params, where)`` gives another reward."""
    weights = options.members
    if options.weights is not None:
        weights = read_weights(options.weights, list(options.members))
    sources = [
        (member(key, options.params.get(key, {}), f"{where}.params.{key}"), weight) for key, weight in weights.items()
    ]
    return Ensemble(sources, options.combine, name=name, pending=options.pending)


KIND = Kind(
    "A weighted sum or product of other rewards",
    EnsembleOptions,
    lambda options, context: create(options, context.member, name=context.name, where=context.where),
    request_params=("members", "combine", "params", "pending"),
    operator_only=("weights",),
)
