"""``GET /v1/models``: the model under its names, and every preset as a model ``NAME:PRESET``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ..runs.presets import OfferedPreset, PresetBook


def router(presets: PresetBook, created: int, max_model_len: int | None) -> APIRouter:
    """The routes of models. ``created``: when the server began, in seconds of the epoch."""
    routes = APIRouter()

    def shown(name: str, preset: OfferedPreset | None) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "smc-decode",
            "root": presets.model_names[0],
            "parent": None if preset is None else name.removesuffix(f":{preset.name}"),
            "max_model_len": max_model_len,
        }
        if preset is not None:
            told["smc"] = {"preset": preset.name, "description": preset.description}
        return told

    @routes.api_route("/v1/models", methods=["GET", "HEAD"])
    @routes.api_route("/v1/models/", methods=["GET", "HEAD"])
    async def models() -> dict[str, Any]:
        """All names that a request's ``model`` may have."""
        listed = []
        for name in presets.model_names:
            listed.append(shown(name, None))
            listed += [shown(f"{name}:{preset.name}", preset) for preset in presets]
        return {"object": "list", "data": listed}

    @routes.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        """One of them."""
        return shown(model, presets.of_model(model))

    return routes
