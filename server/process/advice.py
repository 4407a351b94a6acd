"""Which decoder fits a reward: from what the reward said of a few answers and of their beginnings. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

PLACES = (0.25, 0.5, 0.75)
"""Where along an answer the reward is asked."""
TELLS = 0.65
"""The least AUC at which the beginnings of answers are said to tell how they end."""
_PAIRS = 5
"""Fewer pairs of answers than this tell nothing."""


@dataclass(frozen=True)
class Judged:
    """One answer: its length in tokens, its reward, and the rewards of its beginnings at :data:`PLACES`."""

    prompt: int
    tokens: int
    reward: float
    along: tuple[float, ...]


@dataclass(frozen=True)
class Advice:
    """What to set, why, and the figures that it follows from. ``auc``: at each of the places the chance that of two
    answers to one prompt, one better than the other, the better had the higher reward there (a tie counts half)."""

    preset: str
    block_size: int | None
    why: str
    answers: int
    tokens: float
    mean: float
    full: float
    pairs: int
    auc: tuple[float, ...]
    levels: int


def advise(judged: Sequence[Judged]) -> Advice:
    """The advice for a sample of answers, several to each prompt. Raises ValueError without any."""
    if not judged:
        raise ValueError("there are no answers to go by")
    pairs = [
        (better, worse)
        for a, b in combinations(judged, 2)
        if a.prompt == b.prompt and a.reward != b.reward
        for better, worse in [(a, b) if a.reward > b.reward else (b, a)]
    ]
    auc = tuple(_auc(pairs, place) for place in range(len(PLACES)))
    rewards = [each.reward for each in judged]
    levels = len({round(value, 6) for each in judged for value in (*each.along, each.reward)})
    tokens = median(each.tokens for each in judged)
    preset, size, why = _choice(pairs, auc, rewards, levels, tokens)
    full = fmean(reward >= 1.0 for reward in rewards)
    return Advice(preset, size, why, len(judged), tokens, fmean(rewards), full, len(pairs), auc, levels)


def _auc(pairs: Sequence[tuple[Judged, Judged]], place: int) -> float:
    if not pairs:
        return 0.5
    return fmean(
        0.5 if better.along[place] == worse.along[place] else float(better.along[place] > worse.along[place])
        for better, worse in pairs
    )


def _choice(
    pairs: Sequence[object], auc: Sequence[float], rewards: Sequence[float], levels: int, tokens: float
) -> tuple[str, int | None, str]:
    if len(pairs) < _PAIRS:
        if fmean(rewards) >= 1.0:
            return "low-temperature", None, "every answer has the full reward: there is nothing to choose"
        return "low-temperature", None, "the reward hardly tells answers to one prompt apart: it cannot choose"
    if max(auc[:2]) >= TELLS and levels > 2:
        size = max(8, 8 * round(tokens / 64))
        return "parts", size, "beginnings tell how answers end: what goes wrong can be dropped early"
    if max(rewards) >= 1.0:
        return "search", None, "only whole answers tell, and some have the full reward: stop at the first that has"
    return "best-of-n", None, "only whole answers tell, and none has the full reward: take the best of many"
