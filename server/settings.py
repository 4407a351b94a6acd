"""What an operator can set: the ``[server]``, ``[engine]``, ``[presets.NAME]`` and ``[rewards.NAME]`` tables of TOML.

The command line's options override the environment (``SMC_DECODE_SERVER__PORT=9000``), and that the file. Nothing here
is read or changed after the server has started.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from smc_decode.presets import DEFAULT_PRESET
from smc_decode.validation import problem_of

RewardFailurePolicy = Literal["fail", "keep", "floor"]
_PREFIX = "SMC_DECODE_"
NonEmpty = Annotated[str, Field(min_length=1)]
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
    max_header_bytes: int = Field(32 << 10, ge=1024)
    max_connections: int = Field(1024, ge=1)
    receive_timeout_s: Seconds = 20.0
    """Seconds that a client may take over a request's head, and that may pass without more of its body."""
    request_timeout_s: Seconds = 600.0
    default_max_tokens: int = Field(512, ge=1)
    """Used where neither the request nor its preset says; never more than what is left of the context."""

    reward_seconds: float = Field(600.0, ge=0, allow_inf_nan=False)
    """Seconds that the rewards of one request may hold processes (boxes, workers), added up over all; 0: no limit."""
    think_tags: Literal["auto", "none"] | tuple[NonEmpty, NonEmpty] = "auto"
    """What the model writes around its thought; auto: what its chat template speaks of."""
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
    """The configuration: ``overrides`` (table -> key -> value; None values are left out), on the environment's
    ``SMC_DECODE_TABLE__KEY``, on the file's tables.

    Raises:
        ConfigError: the file is missing, is not TOML, or a key or value is not allowed.
    """
    given = {
        name: {key: value for key, value in values.items() if value is not None}
        for name, values in (overrides or {}).items()
    }
    try:
        return _sources(path)(**given)
    except ValidationError as error:
        where = "" if path is None else f" (in {path}, the environment or the command line)"
        raise ConfigError(f"{problem_of(error, Settings)}{where}") from None
    except SettingsError as error:
        raise ConfigError(f"an environment variable {_PREFIX}*: {error}") from None


def _sources(path: Path | None) -> type[Settings]:
    class Sources(BaseSettings, Settings):
        model_config = SettingsConfigDict(
            extra="forbid", frozen=True, env_prefix=_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = () if path is None else (_file(settings_cls, path),)
            return (init_settings, env_settings, *file)

    return Sources


def is_loopback(host: str) -> bool:
    """Whether a bind address or host name reaches this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _file(settings: type[BaseSettings], path: Path) -> TomlConfigSettingsSource:
    try:
        path.stat()  # the source takes a missing file for an empty one
        return TomlConfigSettingsSource(settings, path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
