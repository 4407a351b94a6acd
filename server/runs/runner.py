"""Plans to events and results: the runs of a request, each with its readers (metrics, span, stored run)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog

from smc_decode.engines.base import Engine
from smc_decode.errors import AllParticlesDead, NoValidDocument
from smc_decode.events import Event, Finished
from smc_decode.result import SMCResult
from smc_decode.sampler.run import run as run_sampler

from ..errors import translate
from .plan import Plan
from .request import Origin
from .store import Trace, Traces

T = TypeVar("T")
OnEvent = Callable[[int, Event], Awaitable[None]]
OnEnd = Callable[[int, "Ended"], Awaitable[None]]
_log = structlog.get_logger("server.runs")


@dataclass(frozen=True)
class Ended:
    """A run that ended well."""

    plan: Plan
    result: SMCResult
    trace_id: str | None
    warnings: tuple[str, ...]


class RunReader(Protocol):
    """Reads one run."""

    def read(self, event: Event) -> None:
        """An event, in order."""
        ...

    def finished(self, result: SMCResult) -> None:
        """The run has a result."""
        ...

    def ended(self, outcome: str, error: Exception | None) -> None:
        """The run is over: ``finished``, ``cancelled`` or the code of its error. Called once, last."""
        ...


class Observer(Protocol):
    """Has a reader for every run."""

    def begin(self, plan: Plan, origin: Origin) -> RunReader: ...


class Runner:
    """Runs plans on one engine."""

    def __init__(
        self,
        engine: Engine,
        observers: Sequence[Observer] = (),
        traces: Traces | None = None,
        *,
        side_by_side: int = 1,
        capacity: int | None = None,
    ) -> None:
        """``side_by_side``: runs of one request that go at a time, as far as ``capacity`` has slots for them."""
        self._engine = engine
        self._observers = tuple(observers)
        self._traces = traces
        self._side_by_side = side_by_side
        self._capacity = capacity

    def slots(self, plans: Sequence[Plan]) -> int:
        """Particle slots for as many runs as go side by side."""
        return self._width(plans) * max(plan.slots for plan in plans)

    async def run(
        self,
        plans: Sequence[Plan],
        origin: Origin,
        *,
        store: bool = False,
        on_event: OnEvent | None = None,
        on_end: OnEnd | None = None,
    ) -> list[Ended]:
        """All runs, in the order of the plans; the first that fails ends the others.

        ``store``: keep the runs (``smc.trace``). ``on_event`` and ``on_end`` are told of each run's events and end,
        with the plan's index.
        """
        places = asyncio.Semaphore(self._width(plans))

        async def one(index: int, plan: Plan) -> Ended:
            async with places:
                ended = await self._run_one(index, plan, origin, store, on_event)
                if on_end is not None:
                    await on_end(index, ended)
                return ended

        return await together([one(index, plan) for index, plan in enumerate(plans)])

    async def events(self, plan: Plan) -> AsyncGenerator[Event, None]:
        """The sampler's events; other requests get their turn between them."""
        events = run_sampler(
            self._engine,
            plan.prompt.token_ids,
            plan.potential,
            plan.config,
            seed=plan.seed,
            n_draws=plan.n,
            prompt_text=plan.prompt.text,
            reads=None if plan.thinking is None else plan.thinking.final,
        )
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
                    await asyncio.sleep(0)
        except AllParticlesDead as error:
            if plan.document is None or not plan.document.problem:
                raise
            raise NoValidDocument(error.block, error.n_particles, plan.document.problem) from error

    def _width(self, plans: Sequence[Plan]) -> int:
        widest = max(plan.slots for plan in plans)
        fitting = len(plans) if self._capacity is None else max(1, self._capacity // widest)
        return min(len(plans), self._side_by_side, fitting)

    async def _run_one(self, index: int, plan: Plan, origin: Origin, store: bool, on_event: OnEvent | None) -> Ended:
        trace = self._trace(plan, origin) if store else None
        with ExitStack() as stack:
            readers = [stack.enter_context(_Reading(each.begin(plan, origin))) for each in self._observers]
            if trace is not None:
                stack.callback(trace.close)
            result: SMCResult | None = None
            async with aclosing(self.events(plan)) as events:
                async for event in events:
                    for reader in readers:
                        reader.inner.read(event)
                    if trace is not None:
                        trace.read(event)
                    if on_event is not None:
                        await on_event(index, event)
                    if isinstance(event, Finished):
                        result = event.result
            if result is None:
                raise RuntimeError("the run ended without a result")
            for reader in readers:
                reader.finished(result)
        _log_run(plan, result)
        told = (*plan.warnings, *result.warnings, *(plan.guard.warnings if plan.guard else ()))
        if trace is None:
            return Ended(plan, result, None, told)
        return Ended(plan, result, trace.id, told if trace.warning is None else (*told, trace.warning))

    def _trace(self, plan: Plan, origin: Origin) -> Trace | None:
        if self._traces is None:
            return None
        head: dict[str, Any] = {
            "owner": origin.owner,
            "model": origin.model,
            "preset": plan.preset,
            "seed": plan.seed,
            "prompt": plan.prompt.text,
            "prompt_token_ids": list(plan.prompt.token_ids),
            "config": plan.config.model_dump(mode="json"),
        }
        tokenizer = self._engine.tokenizer
        return self._traces.begin(head, None if tokenizer is None else tokenizer.decode)


class _Reading:
    """Tells a reader how its run ended, whatever way that was."""

    def __init__(self, inner: RunReader) -> None:
        self.inner = inner
        self._outcome = "cancelled"

    def finished(self, result: SMCResult) -> None:
        self.inner.finished(result)
        self._outcome = "finished"

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception):
            self._outcome = translate(error).code
        self.inner.ended(self._outcome, error if isinstance(error, Exception) else None)


def _log_run(plan: Plan, result: SMCResult) -> None:
    told: Mapping[str, Any] = {name: getattr(result.usage, name) for name in ("sampled", "rollout", "mh")}
    particles = plan.config.n_particles
    _log.info("run", preset=plan.preset, particles=particles, blocks=result.blocks, **told, stopped=result.stopped)


async def together(work: Sequence[Awaitable[T]]) -> list[T]:
    """All results in order; when one fails the others are cancelled and waited for.

    Not asyncio.TaskGroup, whose ExceptionGroup would have to be taken apart again for the one error that is told.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
