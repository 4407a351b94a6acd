"""What a benchmark run is told, on the command line or by a recipe."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from smc_decode.validation import problem_of

from .problems import PromptForm


class SettingsError(ValueError):
    """Settings that cannot be; the message names the field."""


class Settings(BaseModel):
    """One run. ``budgets``: every method at each of these N. ``equal`` ``tokens``: after a pilot, N is chosen for each
    method so that it draws about as many tokens as ``particles`` plain samples. ``time_limit``: seconds after which no
    further problem is begun (continue with ``resume``). ``rewards``: a TOML file whose [rewards.NAME] tables define
    further rewards. ``ray``: the address of a Ray cluster whose nodes solve the problems, with ``ray_engines`` engines
    (None: one a GPU, or one a node)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str
    methods: list[str]
    particles: int = Field(16, ge=1)
    budgets: list[int] = Field(default_factory=list)
    equal: Literal["particles", "tokens"] = "particles"
    pilot: int = Field(3, ge=1)
    start: int = Field(0, ge=0)
    every: int = Field(1, ge=1)
    limit: int | None = Field(None, ge=1)
    repeats: int = Field(1, ge=1)
    seed: int = 0
    model: str | None = None
    base_url: str | None = None
    prompt_form: PromptForm | None = None
    reward: str | None = None
    reward_params: dict[str, Any] = Field(default_factory=dict)
    rewards: Path | None = None
    max_tokens: int | None = Field(None, ge=1)
    parallel: int | None = Field(None, ge=1)
    data: Path | None = None
    out: Path
    resume: bool = False
    keep_texts: bool = False
    time_limit: float | None = Field(None, gt=0)
    engine: dict[str, Any] = Field(default_factory=dict)
    ray: str | None = None
    ray_engines: int | None = Field(None, ge=1)
    published: dict[str, float] = Field(default_factory=dict)
    note: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.ray is not None and self.base_url is not None:
            raise ValueError("ray: the server at base_url has an engine of its own: give one of the two")
        return self


def make_settings(**values: Any) -> Settings:
    """Checked settings. Raises SettingsError."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(str(problem_of(error, Settings))) from None


def read_recipe(path: Path, **overrides: Any) -> Settings:
    """Settings from a TOML file; ``overrides`` that are None are not there. Raises SettingsError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    values.setdefault("out", f"results/{path.stem}.jsonl")
    return make_settings(**values | {name: value for name, value in overrides.items() if value is not None})
