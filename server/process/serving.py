"""The process of a server: bind, load, serve, drain, and exit with a code that says how it went."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from rich.console import Console

from ..app import create_app
from ..edge.auth import read_keys
from ..edge.logs import configure_logging
from ..settings import ConfigError, Settings
from .about import About
from .banner import banner
from .connections import protocol
from .life import Lifecycle
from .loading import load

_GRACE = 5  # seconds that connections have to close once no request is left


class DrainingServer(uvicorn.Server):
    """uvicorn, but the first signal drains (new requests get 503) and only then closes, the second ends the work
    that is going on, and the third does not wait for anything."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._say = say
        self._signals = 0
        self._drain: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.exit_code = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            self._loop.call_soon_threadsafe(self._begin_drain)
        elif self._signals == 2:
            self._loop.call_soon_threadsafe(self._lifecycle.abort)
        else:
            self.force_exit = self.should_exit = True

    def engine_died(self) -> None:
        """End the process with a code other than 0: a supervisor starts another."""
        self.exit_code = 1
        self.should_exit = True

    def _begin_drain(self) -> None:
        self._drain = asyncio.create_task(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        busy = self._lifecycle.busy
        if busy:
            self._say(f"finishing {busy} requests; signal again to stop at once")
        await self._lifecycle.drain()
        self.should_exit = True


async def serve(settings: Settings, listener: socket.socket) -> int:
    """Load everything and serve on ``listener`` until told to stop; the process's exit code.

    Raises ConfigError: something of the configuration cannot be used.
    """
    configure_logging(settings.server)
    console = Console(stderr=True)
    keys = read_keys(settings.server)
    loaded = await load(settings, console)
    died: list[Callable[[], None]] = []
    try:
        app = create_app(
            loaded.engine,
            loaded.catalogue,
            settings.server.model_copy(update={"served_model_name": loaded.names(settings)}),
            presets=settings.presets,
            keys=keys,
            sandbox=loaded.sandbox,
            on_engine_death=(lambda: died[0]()) if settings.server.exit_on_engine_death else None,
        )
    except BaseException:
        await loaded.aclose()  # a made application does that when it ends
        raise
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        http=protocol(settings.server),
        h11_max_incomplete_event_size=settings.server.max_header_bytes,
        ws="none",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE,
    )
    server = DrainingServer(config, app.state.lifecycle, lambda text: console.print(text, highlight=False))
    died.append(server.engine_died)
    announce = asyncio.create_task(_announce(server, app.state.about, listener))
    try:
        await server.serve(sockets=[listener])
    finally:
        announce.cancel()
    return server.exit_code


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet, before anything slow is begun: until then clients are refused.
    Raises ConfigError with what to do."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"host {host!r} cannot be used: {error.strerror or error}") from None
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. Choose another with --port, or stop "
            "what uses it"
        ) from None
    return listener


async def _announce(server: uvicorn.Server, about: About, listener: socket.socket) -> None:
    while not server.started:
        await asyncio.sleep(0.02)
    host, port = listener.getsockname()[:2]
    sys.stdout.write(banner(about, host, port) + "\n")
    sys.stdout.flush()
