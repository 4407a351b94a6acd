"""How the cost grows with N, B, the prompt's length and J, and a cost model fitted to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from smc_decode import Lookahead

from .speed_bench import PROMPT, Bench, N, config
from .speed_meter import Work

AXES: dict[str, tuple[int, ...]] = {
    "N": (4, 8, 16, 32, 64),
    "B": (8, 16, 32, 64, 128),
    "prompt": (64, 256, 512, 1000, 1500),
    "J": (0, 1, 2, 4),
}
"""What is varied; the others stay at N=16, B=32, a prompt of 108 tokens and J=0."""

TERMS = ("steps", "drawn", "computed", "attended")


@dataclass(frozen=True)
class Point:
    """One setting, measured. ``rate``: all drawn tokens a second, rollouts included; ``ratio``: to plain sampling of
    as many sequences on the same prompt."""

    axis: str
    value: int
    repeat: int
    seconds: float
    rate: float
    ratio: float
    plain: dict[str, Any]
    work: Work

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


async def measure(bench: Bench, axis: str, value: int, repeat: int) -> Point:
    """Plain sampling and SMC at one setting, one after the other."""
    at = {"N": N, "B": 32, "prompt": PROMPT, "J": 0} | {axis: value}
    prompt = bench.prompt(0, at["prompt"])
    plain = await bench.plain([prompt] * at["N"])
    settings = config(n_particles=at["N"], block_size=at["B"], lookahead=Lookahead(rollouts=at["J"]))
    spent, _ = await bench.smc(settings, prompt)
    return Point(axis, value, repeat, spent.seconds, spent.rate, spent.rate / plain.rate, plain.as_record(), spent.work)


def settings() -> Iterator[tuple[str, int]]:
    """Every setting of the sweep."""
    for axis, values in AXES.items():
        for value in values:
            yield axis, value


@dataclass(frozen=True)
class CostModel:
    """seconds = sum of ``milliseconds[term]`` / 1000 · term. ``error``: median relative error of the fit."""

    milliseconds: dict[str, float]
    error: float

    def seconds(self, work: Work) -> float:
        return sum(ms * float(getattr(work, term)) for term, ms in self.milliseconds.items()) / 1000


def fit(seconds: Sequence[float], works: Sequence[Work]) -> CostModel:
    """Least squares on relative errors, with no negative price."""
    times = np.asarray(seconds)
    table = np.array([[getattr(work, term) for term in TERMS] for work in works], dtype=float)
    prices, _ = nnls(table / times[:, None], np.ones(len(times)))
    found = dict(zip(TERMS, (1000 * prices).tolist(), strict=True))
    error = float(np.median(np.abs(table @ prices / times - 1)))
    return CostModel(found, error)


def works_of(points: Sequence[Point]) -> tuple[list[float], list[Work]]:
    """What the model is fitted to: the runs and the plain calls beside them."""
    spans = [point.seconds for point in points] + [point.plain["seconds"] for point in points]
    works = [point.work for point in points] + [Work(**point.plain["work"]) for point in points]
    return spans, works
