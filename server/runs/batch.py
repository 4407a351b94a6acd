"""Runs of a request's prompts: under its ticket and deadline, each with its readers (metrics, trace, span)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import structlog

from server.openai.errors import deadline_exceeded, translate
from server.runs.plan import Plan
from server.runs.services import Services
from server.runs.tracing import run_span
from server.runs.wire import Decode
from smc_decode.events import Event, Finished
from smc_decode.result import SMCResult
from smc_decode.sampler.run import run as run_sampler

T = TypeVar("T")
OnEvent = Callable[[int, Event], Awaitable[None]]
OnEnd = Callable[[int, "Ended"], Awaitable[None]]
_log = structlog.get_logger("server.runs.batch")


@dataclass(frozen=True)
class Ended:
    """A run that ended well."""

    plan: Plan
    result: SMCResult
    trace_id: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """The runs of one request."""

    services: Services
    plans: Sequence[Plan]
    owner: str
    model: str
    headers: Mapping[str, str]
    trace: bool = False

    @property
    def slots(self) -> int:
        """Particle slots for as many runs as go side by side."""
        return self.side_by_side * max(plan.slots for plan in self.plans)

    @property
    def side_by_side(self) -> int:
        widest = max(plan.slots for plan in self.plans)
        fitting = max(1, self.services.admission.capacity // widest)
        return min(len(self.plans), self.services.settings.concurrent_prompts, fitting)

    async def run(self, on_event: OnEvent | None = None, on_end: OnEnd | None = None) -> list[Ended]:
        """All runs, in the order of the plans; the first that fails ends the others.

        ``on_event`` and ``on_end`` are told of each run's events and end, with the plan's index.
        """
        places = asyncio.Semaphore(self.side_by_side)

        async def one(index: int, plan: Plan) -> Ended:
            async with places:
                ended = await self._run_one(index, plan, on_event)
                if on_end is not None:
                    await on_end(index, ended)
                return ended

        return await together([one(index, plan) for index, plan in enumerate(self.plans)])

    async def _run_one(self, index: int, plan: Plan, on_event: OnEvent | None) -> Ended:
        services = self.services
        metrics = services.metrics.run(plan)
        trace = None
        if self.trace:
            head = {"owner": self.owner, "model": self.model, "preset": plan.preset, "seed": plan.seed}
            head |= {"prompt": plan.prompt.text, "prompt_token_ids": list(plan.prompt.token_ids)}
            head |= {"config": plan.config.model_dump(mode="json")}
            trace = services.traces.begin(head, decoder(services))
        outcome = "cancelled"
        try:
            with run_span(plan, self.model, self.headers) as span:
                result: SMCResult | None = None
                async with aclosing(events_of(services, plan)) as events:
                    async for event in events:
                        metrics.read(event)
                        if trace is not None:
                            trace.read(event)
                        if on_event is not None:
                            await on_event(index, event)
                        if isinstance(event, Finished):
                            result = event.result
                if result is None:
                    raise RuntimeError("the run ended without a result")
                span.finished(result)
                metrics.finished(result)
                outcome = "finished"
        except Exception as error:
            outcome = translate(error).code
            raise
        finally:
            metrics.ended(outcome)
            if trace is not None:
                trace.close()
        _log.info(
            "run",
            preset=plan.preset,
            particles=plan.config.n_particles,
            blocks=result.blocks,
            sampled=result.usage.sampled,
            rollout=result.usage.rollout,
            mh=result.usage.mh,
            stopped=result.stopped,
        )
        warnings = (*plan.warnings, *result.warnings, *(plan.guard.warnings if plan.guard else ()))
        if trace is not None and trace.warning is not None:
            warnings = (*warnings, trace.warning)
        return Ended(plan, result, None if trace is None else trace.id, warnings)


async def events_of(services: Services, plan: Plan) -> AsyncGenerator[Event, None]:
    """The sampler's events; other requests get their turn between them."""
    events = run_sampler(
        services.engine,
        plan.prompt.token_ids,
        plan.potential,
        plan.config,
        seed=plan.seed,
        n_draws=plan.n,
        prompt_text=plan.prompt.text,
    )
    async with aclosing(events):
        async for event in events:
            yield event
            await asyncio.sleep(0)


async def within_deadline(services: Services, work: Awaitable[T]) -> T:
    """The result of ``work``. Raises APIError (504) when the server's limit for a request passes first."""
    seconds = services.settings.request_timeout_s
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await services.lifecycle.until_aborted(work)
    except TimeoutError:
        if limit.expired():
            raise deadline_exceeded(seconds) from None
        raise


async def together(work: Sequence[Awaitable[T]]) -> list[T]:
    """All results in order; when one fails the others are cancelled and waited for."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def decoder(services: Services) -> Decode | None:
    """Token ids to the text that clients see, or None where the engine has no tokenizer."""
    tokenizer = services.engine.tokenizer
    return None if tokenizer is None else tokenizer.decode
