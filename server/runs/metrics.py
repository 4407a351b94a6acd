"""Prometheus metrics ``smc_*``: a reader of the runs' events, beside whatever the engine registers itself."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from smc_decode.engines.base import Engine, EngineError
from smc_decode.events import BlockExtended, Committed, Event, Finished, Rejuvenated, Resampled, Weighted
from smc_decode.result import TOKEN_ACCOUNTS, SMCResult

from ..edge.admission import Admission
from .plan import Plan
from .request import Origin

_PATIENCE = 2.0  # seconds that the engine has to tell its metrics
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 600)
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """The server's metrics, in a registry of its own so that several applications can live in one process."""

    def __init__(self, admission: Admission, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(EngineCounters(engine))
        self._engine = engine

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

        def gauge(name: str, text: str, value: Any) -> None:
            Gauge(name, text, registry=self.registry).set_function(value)

        self.requests = counter("smc_http_requests", "HTTP requests answered", "route", "method", "status")
        self.request_seconds = histogram("smc_http_request_seconds", "Time to the end of the answer", _SECONDS, "route")
        self.runs = counter("smc_runs", "SMC runs ended", "preset", "outcome")
        self.run_seconds = histogram("smc_run_seconds", "Time of a run", _SECONDS, "preset")
        self.commit_seconds = histogram("smc_first_commit_seconds", "Time to the first committed token", _SECONDS)
        self.block_seconds = histogram("smc_block_seconds", "Time of one block of a population", _SECONDS)
        self.tokens = counter("smc_tokens", "Tokens by account", "account")
        self.rewards = counter("smc_reward_evaluations", "Prefixes judged by rewards", "source")
        self.reward_failures = counter("smc_reward_failures", "Prefixes whose reward failed")
        self.ess = histogram("smc_ess_share", "ESS as a share of the population, one a block", _SHARES)
        self.resamplings = counter("smc_resamplings", "Resampling events")
        self.proposed = counter("smc_mh_proposed", "Metropolis-Hastings proposals")
        self.accepted = counter("smc_mh_accepted", "Metropolis-Hastings acceptances")
        gauge("smc_particle_slots", "Particle slots there are", lambda: admission.capacity)
        gauge("smc_particle_slots_used", "Particle slots in use", lambda: admission.used)
        gauge("smc_requests_running", "Requests that hold slots", lambda: admission.running)
        gauge("smc_requests_waiting", "Requests in the queue", lambda: admission.waiting)

    def begin(self, plan: Plan, origin: Origin) -> RunMetrics:
        """A reader for one run's events."""
        return RunMetrics(self, plan)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request has been answered."""
        self.requests.labels(route, method, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    async def text(self) -> bytes:
        """The exposition: this registry, the process's own, and what the engine tells of itself."""
        own = generate_latest(self.registry) + generate_latest(prometheus_client.REGISTRY)
        return own + (await self._engines()).encode()

    async def _engines(self) -> str:
        """The engine's exposition, where it keeps one and lives."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._engine.metrics_text()
        except (EngineError, TimeoutError):
            return ""


class EngineCounters(Collector):
    """What an engine counts of its own accord (``engine.counters``, a dataclass of numbers), where it does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[CounterMetricFamily]:
        counters = self._engine.counters
        if counters is None:
            return
        for field in dataclasses.fields(counters):
            text = f"The engine's own count of {field.name.replace('_', ' ')}"
            yield CounterMetricFamily(f"smc_engine_{field.name}", text, getattr(counters, field.name))


class RunMetrics:
    """Reads one run."""

    def __init__(self, metrics: Metrics, plan: Plan) -> None:
        self._metrics = metrics
        self._plan = plan
        self._began = self._block_began = time.perf_counter()
        self._committed = False

    def read(self, event: Event) -> None:
        metrics = self._metrics
        match event:
            case Weighted():
                now = time.perf_counter()
                metrics.block_seconds.observe(now - self._block_began)
                self._block_began = now
                metrics.ess.observe(event.ess / len(event.log_weights))
            case Resampled():
                metrics.resamplings.inc()
            case Rejuvenated():
                metrics.proposed.inc(int(event.proposed.sum()))
                metrics.accepted.inc(int(event.accepted.sum()))
            case Committed() if event.token_ids:
                self._commit()
            case BlockExtended() | Finished():
                pass

    def finished(self, result: SMCResult) -> None:
        self._commit()  # an answer of one block, or one that moves could cut till the end
        usage = result.usage
        for account in ("answer", *TOKEN_ACCOUNTS):
            self._metrics.tokens.labels(account).inc(getattr(usage, account))
        self._metrics.rewards.labels("computed").inc(usage.reward_calls)
        self._metrics.rewards.labels("cached").inc(usage.reward_cached)
        if self._plan.guard is not None:
            self._metrics.reward_failures.inc(self._plan.guard.failures)

    def _commit(self) -> None:
        if not self._committed:
            self._committed = True
            self._metrics.commit_seconds.observe(time.perf_counter() - self._began)

    def ended(self, outcome: str, error: Exception | None) -> None:
        self._metrics.runs.labels(self._plan.preset, outcome).inc()
        self._metrics.run_seconds.labels(self._plan.preset).observe(time.perf_counter() - self._began)
