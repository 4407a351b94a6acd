"""What a configuration needs to run: engine, rewards and sandbox, loaded in order, closed together."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from rich.console import Console

from smc_decode.engines.base import Engine
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardConfigError
from smc_decode.sandbox import Sandbox, SandboxUnavailable

from ..runs.presets import PresetBook
from ..settings import ConfigError, Settings
from .engines import build_engine, model_name


@dataclass(frozen=True)
class Loaded:
    """What was loaded. Whoever has it closes it."""

    engine: Engine
    catalogue: RewardCatalogue | None
    sandbox: Sandbox | None

    def names(self, settings: Settings) -> tuple[str, ...]:
        """Names that requests use for the model."""
        return settings.server.served_model_name or (model_name(settings.engine) or self.engine.info.model,)

    def presets(self, settings: Settings) -> PresetBook:
        """The presets under those names."""
        return PresetBook(settings.presets, settings.server.preset, self.names(settings))

    async def aclose(self) -> None:
        """Shut everything down, whatever of it fails."""
        async with contextlib.AsyncExitStack() as stack:
            if self.sandbox is not None:
                stack.push_async_callback(asyncio.to_thread, self.sandbox.close)
            stack.push_async_callback(self.engine.shutdown)
            if self.catalogue is not None:
                stack.push_async_callback(self.catalogue.aclose)


async def load(settings: Settings, console: Console) -> Loaded:
    """Load everything; ``console`` is told what takes its time.

    Raises ConfigError: something of the configuration cannot be used.
    """
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
        stack.pop_all()
    return Loaded(engine, catalogue, sandbox)


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
