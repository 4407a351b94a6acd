"""The presets that a server offers: those of ``smc_decode`` and the operator's, also as models ``NAME:PRESET``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from pydantic import ValidationError

from smc_decode.config import SMCConfig
from smc_decode.presets import PRESETS, Preset, merge
from smc_decode.validation import problem_of

from ..errors import APIError, invalid
from ..settings import ConfigError, PresetTable
from .fields import RENAMED

_log = structlog.get_logger("server.runs.presets")


@dataclass(frozen=True)
class OfferedPreset:
    """A preset, with the reward that its requests have where they name none."""

    preset: Preset
    reward: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.preset.name

    @property
    def description(self) -> str:
        return self.preset.description


class PresetBook:
    """Presets by name, and the model names under which requests find them.

    Raises ConfigError: an operator's preset has an unknown base, field or value, or the default is not one.
    """

    def __init__(self, own: Mapping[str, PresetTable], default: str, model_names: tuple[str, ...]) -> None:
        self._presets = {name: OfferedPreset(preset) for name, preset in PRESETS.items()}
        for name, table in own.items():
            self._presets[name] = self._from_table(name, table)
        if default not in self._presets:
            raise ConfigError(f"preset {default!r} is not known; allowed: {', '.join(self._presets)}")
        self.default = default
        self.model_names = model_names

    def __iter__(self) -> Iterator[OfferedPreset]:
        return iter(self._presets.values())

    def get(self, name: str, param: str = "smc.preset") -> OfferedPreset:
        """The preset. Raises APIError (400) with the allowed names."""
        if name not in self._presets:
            raise invalid(f"{param}: there is no preset {name!r}; allowed: {', '.join(self._presets)}", param)
        return self._presets[name]

    def of_model(self, model: str) -> OfferedPreset | None:
        """The preset that a request's ``model`` names, or None where it names the model alone.

        Raises APIError (404, ``model_not_found``).
        """
        if model in self.model_names:
            return None
        name, colon, preset = model.rpartition(":")
        if colon and name in self.model_names and preset in self._presets:
            return self._presets[preset]
        raise APIError(
            404,
            f"the model {model!r} does not exist here; use {self.model_names[0]!r}, or {self.model_names[0]}:PRESET "
            f"with one of the presets {', '.join(self._presets)}",
            code="model_not_found",
            param="model",
        )

    def _from_table(self, name: str, table: PresetTable) -> OfferedPreset:
        if table.base not in self._presets:
            raise ConfigError(f"presets.{name}.base: unknown {table.base!r}; allowed: {', '.join(self._presets)}")
        base = self._presets[table.base]
        values = _renamed(name, table.model_extra or {})
        unknown = sorted(set(values) - set(SMCConfig.model_fields))
        if unknown:
            allowed = ", ".join(sorted(SMCConfig.model_fields))
            raise ConfigError(f"presets.{name}.{unknown[0]} is unknown; allowed: base, description, reward, {allowed}")
        description = table.description or f"{table.base}, as set by the operator"
        preset = replace(
            base.preset,
            name=name,
            description=description,
            values=merge(base.preset.values, values),
            one_block=base.preset.one_block and "block_size" not in values,
        )
        try:
            preset.config()
        except ValidationError as error:
            raise ConfigError(str(problem_of(error, SMCConfig, f"presets.{name}"))) from None
        return OfferedPreset(preset, table.reward if table.reward is not None else base.reward)


def _renamed(preset: str, values: Mapping[str, Any]) -> dict[str, Any]:
    for old in RENAMED.keys() & values.keys():
        _log.warning("deprecated", key=f"presets.{preset}.{old}", use=RENAMED[old])
    return {RENAMED.get(key, key): value for key, value in values.items()}
