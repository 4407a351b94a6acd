"""Does a model exist on Hugging Face? Asked before an engine is started that would find out slowly."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import httpx

from ..settings import ConfigError

_ENDPOINT = "https://huggingface.co"
_SECONDS = 15.0


async def check_model(model: str) -> None:
    """Return where ``model`` is a folder, in the cache, or on the hub; a hub's trouble of its own is not looked at.

    Raises ConfigError: the hub has no such model, or cannot be reached while the cache has none.
    """
    if Path(model).is_dir() or _cached(model):
        return
    elsewhere = "give the folder of a model, or leave --model out for the bundled one"
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() not in ("", "0", "false", "no", "off"):
        raise ConfigError(f"model {model!r} is not in the cache, and HF_HUB_OFFLINE is set: {elsewhere}")
    url = f"{os.environ.get('HF_ENDPOINT') or _ENDPOINT}/{model}/resolve/main/config.json"
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=True) as client:
            status = (await client.head(url, headers=headers)).status_code
    except httpx.HTTPError as error:
        raise ConfigError(
            f"model {model!r} is not in the cache, and Hugging Face cannot be reached ({error}): {elsewhere}"
        ) from None
    if status in (401, 403):
        raise ConfigError(
            f"Hugging Face does not show a model {model!r}: mend the name, or set HF_TOKEN if it is private"
        )
    if status == 404:
        raise ConfigError(f"there is no model {model!r} on Hugging Face: mend the name, or {elsewhere}")


def _cached(model: str) -> bool:
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        return False
    return isinstance(hub.try_to_load_from_cache(model, "config.json"), str)
