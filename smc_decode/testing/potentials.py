"""``check_potential``: whether a potential or a reward source keeps to the contract of
:class:`smc_decode.potentials.Potential`.

    async def test_my_reward():
        await check_potential(MyReward(), ["a good answer", "a bad one"])
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast, get_args

from smc_decode.potentials.ask import ask
from smc_decode.potentials.base import (
    Evaluation,
    Potential,
    PotentialError,
    PotentialKind,
    Prefix,
    RewardPotential,
    RewardSource,
    name_of,
)
from smc_decode.testing.contract import ContractError, Report

ANSWERS = (
    "", " ", "7", "The answer is 12.", "1 + 1 = 2, so 2 * 3 = 6.", '{"a": [1, 2]}', "    return x + 1\n",
    "So:\n```python\ndef f(x):\n    return x\n```\n", "\\boxed{\\frac12}", "ÿ\ufffd\U0001f642\n\n", "(((([[{{\"'",
    "\x00\t\r\n",
)  # fmt: skip
"""What is tried where no answers are given: of several forms, and of none."""

_CUTS = 24
_SINGLES = 6
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class _Line:
    """One answer from its shortest prefix to its complete form, and what was said of each."""

    prefixes: Sequence[Prefix]
    values: Sequence[Evaluation]


@dataclass
class _Subject:
    """What is tried, and the clause that is being tried."""

    potential: Potential
    answers: Sequence[Prefix]
    block_sizes: Sequence[int]
    lines: Sequence[_Line] = ()
    clause: str = ""

    @property
    def asked(self) -> list[Prefix]:
        return [prefix for line in self.lines for prefix in line.prefixes]

    @property
    def values(self) -> list[Evaluation]:
        return [value for line in self.lines for value in line.values]

    async def ask(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        try:
            return await ask(self.potential, batch)
        except PotentialError as error:
            raise ContractError(self.clause, str(error)) from error

    def require(self, holds: bool, message: str) -> None:
        if not holds:
            raise ContractError(self.clause, f"potential {name_of(self.potential)!r}: {message}")

    async def require_same(self, prefixes: Sequence[Prefix], values: Sequence[Evaluation], message: str) -> None:
        """That the potential says of ``prefixes`` what it said before."""
        for prefix, value, other in zip(prefixes, values, await self.ask(prefixes), strict=True):
            first, second = ((v.log_value, v.reward, v.at_most) for v in (value, other))
            self.require(first == second, f"{message}: {first}, now {second}, for {_show(prefix)}")


async def _declares(subject: _Subject) -> None:
    """The kind is one of three, and log_scale finite or None."""
    kind, scale = subject.potential.kind, subject.potential.log_scale
    subject.require(kind in get_args(PotentialKind), f"kind {kind!r} is none of {', '.join(get_args(PotentialKind))}")
    subject.require(scale is None or math.isfinite(scale), f"log_scale {scale} is neither finite nor None")


async def _evaluates(subject: _Subject) -> None:
    """One usable evaluation a prefix, for every prefix of every answer in one batch, the empty one included."""
    lines = [_prefixes(answer, subject.potential) for answer in subject.answers]
    values = iter(await subject.ask([prefix for line in lines for prefix in line]))
    subject.lines = [_Line(line, [next(values) for _ in line]) for line in lines]


async def _takes_nothing(subject: _Subject) -> None:
    """An empty batch has an empty answer."""
    await subject.ask([])


async def _repeats(subject: _Subject) -> None:
    """The second time, and beside another call, it says the same."""
    asked, values = subject.asked, subject.values
    message = "the second time it says another thing, so it must not be cacheable"
    await asyncio.gather(*(subject.require_same(asked, values, message) for _ in range(2)))


async def _keeps_order(subject: _Subject) -> None:
    """Order and repetitions in a batch do not matter."""
    asked, values = subject.asked, subject.values
    await subject.require_same(asked[::-1], values[::-1], "the order of a batch changes what it says")
    await subject.require_same([*asked, *asked[:1]], [*values, *values[:1]], "a prefix that comes twice changes it")


async def _is_alone(subject: _Subject) -> None:
    """What else is in the batch does not matter."""
    for prefix, value in _some(subject):
        await subject.require_same([prefix], [value], "in a batch of its own it says another thing")


async def _reads_logprobs(subject: _Subject) -> None:
    """Without needs_logprobs, log-probabilities do not matter."""
    if not subject.potential.needs_logprobs:
        for prefix, value in _some(subject):
            bare = replace(prefix, logprobs=None)
            await subject.require_same([bare], [value], "it reads logprobs, so it must declare needs_logprobs")


async def _tells_in_json(subject: _Subject) -> None:
    """The detail is JSON."""
    for prefix, value in zip(subject.asked, subject.values, strict=True):
        try:
            json.dumps(dict(value.detail))
        except (TypeError, ValueError) as error:
            subject.require(False, f"the detail at {_show(prefix)} is no JSON: {error}")


async def _bounds(subject: _Subject) -> None:
    """``at_most`` bounds the reward of the complete answer, which each prefix becomes."""
    for line in subject.lines:
        last = line.values[-1]
        reward = last.log_value if last.reward is None else last.reward
        for prefix, value in zip(line.prefixes, line.values, strict=True):
            subject.require(
                value.at_most >= reward - _TOLERANCE,
                f"at_most is {value.at_most} at {_show(prefix)}, which becomes an answer with the reward {reward}",
            )


async def _stays_dead(subject: _Subject) -> None:
    """Where a telescoping R is 0 it stays 0: else psi_k = R_k / R_{k-1} is undefined."""
    for line in subject.lines:
        dead: Prefix | None = None
        for prefix, value in zip(line.prefixes, line.values, strict=True):
            if value.log_value == -math.inf:
                dead = dead or prefix
            subject.require(
                dead is None or value.log_value == -math.inf,
                f"R is 0 at {_show(dead or prefix)} and positive at {_show(prefix)}: a telescoping R that is 0 stays "
                "0; give what can still become right a small positive R",
            )


async def _is_scaled(subject: _Subject) -> None:
    """``log_scale`` bounds the log of the product of potentials of a complete answer."""
    scale = subject.potential.log_scale
    for line in subject.lines if scale is not None else ():
        for total in _totals(subject, line):
            subject.require(
                total <= cast(float, scale) + _TOLERANCE,
                f"{_show(line.prefixes[-1])} has the log-potential {total}, more than log_scale {scale}",
            )


Clause = Callable[[_Subject], Awaitable[None]]

CLAUSES: dict[str, Clause] = {
    "declarations": _declares,
    "values": _evaluates,
    "empty batch": _takes_nothing,
    "determinism": _repeats,
    "batch order": _keeps_order,
    "batch": _is_alone,
    "logprobs": _reads_logprobs,
    "detail": _tells_in_json,
    "at_most": _bounds,
    "zeros": _stays_dead,
    "log_scale": _is_scaled,
}
"""In this order; what each says is its docstring."""

_OF_CACHEABLE = frozenset({"determinism", "batch order", "batch", "logprobs"})


async def check_potential(
    part: Potential | RewardSource,
    answers: Sequence[str | Sequence[int] | Prefix] = ANSWERS,
    *,
    reward_scale: float = 4.0,
    block_sizes: Sequence[int] = (1, 3),
) -> Report:
    """Try every clause of the contract. Every answer is cut at many places, and what is said of the prefixes compared.

    Args:
        part: a potential, or a reward source (which is then tried as a potential with ``reward_scale``).
        answers: complete answers that it is to be tried with: texts, token ids, or prefixes (for prompts and tokenizers
            of one's own). A text's token ids are its code points.
        block_sizes: in tokens; where the sums of a ``product`` potential are taken.

    Raises ContractError, an AssertionError that names the clause and the prefix; what the potential raised is its
    cause. A failure of the reward itself (RewardFailure) is raised as it is.
    """
    subject = _Subject(_as_potential(part, reward_scale), [_complete(answer) for answer in answers], block_sizes)
    tried: list[str] = []
    left_out: dict[str, str] = {}
    for name, clause in CLAUSES.items():
        subject.clause = name
        if name in _OF_CACHEABLE and not subject.potential.cacheable:
            left_out[name] = "not cacheable: what it says may change"
        elif name == "zeros" and subject.potential.kind != "telescoping":
            left_out[name] = "not telescoping"
        else:
            await clause(subject)
            tried.append(name)
    return Report(tuple(tried), left_out)


def _as_potential(part: Potential | RewardSource, reward_scale: float) -> Potential:
    # By what it can do: neither needs to be a subclass of ours.
    if hasattr(part, "evaluate"):
        return cast(Potential, part)
    return RewardPotential(part, reward_scale)


def _some(subject: _Subject) -> list[tuple[Prefix, Evaluation]]:
    """A few of the prefixes, from all answers."""
    pairs = list(zip(subject.asked, subject.values, strict=True))
    return pairs[:: max(1, len(pairs) // _SINGLES)]


def _totals(subject: _Subject, line: _Line) -> list[float]:
    """The log of the product of potentials of the complete answer, for each block size."""
    last = line.values[-1].log_value
    if subject.potential.kind != "product":
        return [last]
    known = {len(p.token_ids): v.log_value for p, v in zip(line.prefixes, line.values, strict=True) if not p.finished}
    length = len(line.prefixes[-1].token_ids)
    if len(known) <= length:  # not every prefix was tried
        return []
    return [sum(known[end] for end in range(size, length, size)) + last for size in subject.block_sizes]


def _complete(answer: str | Sequence[int] | Prefix) -> Prefix:
    if isinstance(answer, Prefix):
        return replace(answer, finished=True)
    token_ids = tuple(map(ord, answer)) if isinstance(answer, str) else tuple(answer)
    logprobs = tuple(-0.1 - token % 7 for token in token_ids)
    return Prefix(token_ids, True, logprobs=logprobs, decode=lambda ids: "".join(map(chr, ids)))


def _prefixes(answer: Prefix, potential: Potential) -> list[Prefix]:
    """The answer's prefixes that such a potential is asked about, shortest first, the answer last."""
    if potential.kind == "terminal":
        return [answer]
    length = len(answer.token_ids)
    ends = sorted({round(cut * length / _CUTS) for cut in range(_CUTS + 1)} if length > _CUTS else range(length + 1))
    logprobs = answer.logprobs
    cuts = [
        replace(
            answer,
            token_ids=answer.token_ids[:end],
            finished=False,
            logprobs=None if logprobs is None else logprobs[:end],
        )
        for end in ends
    ]
    return [*cuts, answer]


def _show(prefix: Prefix) -> str:
    return f"{'the answer' if prefix.finished else 'the prefix'} {prefix.token_ids[:30]}"
