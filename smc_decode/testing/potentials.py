"""Does a potential (or a reward source) keep the contract of :class:`smc_decode.potentials.Potential`?

    async def test_my_reward():
        await check_potential(MyReward(), ["a good answer", "a bad one"])

Every answer is cut at many places, and what the potential says of the prefixes is compared: in other batches and
orders, a second time, with what it declares of itself, and along each answer.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
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


async def check_potential(
    part: Potential | RewardSource,
    answers: Sequence[str | Sequence[int] | Prefix] = ANSWERS,
    *,
    reward_scale: float = 4.0,
    block_sizes: Sequence[int] = (1, 3),
) -> None:
    """Raises AssertionError that says what is broken, and at which prefix.

    Args:
        part: a potential, or a reward source (which is then tried as a potential with ``reward_scale``).
        answers: complete answers that it is to be tried with: texts, token ids, or prefixes (for prompts and tokenizers
            of one's own). A text's token ids are its code points.
        block_sizes: in tokens; where the sums of a ``product`` potential are taken.

    A failure of the reward itself (RewardFailure) is raised as it is.
    """
    potential = _as_potential(part, reward_scale)
    _check_declarations(potential)
    lines = await _ask_along(potential, answers)
    asked = [prefix for line in lines for prefix in line.prefixes]
    _require(await _ask(potential, []) == [], potential, "an empty batch has an empty answer")
    if potential.cacheable:
        await _check_repeatable(potential, asked, [value for line in lines for value in line.values])
    for line in lines:
        _check_details(potential, line)
        _check_bounds(potential, line)
        if potential.kind == "telescoping":
            _check_zeros(potential, line)
        _check_scale(potential, line, block_sizes)


def _as_potential(part: Potential | RewardSource, reward_scale: float) -> Potential:
    # By what it can do: neither needs to be a subclass of ours.
    if hasattr(part, "evaluate"):
        return cast(Potential, part)
    return RewardPotential(part, reward_scale)


def _check_declarations(potential: Potential) -> None:
    _require(potential.kind in get_args(PotentialKind), potential, f"kind {potential.kind!r} is none")
    scale = potential.log_scale
    _require(scale is None or math.isfinite(scale), potential, f"log_scale {scale} is neither finite nor None")


async def _ask_along(potential: Potential, answers: Sequence[str | Sequence[int] | Prefix]) -> list[_Line]:
    """All prefixes of all answers, in one batch."""
    lines = [_prefixes(_complete(answer), potential) for answer in answers]
    values = iter(await _ask(potential, [prefix for line in lines for prefix in line]))
    return [_Line(line, [next(values) for _ in line]) for line in lines]


async def _check_repeatable(potential: Potential, asked: Sequence[Prefix], first: Sequence[Evaluation]) -> None:
    backwards, again = await asyncio.gather(_ask(potential, asked[::-1]), _ask(potential, [*asked, *asked[:1]]))
    _same(potential, asked, first, again[: len(asked)], "it says another thing the second time")
    _same(potential, asked, first, backwards[::-1], "the order of a batch changes its answers")
    every = max(1, len(asked) // _SINGLES)
    for prefix, value in zip(asked[::every], first[::every], strict=True):
        _same(potential, [prefix], [value], await _ask(potential, [prefix]), "alone it says another thing")
        if not potential.needs_logprobs:
            bare = replace(prefix, logprobs=None)
            given = await _ask(potential, [bare])
            _same(potential, [bare], [value], given, "it reads logprobs, so it must declare needs_logprobs")


def _check_details(potential: Potential, line: _Line) -> None:
    for prefix, value in zip(line.prefixes, line.values, strict=True):
        try:
            json.dumps(dict(value.detail))
        except (TypeError, ValueError) as error:
            raise AssertionError(f"{_who(potential)}: detail at {_show(prefix)} is no JSON: {error}") from error


def _check_bounds(potential: Potential, line: _Line) -> None:
    """``at_most`` bounds the reward of the complete answer, which each prefix becomes."""
    reward = _shown(line.values[-1])
    for prefix, value in zip(line.prefixes, line.values, strict=True):
        _require(
            value.at_most >= reward - _TOLERANCE,
            potential,
            f"at_most is {value.at_most} at {_show(prefix)}, which becomes an answer with the reward {reward}",
        )


def _check_zeros(potential: Potential, line: _Line) -> None:
    """Where R is 0 it stays 0: else psi_k = R_k / R_{k-1} is undefined."""
    dead: Prefix | None = None
    for prefix, value in zip(line.prefixes, line.values, strict=True):
        if value.log_value == -math.inf:
            dead = prefix
        _require(
            dead is None or value.log_value == -math.inf,
            potential,
            f"R is 0 at {_show(dead or prefix)} and positive at {_show(prefix)}: a telescoping R that is 0 stays 0; "
            "give what can still become right a small positive R",
        )


def _check_scale(potential: Potential, line: _Line, block_sizes: Sequence[int]) -> None:
    for total in _totals(potential, line, block_sizes):
        _require(total < math.inf, potential, "a sum of log-values overflows")
        _require(
            potential.log_scale is None or total <= potential.log_scale + _TOLERANCE,
            potential,
            f"{_show(line.prefixes[-1])} has the log-potential {total}, more than log_scale {potential.log_scale}",
        )


def _totals(potential: Potential, line: _Line, block_sizes: Sequence[int]) -> list[float]:
    """The log of the product of potentials of the complete answer, for each block size."""
    last = line.values[-1].log_value
    if potential.kind != "product":
        return [last]
    known = {len(p.token_ids): v.log_value for p, v in zip(line.prefixes, line.values, strict=True) if not p.finished}
    length = len(line.prefixes[-1].token_ids)
    if len(known) <= length:  # not every prefix was tried
        return []
    return [sum(known[end] for end in range(size, length, size)) + last for size in block_sizes]


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


async def _ask(potential: Potential, batch: Sequence[Prefix]) -> list[Evaluation]:
    try:
        return await ask(potential, batch)
    except PotentialError as error:
        raise AssertionError(str(error)) from error


def _same(
    potential: Potential,
    prefixes: Sequence[Prefix],
    values: Sequence[Evaluation],
    others: Sequence[Evaluation],
    message: str,
) -> None:
    for prefix, value, other in zip(prefixes, values, others, strict=True):
        first, second = ((v.log_value, v.reward, v.at_most) for v in (value, other))
        _require(first == second, potential, f"{message}: {first} and {second} for {_show(prefix)}")


def _require(holds: bool, potential: Potential, message: str) -> None:
    if not holds:
        raise AssertionError(f"{_who(potential)}: {message}")


def _shown(value: Evaluation) -> float:
    return value.log_value if value.reward is None else value.reward


def _who(potential: Potential) -> str:
    return f"potential {name_of(potential)!r}"


def _show(prefix: Prefix) -> str:
    return f"{'the answer' if prefix.finished else 'the prefix'} {prefix.token_ids[:30]}"
