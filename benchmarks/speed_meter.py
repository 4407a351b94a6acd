"""Where a run's time goes: an engine and a potential that note when they work, and what is left."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from smc_decode.engines.base import Continuation, Engine, Extend
from smc_decode.potentials.base import Evaluation, Potential, Prefix

Interval = tuple[float, float]


def covered(intervals: Sequence[Interval]) -> float:
    """Seconds that lie in at least one interval."""
    total, reach = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reach))
        reach = max(reach, end)
    return total


@dataclass
class Work:
    """What was asked of the engine. ``steps``: decoding steps in a row, the longest continuation of each call.
    ``sent`` and ``computed``: tokens of prefixes, and those that no cache held. ``attended``: tokens that the drawn
    ones looked back at, in thousands."""

    calls: int = 0
    requests: int = 0
    steps: int = 0
    drawn: int = 0
    sent: int = 0
    computed: int = 0
    attended: float = 0.0


@dataclass(frozen=True)
class Spent:
    """A measured stretch, in seconds. ``reward`` and ``engine`` can overlap; ``both`` is covered by either.

    ``cpu``: of this process, the rewards' share in it included. ``children``: of processes that were started and
    ended (a sandbox's). ``other``: neither engine nor reward at work.
    """

    seconds: float
    engine: float
    reward: float
    both: float
    cpu: float
    children: float
    work: Work

    @property
    def other(self) -> float:
        return self.seconds - self.both

    @property
    def rate(self) -> float:
        """Drawn tokens a second."""
        return self.work.drawn / self.seconds

    def as_record(self) -> dict[str, Any]:
        """Plain data, rounded."""
        record = {name: round(value, 4) for name, value in asdict(self).items() if name != "work"}
        return record | {"other": round(self.other, 4), "rate": round(self.rate, 1), "work": asdict(self.work)}


@dataclass
class Meter:
    """Notes when engine and reward work. :meth:`measure` wraps a stretch of which :class:`Spent` tells."""

    engine_at_work: list[Interval] = field(default_factory=list)
    reward_at_work: list[Interval] = field(default_factory=list)
    work: Work = field(default_factory=Work)

    @contextmanager
    def measure(self) -> Iterator[Callable[[], Spent]]:
        """Give a function that tells, after the body, what the body took."""
        self.engine_at_work.clear()
        self.reward_at_work.clear()
        self.work = Work()
        told: list[Spent] = []
        cpu, children, begin = time.process_time(), _children(), time.perf_counter()
        yield lambda: told[0]
        seconds = time.perf_counter() - begin
        told.append(
            Spent(
                seconds,
                covered(self.engine_at_work),
                covered(self.reward_at_work),
                covered(self.engine_at_work + self.reward_at_work),
                time.process_time() - cpu,
                _children() - children,
                self.work,
            )
        )


class MeteredEngine:
    """An engine whose calls are noted; everything else of it is as it was."""

    def __init__(self, engine: Engine, meter: Meter) -> None:
        self._engine = engine
        self._meter = meter
        self.last_lengths: list[int] = []
        """``max_new_tokens`` of the last call's requests."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        work, longest = self._meter.work, 0
        self.last_lengths = [request.max_new_tokens for request in requests]
        work.calls += 1
        work.requests += len(requests)
        begin = time.perf_counter()
        try:
            async with aclosing(self._engine.extend(requests)) as stream:
                async for index, continuation in stream:
                    drawn = len(continuation.token_ids)
                    longest = max(longest, drawn)
                    work.drawn += drawn
                    prefix = continuation.prompt_computed + continuation.prompt_cached
                    work.computed += continuation.prompt_computed
                    work.sent += prefix
                    work.attended += drawn * (prefix + drawn / 2) / 1000
                    yield index, continuation
        finally:
            work.steps += longest
            self._meter.engine_at_work.append((begin, time.perf_counter()))


class MeteredPotential:
    """A potential whose evaluations are noted."""

    def __init__(self, potential: Potential, meter: Meter) -> None:
        self._potential = potential
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._potential, name)

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        begin = time.perf_counter()
        try:
            return await self._potential.evaluate(batch)
        finally:
            self._meter.reward_at_work.append((begin, time.perf_counter()))


def _children() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
