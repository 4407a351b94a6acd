"""Running vLLM servers as an engine, over HTTP. The engine is imported when it is asked for: it needs httpx."""

from typing import TYPE_CHECKING, Any

from smc_decode.engines.remote.settings import RemoteSettings

if TYPE_CHECKING:
    from smc_decode.engines.remote.engine import RemoteEngine

__all__ = ["RemoteEngine", "RemoteSettings"]


def __getattr__(name: str) -> Any:
    if name != "RemoteEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from smc_decode.engines.remote.engine import RemoteEngine

    return RemoteEngine
