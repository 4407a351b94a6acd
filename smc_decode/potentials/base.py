"""Potentials and reward sources: what multiplies the model's distribution (docs/method.md, "Potentials").

Two layers. A *reward source* says how good an answer is, as a number r in [0, 1]. A *potential* says log psi;
:class:`RewardPotential` makes one out of a source (R = exp(reward_scale * r), telescoping).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

PotentialKind = Literal["product", "telescoping", "terminal"]

MAX_LOG_VALUE = 1e300
"""Log-values are at most so large, and -inf or at least minus this, so that no sum of them over a run overflows."""

_ROUNDING = 1e-9


class PotentialError(ValueError):
    """The potential returned what no target can use (NaN, +inf, a wrong type): an error of the request."""


class PotentialFault(PotentialError):
    """The potential's own code raised something else, which is this error's ``__cause__``: no error of the request."""


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
    """Scores batches of prefixes. Subclass it and write :meth:`evaluate`; the rest has defaults.

    ``kind``: ``product``, log_value is log psi_k of the block that ends here; ``telescoping``, log_value is
    log R of the prefix and psi_k = R_k / R_{k-1}, R_0 = 1 (where R is 0 it stays 0); ``terminal``, asked for complete
    sequences only. ``log_scale``: the log of the largest product of potentials that a sequence can have; None: not
    known (lookahead floors are in its units; where it is not known, the largest seen so far stands in). ``cacheable``:
    the answer depends on the prefix alone. ``needs_logprobs``: reads ``Prefix.logprobs``. ``positive``: its value is
    never 0, so that a telescoping one need not be asked at the blocks in between. ``inexact``: why a run with it has
    no fixed target; None: it has. ``smc_decode.testing.check_potential`` tries whether all this is so.
    """

    name: str = ""
    kind: PotentialKind = "product"
    log_scale: float | None = None
    cacheable: bool = True
    needs_logprobs: bool = False
    positive: bool = False
    inexact: str | None = None

    @abstractmethod
    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        """One evaluation per prefix, in order. Raises PotentialError or RewardFailure."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A source's answer: r in [0, 1], how it came about, and the most that a continuation of this prefix can have."""

    value: float
    detail: Mapping[str, Any] = field(default_factory=dict)
    at_most: float = 1.0


class RewardSource(Protocol):
    """A source of rewards r in [0, 1], batched and async. Subclass it and write :meth:`rewards`; the rest has defaults.

    A bad candidate scores 0; a failure of the source raises RewardFailure. ``prefixes`` False: only complete answers
    can be judged (the potential is terminal). ``reads_lead``: what was prefilled of the message is taken into account
    here; else it comes with the prefix's text. The others as for :class:`Potential`.
    """

    name: str = ""
    prefixes: bool = True
    cacheable: bool = True
    needs_logprobs: bool = False
    reads_lead: bool = False
    inexact: str | None = None

    @abstractmethod
    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        """One reward per prefix, in order. Raises PotentialError or RewardFailure."""


class RewardPotential(Potential):
    """A reward source as a potential: R = exp(reward_scale * r), telescoping (terminal for sources that judge
    complete answers only). docs/method.md, section 4.

    Raises PotentialError for a scale that is no number or beyond MAX_LOG_VALUE, and for a reward outside [0, 1].
    """

    def __init__(self, source: RewardSource, reward_scale: float) -> None:
        if not abs(reward_scale) <= MAX_LOG_VALUE:
            raise PotentialError(f"reward_scale must be finite and at most {MAX_LOG_VALUE:g}, got {reward_scale}")
        self.source = source
        self.reward_scale = reward_scale
        self.name = name_of(source)
        self.kind = "telescoping" if source.prefixes else "terminal"
        self.log_scale = max(reward_scale, 0.0)
        self.positive = True
        self.cacheable = source.cacheable
        self.needs_logprobs = source.needs_logprobs
        self.inexact = inexact_of(source)

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        rewards = await self.source.rewards(batch)
        if len(rewards) != len(batch):
            raise RewardFailure(f"reward {self.name!r} gave {len(rewards)} rewards for {len(batch)} prefixes")
        return [self._evaluation(reward) for reward in rewards]

    def _evaluation(self, reward: Reward) -> Evaluation:
        if not isinstance(reward, Reward):
            raise PotentialError(f"reward {self.name!r} gave {reward!r:.100}, which is no Reward")
        value = number(reward.value, f"reward {self.name!r}", "a reward is a number in [0, 1]")
        if not -_ROUNDING <= value <= 1.0 + _ROUNDING:
            raise PotentialError(f"reward {self.name!r} gave {value}: a reward is a number in [0, 1]")
        return Evaluation(self.reward_scale * value, value, reward.detail, reward.at_most)


def number(value: object, who: str, rule: str = "a log-value is a number") -> float:
    """``value`` as a float. Raises PotentialError for what is none; text never is."""
    if not isinstance(value, (str, bytes, bytearray)):
        try:
            return float(value)  # type: ignore[arg-type]  # tensors and numpy's numbers have __float__
        except (TypeError, ValueError, OverflowError, RuntimeError):
            pass
    raise PotentialError(f"{who} gave {repr(value)[:100]}: {rule}")


def check_log_value(value: object, who: str) -> float:
    """A log-value that a target can use: finite and at most MAX_LOG_VALUE in size, or -inf. Raises PotentialError."""
    log_value = number(value, who)
    if math.isnan(log_value) or log_value == math.inf:
        raise PotentialError(f"{who} gave {log_value}: log-values must be finite or -inf")
    if abs(log_value) > MAX_LOG_VALUE and log_value != -math.inf:
        raise PotentialError(f"{who} gave {log_value:g}: log-values beyond {MAX_LOG_VALUE:g} overflow in sums")
    return log_value


def name_of(part: Potential | RewardSource) -> str:
    """What messages call it: its name, or its class's."""
    return part.name or type(part).__qualname__


def positive_of(potential: Potential) -> bool:
    """Its ``positive``; False for a class that is no subclass of Potential and does not say."""
    return bool(getattr(potential, "positive", False))


def inexact_of(part: Potential | RewardSource) -> str | None:
    """Its ``inexact``; None for a class that is no subclass of these and does not say."""
    reason: str | None = getattr(part, "inexact", None)
    return reason
