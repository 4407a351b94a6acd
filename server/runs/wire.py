"""Events and results of a run as JSON, for traces, progress in streams, and the page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from smc_decode.events import Event, Finished
from smc_decode.result import WORK_ACCOUNTS, SMCResult, Usage

Decode = Callable[[Sequence[int]], str]


def event_json(event: Event, decode: Decode | None = None) -> dict[str, Any]:
    """An event with its type under ``event``; numbers that JSON does not have are null.

    ``decode``: gives each particle's text beside its tokens.
    """
    if isinstance(event, Finished):
        return {"event": "Finished", **result_json(event.result, decode)}
    fields = {field.name: plain(getattr(event, field.name)) for field in dataclasses.fields(event)}
    if decode is not None and "token_ids" in fields:
        token_ids = fields["token_ids"]
        nested = bool(token_ids) and isinstance(token_ids[0], list)
        fields["text"] = [decode(each) for each in token_ids] if nested else decode(token_ids)
    return {"event": type(event).__name__, **fields}


def result_json(result: SMCResult, decode: Decode | None = None) -> dict[str, Any]:
    """A result: its numbers, the final population and the answer's place in it."""
    particles = [
        {
            "token_ids": list(particle.token_ids),
            "log_weight": plain(particle.log_weight),
            "weight": particle.weight,
            "finished": particle.finished,
            "finish_reason": particle.finish_reason,
            "reward": plain(particle.reward),
            "detail": plain(dict(particle.detail)),
            **({} if decode is None else {"text": decode(particle.token_ids)}),
        }
        for particle in result.particles
    ]
    return {
        "answer": {"token_ids": list(result.answer.token_ids), "text": result.answer.text},
        "particles": particles,
        "ancestors": plain(result.ancestors),
        "log_z": plain(result.log_z),
        "ess": plain(result.ess),
        "resampled": list(result.resampled),
        "acceptance_rate": plain(result.acceptance_rate),
        "blocks": result.blocks,
        "stopped": result.stopped,
        "exact": result.exact,
        "inexact": list(result.inexact),
        "warnings": list(result.warnings),
        "usage": plain(result.usage),
    }


def usage_json(usage: Usage) -> dict[str, int]:
    """``usage.smc``: all work of a run."""
    return {name: getattr(usage, name) for name in WORK_ACCOUNTS}


def plain(value: Any) -> Any:
    """``value`` in JSON's types; NaN and infinities become null, unknown objects their text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return str(value)
