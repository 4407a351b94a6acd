"""``GET /v1/models``: the model under its names, and every preset as a model ``NAME:PRESET``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from server.runs.presets import OfferedPreset
from server.runs.services import Services, services

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """All names that a request's ``model`` may have."""
    served = services(request)
    served.gate.identify(request)
    listed = []
    for name in served.presets.model_names:
        listed.append(_model(served, name, None))
        listed += [_model(served, f"{name}:{preset.name}", preset) for preset in served.presets]
    return {"object": "list", "data": listed}


@router.get("/v1/models/{model:path}")
async def model(request: Request, model: str) -> dict[str, Any]:
    """One of them."""
    served = services(request)
    served.gate.identify(request)
    return _model(served, model, served.presets.of_model(model))


def _model(served: Services, name: str, preset: OfferedPreset | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": served.lifecycle.created,
        "owned_by": "smc-decode",
        "root": served.presets.model_names[0],
        "parent": None if preset is None else name.removesuffix(f":{preset.name}"),
        "max_model_len": served.engine.info.max_model_len,
    }
    if preset is not None:
        shown["smc"] = {"preset": preset.name, "description": preset.description}
    return shown
