"""What pydantic found wrong, told in one way: the dotted place of the first problem, and what is allowed there."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

_UNION_TAGS = frozenset({"str", "int", "float", "bool", "NamedTool"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. ``place`` is dotted, with indices in brackets: ``messages[0].role``; empty for the whole."""

    place: str
    message: str
    kind: Literal["unknown", "missing", "value"]
    allowed: tuple[str, ...] = ()
    """The names that ``kind`` ``unknown`` could have had."""

    @property
    def choices(self) -> str:
        """``; allowed: a, b``, or nothing."""
        return f"; allowed: {', '.join(self.allowed)}" if self.allowed else ""

    def __str__(self) -> str:
        if self.kind == "unknown":
            return f"{self.place} is unknown{self.choices}"
        if self.kind == "missing":
            return f"{self.place} is required"
        if not self.place or self.message.startswith(self.place):
            return self.message
        return f"{self.place}: {self.message}"


def problem_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> Problem:
    """The most telling problem of ``error``, which ``model`` raised; ``prefix``: the place of the model itself."""
    first = _most_telling(error.errors(include_url=False, include_context=False, include_input=False))
    place = _dotted([part for part in first["loc"] if _is_field(part)], prefix)
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1])
        return Problem(place, str(first["msg"]), "unknown", () if owner is None else tuple(sorted(field_names(owner))))
    if first["type"] == "missing":
        return Problem(place, str(first["msg"]), "missing")
    message = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        # A check across fields: its message begins with the field at fault.
        word = message.split(" ", 1)[0]
        place = _dotted([word], prefix) if word.partition(".")[0] in field_names(model) else prefix
    return Problem(place, message, "value")


def field_names(model: type[BaseModel]) -> list[str]:
    """The fields' names as users write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _most_telling(problems: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of a union's problems, the one that went deepest: it is of the member that was meant."""
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    return max(unknown or problems, key=lambda p: len([part for part in p["loc"] if isinstance(part, int)]))


def _is_field(part: object) -> bool:
    # Unions put the names of their members (``list[str]``, ``function-after[...]``) into the location.
    if isinstance(part, int):
        return True
    return isinstance(part, str) and part not in _UNION_TAGS and not any(mark in part for mark in "[](),")


def _dotted(parts: Sequence[object], prefix: str) -> str:
    place = prefix
    for part in parts:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    return place


def _model_at(model: type[BaseModel], path: Sequence[object]) -> type[BaseModel] | None:
    """The model found by walking ``path`` from ``model``; None where there is none."""
    current: type[BaseModel] | None = model
    for part in path:
        if not isinstance(part, str) or current is None:
            continue
        field = current.model_fields.get(part) or current.model_fields.get(f"{part}_")
        if field is not None:
            current = _first_model(field.annotation)
    return current


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, list, tuple, dict):
        for member in get_args(annotation):
            found = _first_model(member)
            if found is not None:
                return found
    return None
