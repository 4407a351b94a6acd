"""The application: routes and middleware around an engine, a reward catalogue and settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi import Depends, FastAPI

from smc_decode.engines.base import Engine
from smc_decode.engines.bundled_model import default_cache_dir
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.sandbox import Sandbox

from . import errors, page
from .edge.admission import Admission
from .edge.auth import Keys
from .edge.gate import Gate
from .edge.limits import BodyLimit
from .edge.logs import RequestLog
from .edge.work import Work
from .openai import chat, completions, models, scores, tokens
from .openai.operation import Operations
from .openai.responses import route as responses
from .openai.thinking import think_tags
from .process import health
from .process.about import About
from .process.life import Lifecycle
from .process.loading import Loaded
from .process.version import VERSION
from .runs import routes as stored_runs
from .runs.metrics import Metrics
from .runs.plan import Planner
from .runs.presets import PresetBook
from .runs.runner import Runner
from .runs.store import Traces
from .runs.tracing import Spans
from .settings import PresetTable, ServerSettings


def create_app(
    engine: Engine,
    catalogue: RewardCatalogue | None = None,
    settings: ServerSettings | None = None,
    *,
    presets: Mapping[str, PresetTable] | None = None,
    keys: Keys | None = None,
    sandbox: Sandbox | None = None,
    on_engine_death: Callable[[], None] | None = None,
) -> FastAPI:
    """The ASGI application. It shuts ``engine``, ``catalogue`` and ``sandbox`` down when it ends.

    ``keys``: API keys (:func:`server.edge.auth.read_keys`); None: everybody is let in. ``on_engine_death`` is called
    when the engine has died, once.

    Raises:
        ConfigError: settings or presets that cannot be used.
    """
    settings = settings or ServerSettings()
    gate = Gate(keys or Keys({}), settings)
    admission = Admission(
        settings.particle_slots,
        settings.queue_length,
        requests_per_key=settings.requests_per_key,
        requests_per_minute=settings.requests_per_minute,
    )
    work = Work(admission, settings.request_timeout_s)
    lifecycle = Lifecycle(engine, admission, work, settings.drain_timeout_s)
    metrics = Metrics(admission, engine)
    book = PresetBook(presets or {}, settings.preset, settings.served_model_name or (engine.info.model,))
    traces = Traces(settings.trace_dir or default_cache_dir() / "traces", settings.trace_max_bytes)
    about = About(engine, catalogue, book, sandbox, gate.needs_key)
    runner = Runner(
        engine,
        (metrics, Spans()),
        traces,
        side_by_side=settings.concurrent_prompts,
        capacity=admission.capacity,
    )
    tags = think_tags(engine.tokenizer, settings)
    planner = Planner(engine.info, catalogue, book, settings)
    operations = Operations(
        engine,
        planner,
        runner,
        work,
        max_prompts=settings.max_prompts,
        keep_alive_s=settings.keep_alive_s,
        tags=tags,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(lifecycle.watch(on_engine_death))
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await Loaded(engine, catalogue, sandbox).aclose()

    app = FastAPI(
        title="smc-decode",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        dependencies=[Depends(gate.admit)],
    )
    app.state.about, app.state.admission, app.state.lifecycle = about, admission, lifecycle
    for router in (
        completions.router(operations),
        chat.router(operations),
        responses.router(operations),
        models.router(book, lifecycle.created, engine.info.max_model_len),
        scores.router(scores.Judge(engine, planner, settings.max_particles, tags), work),
        tokens.router(engine, book, work),
        stored_runs.router(traces),
        health.router(about, gate, lifecycle, metrics),
        page.router,
    ):
        app.include_router(router)
    errors.install(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, seconds=settings.receive_timeout_s)
    app.add_middleware(RequestLog, count=metrics.request)
    return app
