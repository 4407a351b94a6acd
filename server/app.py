"""The application: routes and middleware around an engine, a reward catalogue and settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi import FastAPI

from server import page
from server.edge.admission import Admission
from server.edge.auth import Gate, Keys
from server.edge.limits import BodyLimit
from server.edge.logs import RequestLog
from server.openai import chat, completions, errors
from server.openai import models as model_routes
from server.process import health
from server.process.life import Lifecycle
from server.process.version import VERSION
from server.runs import routes as stored_runs
from server.runs.metrics import Metrics
from server.runs.presets import PresetBook
from server.runs.services import Services
from server.runs.store import Traces
from server.settings import PresetTable, ServerSettings
from smc_decode.engines.base import Engine
from smc_decode.engines.bundled_model import default_cache_dir
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.sandbox import Sandbox


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
    keys = keys or Keys({})
    admission = Admission(
        settings.particle_slots,
        settings.queue_length,
        requests_per_key=settings.requests_per_key,
        requests_per_minute=settings.requests_per_minute,
    )
    lifecycle = Lifecycle(engine, admission, settings.drain_timeout_s)
    metrics = Metrics(admission, engine)
    names = settings.served_model_name or (engine.info.model,)
    trace_dir = settings.trace_dir or default_cache_dir() / "traces"
    services = Services(
        engine=engine,
        catalogue=catalogue,
        sandbox=sandbox,
        settings=settings,
        presets=PresetBook(presets or {}, settings.preset, names),
        gate=Gate(keys, settings),
        admission=admission,
        lifecycle=lifecycle,
        metrics=metrics,
        traces=Traces(trace_dir, settings.trace_max_bytes),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(lifecycle.watch(on_engine_death))
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            if catalogue is not None:
                await catalogue.aclose()
            await engine.shutdown()
            if sandbox is not None:
                await asyncio.to_thread(sandbox.close)

    app = FastAPI(
        title="smc-decode", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.state.services = services
    for module in (completions, chat, model_routes, stored_runs, health, page):
        app.include_router(module.router)
    errors.install(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(RequestLog, metrics=metrics)
    return app
