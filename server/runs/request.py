"""What a run is asked for, whichever protocol the request came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from smc_decode.answers.thinking import Thinking


@dataclass(frozen=True)
class Prompt:
    """What is to be continued. ``written``: its text where the client sent text, else ``decode`` makes it."""

    token_ids: tuple[int, ...]
    written: str | None
    messages: Sequence[Mapping[str, Any]] | None = None
    name: str = "prompt"
    """The field that errors name."""
    decode: Callable[[Sequence[int]], str] | None = None
    continues: bool = False
    """The answer goes on with the last message."""
    thinking: Thinking | None = None
    """How answers are taken apart; None: the model does not think aloud, or a text is continued."""

    @cached_property
    def text(self) -> str:
        """The text that rewards read, made when it is first asked for: not before the prompt was found to fit."""
        if self.written is not None:
            return self.written
        return "" if self.decode is None else self.decode(self.token_ids)


@dataclass(frozen=True)
class RunRequest:
    """A request without its prompts."""

    model: str
    smc: Mapping[str, Any] = field(default_factory=dict)
    """The client's ``smc``, as it was sent."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """SMCConfig fields that the protocol's own fields set."""
    temperature: float | None = None
    n: int = 1
    """How many answers are drawn from the final particles."""
    at_least: int = 1
    """The least number of particles that the protocol's own fields ask for."""
    seed: int | None = None
    names: frozenset[str] = frozenset()
    """The fields of the protocol's request, which do not belong into ``smc``."""


@dataclass(frozen=True)
class Origin:
    """Where a request comes from, for those who watch its runs."""

    owner: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
