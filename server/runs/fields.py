"""``smc``: what a request says of its run that OpenAI's fields cannot say."""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from smc_decode.config import SMCConfig

from ..errors import APIError, invalid, wrong_field

RENAMED: Mapping[str, str] = MappingProxyType({"first_pass": "first_pass_size"})
"""Fields of SMCConfig under their names of before, which requests and files may still use."""


class RewardChoice(BaseModel):
    """Which reward a request is guided by."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(min_length=1)
    params: dict[str, Any] = Field(default_factory=dict)
    on_failure: Literal["fail", "keep", "floor"] | None = None
    """What a failure of the reward itself does; None: what the operator set."""


class SMCFields(BaseModel):
    """What ``smc`` may hold beside the fields of SMCConfig."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    preset: str | None = None
    reward: RewardChoice | None = None
    trace: bool = False
    stream_mode: Literal["commit", "final"] = "commit"
    stream_progress: bool = False
    reads: Literal["final", "all"] = "final"
    """What rewards, votes and stop strings look at of a model that thinks aloud: its answer, or its thought too."""

    @field_validator("reward", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        """``"regex"`` is ``{"name": "regex"}``."""
        return {"name": value} if isinstance(value, str) else value


def split_smc(smc: Mapping[str, Any], outside: Container[str], warnings: list[str]) -> tuple[SMCFields, dict[str, Any]]:
    """The server's own fields of ``smc``, and those of SMCConfig as they were given.

    ``outside``: fields that belong beside ``smc``. Raises APIError (400).
    """
    smc = _renamed(smc, warnings)
    allowed = sorted({*SMCFields.model_fields, *SMCConfig.model_fields})
    for key in smc:
        if key not in allowed:
            raise _unknown(key, allowed, outside)
    try:
        fields = SMCFields.model_validate({key: v for key, v in smc.items() if key in SMCFields.model_fields})
    except ValidationError as error:
        raise wrong_field(error, SMCFields, "smc") from None
    return fields, {key: value for key, value in smc.items() if key in SMCConfig.model_fields}


def _renamed(smc: Mapping[str, Any], warnings: list[str]) -> Mapping[str, Any]:
    for old, new in RENAMED.items():
        if old in smc and new in smc:
            raise invalid(f"smc.{old} is smc.{new} by its old name: give one of them", f"smc.{old}")
        if old in smc:
            warnings.append(f"smc.{old} is now smc.{new}")
            smc = {RENAMED.get(key, key): value for key, value in smc.items()}
    return smc


def _unknown(key: str, allowed: list[str], outside: Container[str]) -> APIError:
    place = f"smc.{key}"
    if key in outside:
        message = f"{place} is not known: {key} is a field of the request itself, so put it beside smc and not inside"
    else:
        message = f"{place} is not known; allowed: {', '.join(allowed)}"
    return invalid(message, place, "unknown_field")
