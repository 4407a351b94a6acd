"""From the ``[engine]`` table to an engine. Only the engine that is asked for is imported."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from smc_decode.engines.base import Engine, EngineError
from smc_decode.engines.bundled_model import BUNDLED_MODEL, ModelError, resolve_model
from smc_decode.validation import problem_of

from ..settings import ConfigError
from .hub import check_model

KINDS = ("vllm", "remote")


async def build_engine(table: Mapping[str, Any]) -> Engine:
    """The engine of ``table``: ``kind`` (``vllm`` by default, ``remote``, or ``module:function`` of the operator's
    own), ``model``, and what that engine takes.

    Raises ConfigError: unknown kind or option, or a model that cannot be had.
    """
    options = dict(table)
    kind = options.pop("kind", "vllm")
    if kind == "vllm":
        return await _vllm(options)
    if kind == "remote":
        return await _remote(options)
    if isinstance(kind, str) and ":" in kind:
        return await _own(kind, options)
    raise ConfigError(f"engine.kind: unknown {kind!r}; allowed: {', '.join(KINDS)}, or 'module:function'")


def model_name(table: Mapping[str, Any]) -> str | None:
    """The name that requests use for the engine's model, or None where the engine itself says."""
    if table.get("kind", "vllm") != "vllm":
        return None
    model = table.get("model")
    if model is None:
        return BUNDLED_MODEL
    return Path(model).name if Path(model).expanduser().is_dir() else str(model)


async def _vllm(options: dict[str, Any]) -> Engine:
    try:
        from smc_decode.engines.vllm.engine import VLLMEngine, VLLMSettings
    except ImportError as error:
        raise ConfigError(f"vLLM cannot be imported ({error}): run 'make setup'") from None
    try:
        options["model"] = resolve_model(options.get("model"))
    except ModelError as error:
        raise ConfigError(str(error)) from None
    await check_model(options["model"])
    options.setdefault("metrics", True)  # a server has a place to show them
    try:
        return cast(Engine, await VLLMEngine.create(_settings(VLLMSettings, options)))
    except EngineError as error:
        raise ConfigError(str(error)) from None


async def _remote(options: dict[str, Any]) -> Engine:
    try:
        module = importlib.import_module("smc_decode.engines.remote.engine")
    except ImportError as error:
        raise ConfigError(f"the remote engine cannot be imported: {error}") from None
    try:
        return cast(Engine, await module.RemoteEngine.create(_settings(module.RemoteSettings, options)))
    except EngineError as error:
        raise ConfigError(str(error)) from None


async def _own(kind: str, options: dict[str, Any]) -> Engine:
    name, _, function = kind.partition(":")
    try:
        make = getattr(importlib.import_module(name), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"engine.kind {kind!r}: {error}") from None
    made = make(**options)
    return cast(Engine, await made if inspect.isawaitable(made) else made)


def _settings(cls: Any, options: Mapping[str, Any]) -> Any:
    try:
        return cls(**options)
    except ValidationError as error:
        raise ConfigError(str(problem_of(error, cls, "engine"))) from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"[engine]: {error}") from None
