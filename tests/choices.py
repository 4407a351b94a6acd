"""Every random choice of a run walked through, so that an expectation over runs is a finite sum.

A run draws from two sources, and both are public: the engine's continuations, and the numpy Generator that ``seed``
may be. Doubles of both ask a :class:`Choices` what comes next; :func:`traces` goes through all that can come. A uniform
number counts by the cells on which what is made of it is constant: for resampling they follow from the weights that
the run tells its readers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from smc_decode import SMCConfig, SMCResult, events, run
from smc_decode.engines import TableEngine
from smc_decode.engines.base import Continuation
from tests.enumeration import Model, Tokens
from tests.harness import potential_of

Outcome = TypeVar("Outcome")

NEAR = 1e-9
"""How far from an edge the uniform numbers are that stand for what is on either side of it."""


class Choices:
    """One way through a tree of choices: ``script`` says which branch to take at each, the first one beyond it."""

    def __init__(self, script: Sequence[int] = ()) -> None:
        self._script = script
        self._taken: list[int] = []
        self._branches: list[int] = []
        self.probability = 1.0

    def choose(self, probabilities: Sequence[float]) -> int:
        """One of the outcomes of positive probability."""
        possible = [outcome for outcome, p in enumerate(probabilities) if p > 0.0]
        depth = len(self._taken)
        branch = self._script[depth] if depth < len(self._script) else 0
        self._taken.append(branch)
        self._branches.append(len(possible))
        self.probability *= probabilities[possible[branch]]
        return possible[branch]

    def following(self) -> list[int] | None:
        """The script of the next way, depth first; None after the last."""
        script = list(self._taken)
        while script and script[-1] + 1 == self._branches[len(script) - 1]:
            script.pop()
        return [*script[:-1], script[-1] + 1] if script else None


async def traces(play: Callable[[Choices], Awaitable[Outcome]]) -> AsyncIterator[tuple[float, Outcome]]:
    """(probability, outcome) of everything that ``play`` can come to."""
    script: list[int] | None = []
    while script is not None:
        choices = Choices(script)
        outcome = await play(choices)
        yield choices.probability, outcome
        script = choices.following()


class _Point(NamedTuple):
    """What stands for a part of a cell."""

    value: float
    cell: int
    probability: float


def _points(bounds: Sequence[float]) -> list[_Point]:
    """For every cell a point at each of its ends that is an edge, so close that an edge out of its place shows."""
    points = []
    for cell, (low, high) in enumerate(itertools.pairwise(bounds)):
        near = min(NEAR, 0.25 * (high - low))
        ends = [high - near] * (high < 1.0) + [low + near] * (low > 0.0) or [0.5]
        points += [_Point(value, cell, (high - low) / len(ends)) for value in ends]
    return points


class EnumeratedGenerator(np.random.Generator):
    """A Generator that asks for every number. ``edges``: where the cells of the next uniform numbers meet; without
    any, a half. Large integers are seeds, which the engine's double does not read."""

    def __init__(self, choices: Choices) -> None:
        super().__init__(np.random.PCG64(0))
        self._choices = choices
        self.edges: Sequence[float] = ()
        self.cells: list[int] = []
        """The cells of the last uniform numbers that were asked for."""

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        return [self] * n_children

    def integers(self, low: int, *args: Any, **kwargs: Any) -> Any:
        return 0 if low > 2**31 else self._choices.choose([1.0 / low] * low)

    def random(self, size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        points = _points([0.0, *sorted(self.edges), 1.0])
        drawn = [points[self._choices.choose([p.probability for p in points])] for _ in range(size or 1)]
        self.cells = [point.cell for point in drawn]
        return drawn[0].value if size is None else np.array([point.value for point in drawn])

    def permutation(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        orders = list(itertools.permutations(range(x)))
        return np.array(orders[self._choices.choose([1.0 / len(orders)] * len(orders))])

    def shuffle(self, x: Any, *args: Any, **kwargs: Any) -> None:
        x[:] = np.asarray(x)[self.permutation(len(x))]


class EnumeratedEngine(TableEngine):
    """Asks for every token. While ``forced`` is set, that sequence is what is drawn, as far as a request goes."""

    def __init__(self, model: Model, choices: Choices) -> None:
        super().__init__(model.logprobs, model.vocab_size, model.eos)
        self._model = model
        self._choices = choices
        self.forced: Tokens | None = None

    async def extend(self, requests):
        for index, request in enumerate(requests):
            yield index, self._continuation(request)

    def _continuation(self, request) -> Continuation:
        model, held = self._model, request.sequence.token_ids
        drawn, log_p, log_q, log_z, reason = [], [], [], [], "length"
        while len(drawn) < request.max_new_tokens and reason == "length":
            base = model.logprobs(tuple(held))
            tempered = base / request.temperature
            tempered = tempered - np.logaddexp.reduce(tempered)
            token = self._choices.choose(np.exp(tempered)) if self.forced is None else self.forced[len(held)]
            held.append(token)
            drawn.append(token)
            log_p.append(float(base[token]))
            log_q.append(float(tempered[token]))
            if request.alpha is not None:
                log_z.append(float(np.logaddexp.reduce(request.alpha * base)))
            reason = "eos" if token == model.eos else "length"
        return Continuation(drawn, log_p, log_q, log_z, reason)


def weights_of(log_weights: Sequence[float]) -> np.ndarray:
    """Normalised weights, worked out here."""
    values = np.exp(np.asarray(log_weights) - np.max(log_weights))
    return values / values.sum()


def edges_of(weights: np.ndarray, scheme: str) -> list[float]:
    """Where a scheme's uniform numbers change what is made of them, for as many offspring as parents."""
    cumulative = np.cumsum(weights)[:-1].tolist()
    if scheme == "multinomial":
        return cumulative
    # the same places in each of n strata
    return [math.modf(len(weights) * value)[0] for value in cumulative]


async def play(choices: Choices, model: Model, config: SMCConfig) -> tuple[list[events.Event], SMCResult]:
    """One run with these choices: its events and its result. The answer's selection must not be random."""
    generator, engine = EnumeratedGenerator(choices), EnumeratedEngine(model, choices)
    told = []
    async for event in run(engine, (), potential_of(model), config, seed=generator):
        told.append(event)
        if isinstance(event, events.Weighted):
            generator.edges = edges_of(weights_of(event.log_weights), config.resampling)
        elif isinstance(event, events.Resampled):
            generator.edges = ()
    return told, told[-1].result
