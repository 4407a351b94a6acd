"""How large a form may be that an engine has to compile, since one that takes long holds up every other request there.

The limits are where compilers' time was measured to leave a fraction of a second: they are slow in objects of many
properties, in long repetitions, and in deep nesting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import invalid

MAX_SCHEMA = 100_000
MAX_DEPTH = 60
MAX_PROPERTIES = 100
MAX_PATTERN = 2_000
MAX_TIMES = 1_000
MAX_BOUND = 10_000

_TIMES = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_BOUNDS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")


def check_grammar(grammar: Mapping[str, Any], name: str) -> None:
    """Raises APIError (400) for a grammar that would take too long to compile. Linear in its size."""
    if "regex" in grammar:
        _check_pattern(grammar["regex"], name)
    elif "json_schema" in grammar:
        _check_schema(grammar["json_schema"], name)


def _check_pattern(pattern: str, name: str, longest: int = MAX_PATTERN) -> None:
    if len(pattern) > longest:
        raise invalid(f"{name}: a pattern of {len(pattern)} characters is too long: at most {longest}", name)
    for times in _TIMES.finditer(pattern):
        if any(len(bound or "") > 9 or int(bound or 0) > MAX_TIMES for bound in times.groups()):
            raise invalid(f"{name}: {times[0][:40]} repeats more than {MAX_TIMES} times", name)


def _check_schema(schema: Mapping[str, Any], name: str) -> None:
    try:
        size = len(json.dumps(schema))
    except RecursionError:
        size = MAX_SCHEMA + 1
    if size > MAX_SCHEMA:
        raise invalid(f"{name}: the schema has more than {MAX_SCHEMA} characters", name)
    for part, depth in _parts(schema):
        if depth > MAX_DEPTH:
            raise invalid(f"{name}: the schema is nested more than {MAX_DEPTH} deep", name)
        _check_part(part, name)


def _check_part(part: Mapping[str, Any], name: str) -> None:
    properties = part.get("properties")
    if isinstance(properties, Mapping) and len(properties) > MAX_PROPERTIES:
        raise invalid(
            f"{name}: an object has {len(properties)} properties, more than {MAX_PROPERTIES}: group them in objects",
            name,
        )
    for key in _BOUNDS:
        bound = part.get(key)
        if isinstance(bound, (int, float)) and bound > MAX_BOUND:
            raise invalid(f"{name}: {key} {bound:g} is more than {MAX_BOUND}", name)
    if isinstance(part.get("pattern"), str):
        _check_pattern(part["pattern"], name)


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Every object in a schema, and how deep it is."""
    todo: list[tuple[Any, int]] = [(schema, 0)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, Mapping):
            yield value, depth
            todo += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            todo += [(each, depth + 1) for each in value]
