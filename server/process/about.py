"""What a server is, for ``/ready`` and the start-up lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smc_decode.engines.base import Engine
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.sandbox import Sandbox

from ..runs.presets import PresetBook
from .version import VERSION


@dataclass(frozen=True)
class About:
    """What there is to be used."""

    engine: Engine
    catalogue: RewardCatalogue | None
    presets: PresetBook
    sandbox: Sandbox | None
    needs_key: bool

    def describe(self) -> dict[str, Any]:
        """Version, model, engine, presets, rewards and sandbox, in JSON's types."""
        info = self.engine.info
        engine: dict[str, Any] = {"name": info.name, "model": info.model, "max_model_len": info.max_model_len}
        if self.engine.replicas:
            engine["replicas"] = [{"url": url, "up": up} for url, up in self.engine.replicas]
        infos = [] if self.catalogue is None else self.catalogue.infos()
        return {
            "version": VERSION,
            "model": self.presets.model_names[0],
            "engine": engine,
            "preset": self.presets.default,
            "presets": {preset.name: preset.description for preset in self.presets},
            "rewards": {each.name: {"available": each.available, "reason": each.reason} for each in infos},
            "sandbox": None if self.sandbox is None else self.sandbox.describe(),
        }
