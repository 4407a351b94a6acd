"""``GET /health`` (does the engine live), ``GET /ready`` (what is there to be used), ``GET /metrics``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from server.openai.errors import APIError, brief, unavailable
from server.process.version import VERSION
from server.runs.services import Services, services

router = APIRouter()


@router.get("/health")
async def health(request: Request) -> Response:
    """200 while the engine can serve; 503 when it is down or the server drains."""
    await _check(services(request))
    return JSONResponse({"status": "ok"})


@router.get("/ready")
async def ready(request: Request) -> Response:
    """As ``/health``, with the engine, the rewards and the sandbox for those who may know."""
    served = services(request)
    await _check(served)
    try:
        served.gate.identify(request)
    except APIError:
        return JSONResponse({"status": "ready"})
    return JSONResponse({"status": "ready", **describe(served)})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus' text format: ``smc_*`` and the engine's own metrics."""
    served = services(request)
    served.gate.identify(request)
    return Response(await served.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def describe(served: Services) -> dict[str, Any]:
    """What this server is, for ``/ready`` and the banner."""
    info = served.engine.info
    engine: dict[str, Any] = {"name": info.name, "model": info.model, "max_model_len": info.max_model_len}
    if served.engine.replicas:
        engine["replicas"] = [{"url": url, "up": up} for url, up in served.engine.replicas]
    infos = [] if served.catalogue is None else served.catalogue.infos()
    return {
        "version": VERSION,
        "model": served.presets.model_names[0],
        "engine": engine,
        "preset": served.presets.default,
        "presets": {preset.name: preset.description for preset in served.presets},
        "rewards": {each.name: {"available": each.available, "reason": each.reason} for each in infos},
        "sandbox": None if served.sandbox is None else served.sandbox.describe(),
    }


async def _check(served: Services) -> None:
    if served.lifecycle.draining:
        raise unavailable("the server is shutting down", "server_draining", 10.0)
    fault = await served.lifecycle.check()
    if fault is not None:
        raise unavailable(f"the engine is down: {brief(fault)}", "engine_unavailable", 5.0)
