"""Engines: a table model that is exact and needs nothing, vLLM embedded, vLLM over HTTP; a base class for others."""

from smc_decode.engines.base import (
    BaseEngine,
    Continuation,
    Engine,
    EngineError,
    EngineInfo,
    EngineRequestError,
    Extend,
    LiveSequence,
    TokenScore,
)
from smc_decode.engines.checks import check_requests
from smc_decode.engines.table import TableEngine
from smc_decode.shaping import Shaping

__all__ = [
    "BaseEngine",
    "Continuation",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineRequestError",
    "Extend",
    "LiveSequence",
    "Shaping",
    "TableEngine",
    "TokenScore",
    "check_requests",
]
