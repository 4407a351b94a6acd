"""What reward models are asked through: local vLLM engines and remote servers look the same to the rewards.

A text is a whole rendered prompt, special tokens included. Scores are what the model's head gives after its own
activation (vLLM's default: softmax over several labels, a sigmoid for one).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Protocol

from pydantic import Field, ValidationInfo, field_validator

from smc_decode.engines.base import Tokenizer
from smc_decode.engines.vllm.settings import VLLMSettings
from smc_decode.potentials.options import Finite, Options

_SPECIAL = re.compile(r"<\|[^|<>]{1,40}\|>|<extra_\d+>|</?s>|\[/?INST\]", re.IGNORECASE)


class RewardModel(Protocol):
    """A model with a classification head."""

    async def classify(self, texts: Sequence[str]) -> list[list[float]]:
        """One row of label scores for each text. Raises RewardFailure when the model is down."""
        ...

    async def classify_tokens(self, texts: Sequence[str]) -> list[list[list[float]]]:
        """For each text the rows of its step tokens (or of all its tokens, by the model's pooling), in order."""
        ...


class LabelModel(Protocol):
    """A language model that says how likely it finds some next tokens."""

    @property
    def tokenizer(self) -> Tokenizer | None: ...

    async def label_logprobs(
        self, token_id_lists: Sequence[Sequence[int]], label_ids: Sequence[int]
    ) -> list[dict[int, float]]:
        """For each list the base log-probability of each label as its next token. Raises EngineError."""
        ...


def without_special_tokens(text: str) -> str:
    """Text of a model or a client, made safe to be put into a template: what reads as a special token is taken
    out."""
    while True:
        cleaned = _SPECIAL.sub("", text)
        if cleaned == text:
            return text
        text = cleaned


def fill(template: str, values: Mapping[str, str]) -> str:
    """``{name}`` in a template replaced; other braces stay as they are, and values are not looked into."""
    pattern = "|".join(re.escape("{" + name + "}") for name in values)
    return re.sub(pattern, lambda match: values[match[0][1:-1]], template)


def check_template(template: str, names: Sequence[str]) -> str:
    """The template, if it has every name. Raises ValueError."""
    missing = [name for name in names if "{" + name + "}" not in template]
    if missing:
        raise ValueError(f"must contain {', '.join('{' + name + '}' for name in missing)}")
    return template


class HostOptions(Options):
    """Where a model beside the generator is: loaded into a second engine of this machine, or on the vLLM server at
    ``url``. ``api_key_env``: the environment variable with that server's key. ``timeout`` in seconds for one call of
    the server. ``engine``: fields of VLLMSettings for a model that is loaded here, such as
    ``gpu_memory_utilization``. All are the operator's to set."""

    REMOTE_FIELDS: ClassVar[frozenset[str]] = frozenset()
    """What ``engine`` may set where there is a ``url``."""

    url: str | None = Field(None, pattern=r"^https?://[^/\s]+")
    api_key_env: str | None = None
    timeout: Finite = Field(60.0, gt=0, le=3600)
    engine: dict[str, Any] = Field(default_factory=dict)

    @field_validator("engine")
    @classmethod
    def _known_fields(cls, engine: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        allowed = _HERE if info.data.get("url") is None else cls.REMOTE_FIELDS
        unknown = sorted(set(engine) - allowed)
        if unknown and not allowed:
            raise ValueError("is for a model that is loaded here: leave it out, or url")
        if unknown:
            raise ValueError(f"{unknown[0]} is unknown; allowed: {', '.join(sorted(allowed))}")
        return engine


_HERE = frozenset(field.name for field in fields(VLLMSettings)) - {"model", "pooling_task", "pooling_step_token_id"}


class ModelOptions(HostOptions):
    """A reward model: ``model`` is a folder or a Hugging Face name, or what the server at ``url`` calls it."""

    model: str = Field(min_length=1, max_length=1000)
