"""Engines: a table model that is exact and needs nothing, vLLM embedded, vLLM over HTTP."""

from smc_decode.engines.base import Continuation, Engine, EngineError, EngineInfo, EngineRequestError, Extend
from smc_decode.engines.table import TableEngine

__all__ = ["Continuation", "Engine", "EngineError", "EngineInfo", "EngineRequestError", "Extend", "TableEngine"]
