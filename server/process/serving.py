"""The process of a server: bind, load, serve, drain, and exit with a code that says how it went."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from rich.console import Console

from server.app import create_app
from server.edge.auth import read_keys
from server.edge.logs import configure_logging
from server.process.banner import banner
from server.process.engines import build_engine, model_name
from server.process.life import Lifecycle
from server.runs.presets import PresetBook
from server.runs.services import Services
from server.settings import ConfigError, Settings
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardConfigError
from smc_decode.sandbox import Sandbox, SandboxUnavailable

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
    check(settings)
    sandbox = await asyncio.to_thread(open_sandbox, settings)
    async with contextlib.AsyncExitStack() as stack:
        if sandbox is not None:
            stack.callback(sandbox.close)
        if not console.is_terminal:
            console.print("loading the engine and its model", highlight=False)
        with console.status("loading the engine and its model"):
            engine = await build_engine(settings.engine)
        stack.push_async_callback(engine.shutdown)
        catalogue = open_catalogue(settings, sandbox, engine)
        stack.push_async_callback(catalogue.aclose)
        await load_reward_models(catalogue, console)
        names = settings.server.served_model_name or tuple(filter(None, [model_name(settings.engine)]))
        server_settings = settings.server.model_copy(update={"served_model_name": names})
        died: list[Callable[[], None]] = []
        app = create_app(
            engine,
            catalogue,
            server_settings,
            presets=settings.presets,
            keys=keys,
            sandbox=sandbox,
            on_engine_death=(lambda: died[0]()) if settings.server.exit_on_engine_death else None,
        )
        stack.pop_all()  # the application shuts them down from here on
    services: Services = app.state.services
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE,
    )
    server = DrainingServer(config, services.lifecycle, lambda text: console.print(text, highlight=False))
    died.append(server.engine_died)
    announce = asyncio.create_task(_announce(server, services, listener))
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


def check(settings: Settings) -> None:
    """Look at presets and rewards before anything slow is begun. Raises ConfigError."""
    PresetBook(settings.presets, settings.server.preset, ("model",))
    open_catalogue(settings, None, None)


def open_sandbox(settings: Settings) -> Sandbox | None:
    """The sandbox, or None where no tier works here and the operator did not allow to go without."""
    try:
        return Sandbox(allow_unsafe_exec=settings.server.allow_unsafe_exec)
    except SandboxUnavailable:
        return None


def open_catalogue(settings: Settings, sandbox: Sandbox | None, engine: object | None) -> RewardCatalogue:
    """The rewards of the configuration. Raises ConfigError."""
    try:
        return RewardCatalogue.from_toml(
            {"rewards": settings.rewards},
            sandbox=sandbox,
            engine=engine,
            allow_client_tests=settings.server.allow_client_tests,
        )
    except RewardConfigError as error:
        raise ConfigError(str(error)) from None


async def load_reward_models(catalogue: RewardCatalogue, console: Console) -> None:
    """Load what the rewards of the configuration ask, and say what. Raises ConfigError."""
    with console.status("") as status:

        def say(text: str) -> None:
            status.update(text)
            if not console.is_terminal:
                console.print(text, highlight=False)

        try:
            await catalogue.start(say)
        except RewardConfigError as error:
            raise ConfigError(str(error)) from None


async def _announce(server: uvicorn.Server, services: Services, listener: socket.socket) -> None:
    while not server.started:
        await asyncio.sleep(0.02)
    host, port = listener.getsockname()[:2]
    sys.stdout.write(banner(services, host, port) + "\n")
    sys.stdout.flush()
