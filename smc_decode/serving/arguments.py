"""What ``serve run smc_decode.serving.ray:build NAME=VALUE ...`` can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Arguments(BaseModel):
    """One deployment.

    Attributes:
        config: the TOML file of ``smc-decode serve --config``; None: the defaults and the environment.
        replicas: how many; with ``max_replicas`` the least.
        max_replicas: more of them as the particle slots in use ask for it; None: always ``replicas``.
        target_slots: share of the particle slots that should be in use.
        num_cpus, num_gpus: of one replica.
        sticky: requests with the same ``x-session-id`` go to the same replica.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: Path | None = None
    replicas: int = Field(1, ge=1)
    max_replicas: int | None = Field(None, ge=1)
    target_slots: float = Field(0.7, gt=0, le=1)
    num_cpus: float = Field(1.0, ge=0)
    num_gpus: float = Field(0.0, ge=0)
    sticky: bool = True

    @model_validator(mode="after")
    def _growing(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError("max_replicas must not be less than replicas")
        return self
