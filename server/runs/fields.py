"""``smc``: what a request says of its run that OpenAI's fields cannot say."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from server.errors import invalid, wrong_field
from smc_decode.config import SMCConfig


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

    @field_validator("reward", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        """``"regex"`` is ``{"name": "regex"}``."""
        return {"name": value} if isinstance(value, str) else value


def split_smc(smc: Mapping[str, Any], outside: Container[str]) -> tuple[SMCFields, dict[str, Any]]:
    """The server's own fields of ``smc``, and those of SMCConfig as they were given.

    ``outside``: fields that belong beside ``smc``. Raises APIError (400).
    """
    allowed = sorted({*SMCFields.model_fields, *SMCConfig.model_fields})
    for key in smc:
        if key in allowed:
            continue
        place = f"smc.{key}"
        if key in outside:
            message = f"{place} is not known: {key} is a field of the request itself, so put it beside smc, not inside"
            raise invalid(message, place, "unknown_field")
        raise invalid(f"{place} is not known; allowed: {', '.join(allowed)}", place, "unknown_field")
    try:
        fields = SMCFields.model_validate({key: v for key, v in smc.items() if key in SMCFields.model_fields})
    except ValidationError as error:
        raise wrong_field(error, SMCFields, "smc") from None
    return fields, {key: value for key, value in smc.items() if key in SMCConfig.model_fields}
