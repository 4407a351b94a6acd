"""What an operator can set: the ``[server]``, ``[engine]``, ``[presets.NAME]`` and ``[rewards.NAME]`` tables of TOML.

The command line's options override the file. Nothing here is read or changed after the server has started.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smc_decode.presets import DEFAULT_PRESET

RewardFailurePolicy = Literal["fail", "keep", "floor"]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key and says what to change."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Table):
    """The ``[server]`` table. docs/deploy.md describes every key."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    served_model_name: tuple[str, ...] = ()
    """Names that requests use for the model; empty: the engine's own name."""
    preset: str = DEFAULT_PRESET
    api_key_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    """``Host`` headers accepted besides loopback names while there are no API keys."""
    allow_client_tests: bool = False
    allow_unsafe_exec: bool = False

    particle_slots: int = Field(256, ge=1)
    """Particles (times rollouts) that all running requests may hold together."""
    queue_length: int = Field(64, ge=0)
    max_particles: int = Field(256, ge=1)
    max_prompts: int = Field(1024, ge=1)
    concurrent_prompts: int = Field(4, ge=1)
    """Prompts of one request that run side by side."""
    requests_per_key: int = Field(0, ge=0)
    """Requests of one API key at a time, queued ones included; 0: no limit."""
    requests_per_minute: int = Field(0, ge=0)
    """Requests of one API key in a minute; 0: no limit."""
    max_body_bytes: int = Field(8 << 20, ge=1)
    request_timeout_s: Seconds = 600.0
    default_max_tokens: int = Field(512, ge=1)
    """Used where neither the request nor its preset says; never more than what is left of the context."""

    reward_failure: RewardFailurePolicy = "fail"
    keep_alive_s: Seconds = 1.0
    drain_timeout_s: float = Field(30.0, ge=0)
    exit_on_engine_death: bool = False
    trace_dir: Path | None = None
    trace_max_bytes: int = Field(256 << 20, ge=0)
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def is_loopback(self) -> bool:
        """Whether the server listens on this machine's loopback only."""
        return is_loopback(self.host)


class PresetTable(BaseModel):
    """A ``[presets.NAME]`` table: ``base`` names the preset it starts from; other keys are SMCConfig fields."""

    model_config = ConfigDict(extra="allow", frozen=True)

    base: str = "smc"
    description: str = ""
    reward: Mapping[str, Any] | None = None
    """The reward of requests that name none: ``{name = "...", params = {...}}``."""


class Settings(_Table):
    """A whole configuration file."""

    server: ServerSettings = ServerSettings()
    engine: dict[str, Any] = Field(default_factory=dict)
    presets: dict[str, PresetTable] = Field(default_factory=dict)
    rewards: dict[str, Any] = Field(default_factory=dict)


def load_settings(path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """The file's tables with ``overrides`` (table -> key -> value; None values are left out) on top.

    Raises:
        ConfigError: the file is missing, is not TOML, or a key or value is not allowed.
    """
    tables: dict[str, Any] = {} if path is None else _read(path)
    for name, values in (overrides or {}).items():
        table = tables.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{name} must be a table: write [{name}]")
        table.update({key: value for key, value in values.items() if value is not None})
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from None


def is_loopback(host: str) -> bool:
    """Whether a bind address or host name reaches this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _explain(error: ValidationError, path: Path | None) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    where = "" if path is None else f" in {path}"
    if first["type"] != "extra_forbidden":
        return f"{key}{where}: {first['msg']}"
    table: type[BaseModel] = ServerSettings if first["loc"][0] == "server" else Settings
    return f"{key}{where} is unknown; allowed: {', '.join(sorted(table.model_fields))}"
