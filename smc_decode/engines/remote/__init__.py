"""Running vLLM servers as an engine, over HTTP."""

from smc_decode.engines.remote.engine import RemoteEngine
from smc_decode.engines.remote.settings import RemoteSettings

__all__ = ["RemoteEngine", "RemoteSettings"]
