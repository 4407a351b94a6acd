"""``GET /health`` (does the engine live), ``GET /ready`` (what is there to be used), ``GET /metrics``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from ..edge.gate import Gate, open_to_all
from ..errors import brief, unavailable
from ..runs.metrics import Metrics
from .about import About
from .life import Lifecycle


def router(about: About, gate: Gate, lifecycle: Lifecycle, metrics: Metrics) -> APIRouter:
    """The routes of those who watch a server."""
    routes = APIRouter()

    async def check() -> None:
        if lifecycle.draining:
            raise unavailable("the server is shutting down", "server_draining", 10.0)
        fault = await lifecycle.check()
        if fault is not None:
            raise unavailable(f"the engine is down: {brief(fault)}", "engine_unavailable", 5.0)

    @routes.api_route("/health", methods=["GET", "HEAD"])
    @open_to_all
    async def health() -> Response:
        """200 while the engine can serve; 503 when it is down or the server drains."""
        await check()
        return JSONResponse({"status": "ok"})

    @routes.api_route("/ready", methods=["GET", "HEAD"])
    @open_to_all
    async def ready(request: Request) -> Response:
        """As ``/health``, with the engine, the rewards and the sandbox for those who may know."""
        await check()
        return JSONResponse({"status": "ready", **(about.describe() if gate.knows(request) else {})})

    @routes.get("/metrics")
    async def exposition() -> Response:
        """Prometheus' text format: ``smc_*`` and the engine's own metrics."""
        return Response(await metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes
