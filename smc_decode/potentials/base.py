"""The Potential protocol: what multiplies the model's distribution (docs/method.md, "Potentials").

Two layers. A *reward source* says how good an answer is, as a number r in [0, 1]. A *potential* says log psi;
:class:`RewardPotential` makes one out of a source (R = exp(reward_scale * r), telescoping).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

PotentialKind = Literal["product", "telescoping", "terminal"]


class PotentialError(ValueError):
    """The potential returned what no target can use (NaN, +inf, a wrong type): an error of the request."""


class RewardFailure(RuntimeError):
    """The reward itself failed (spawn failed, judge unreachable): never the candidate's fault."""


@dataclass(frozen=True)
class Prefix:
    """One prefix to be scored: generated tokens (without the prompt) and whether the sequence is complete.

    ``text`` is decoded at most once, and only if somebody asks for it. ``logprobs`` are the base-model
    log-probabilities of the generated tokens where the run has them. ``lead``: what the message begins with already.
    """

    token_ids: tuple[int, ...]
    finished: bool
    prompt_token_ids: tuple[int, ...] = ()
    prompt_text: str = ""
    logprobs: tuple[float, ...] | None = None
    decode: Callable[[Sequence[int]], str] | None = field(default=None, compare=False, repr=False)
    lead: str = ""

    @cached_property
    def text(self) -> str:
        """The message: its beginning and the generated text, special tokens left out."""
        if self.decode is None:
            raise PotentialError("this reward reads text, but the engine has no tokenizer")
        return self.lead + self.decode(self.token_ids)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A potential's answer for one prefix: ``log_value`` (log psi or log R by kind), the reward shown to users
    (None: the log of the potentials' product is shown), how it came about (JSON-able), and ``at_most``, a bound on the
    reward of whatever the prefix becomes (inf: not known)."""

    log_value: float
    reward: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    at_most: float = math.inf


class Potential(Protocol):
    """Scores batches of prefixes.

    ``kind``: ``product``, log_value is log psi_k of the block that ends here; ``telescoping``, log_value is
    log R of the prefix and psi_k = R_k / R_{k-1}, R_0 = 1; ``terminal``, asked for complete sequences only.
    ``log_scale``: the log of the largest product of potentials that a sequence can have; None: not known (lookahead
    floors are in its units; where it is not known, the largest seen so far stands in). ``cacheable``: the answer
    depends on the prefix alone. ``needs_logprobs``: reads ``Prefix.logprobs``.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> PotentialKind: ...

    @property
    def log_scale(self) -> float | None: ...

    @property
    def cacheable(self) -> bool: ...

    @property
    def needs_logprobs(self) -> bool: ...

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        """One evaluation per prefix, in order. Raises PotentialError or RewardFailure."""
        ...


@dataclass(frozen=True, slots=True)
class Reward:
    """A source's answer: r in [0, 1], how it came about, and the most that a continuation of this prefix can have."""

    value: float
    detail: Mapping[str, Any] = field(default_factory=dict)
    at_most: float = 1.0


class RewardSource(Protocol):
    """A source of rewards r in [0, 1], batched and async. A bad candidate scores 0; a failure of the source
    raises RewardFailure. ``prefixes`` False: only complete answers can be judged (the potential is terminal).
    """

    @property
    def name(self) -> str: ...

    @property
    def prefixes(self) -> bool: ...

    @property
    def cacheable(self) -> bool: ...

    @property
    def needs_logprobs(self) -> bool: ...

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]: ...


class RewardPotential:
    """A reward source as a potential: R = exp(reward_scale * r), telescoping (terminal for sources that judge
    complete answers only). docs/method.md, section 4."""

    def __init__(self, source: RewardSource, reward_scale: float) -> None:
        if not math.isfinite(reward_scale):
            raise PotentialError(f"reward_scale must be finite, got {reward_scale}")
        self.source = source
        self.reward_scale = reward_scale

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def kind(self) -> PotentialKind:
        return "telescoping" if self.source.prefixes else "terminal"

    @property
    def log_scale(self) -> float:
        return max(self.reward_scale, 0.0)

    @property
    def cacheable(self) -> bool:
        return self.source.cacheable

    @property
    def needs_logprobs(self) -> bool:
        return self.source.needs_logprobs

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        rewards = await self.source.rewards(batch)
        if len(rewards) != len(batch):
            raise RewardFailure(f"reward {self.name!r} gave {len(rewards)} rewards for {len(batch)} prefixes")
        return [Evaluation(self.reward_scale * r.value, r.value, r.detail, r.at_most) for r in rewards]
