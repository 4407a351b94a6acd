"""JSON schemas of requests, checked by jsonschema. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from smc_decode.workers.patterns import ecma

MENDABLE = frozenset([
    "required", "minItems", "minLength", "minProperties", "minContains", "contains", "dependentRequired", "pattern",
    "anyOf", "oneOf", "allOf", "not", "if", "enum", "const", "format", "minimum", "exclusiveMinimum", "multipleOf",
    "dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems", "$ref", "$dynamicRef",
    "$recursiveRef",
])  # fmt: skip
"""Keywords whose violation an unfinished value may still mend."""


def json_answer(text: str, finished: bool, fenced: bool, schema: Any) -> dict[str, Any]:
    """What an answer is worth: ``state`` of :class:`~smc_decode.answers.json_text.Found`, and the violations."""
    from smc_decode.answers.json_text import find_json

    found = find_json(text, finished, fenced)
    if found.state == "none":
        return {"state": "none", "note": found.note}
    checked = violations(schema, found.value, not finished, found.open_end) if found.begun else _NOTHING
    return {"state": found.state, **checked}


_NOTHING = {"violations": 0, "first": ""}


def violations(schema: Any, value: Any, unfinished: bool, open_end: bool) -> dict[str, Any]:
    """Violations of a JSON schema: how many, and the first. For an unfinished value only those that are final;
    ``open_end``: its last string or number may still grow."""
    errors = list(_validator(schema).iter_errors(value))
    if unfinished:
        errors = [error for error in errors if error.validator not in MENDABLE]
        errors = [error for error in errors if not (open_end and _at_the_open_end(value, error))]
    first = min(errors, key=lambda error: len(error.absolute_path), default=None)
    return {"violations": len(errors), "first": "" if first is None else f"{first.json_path}: {first.message}"[:300]}


def problem(schema: Any) -> str:
    """What is wrong with a schema, or ''."""
    import jsonschema
    from referencing.exceptions import Unresolvable

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        # the metaschemas' only format that matters is "regex", which is ECMA's here
        error = next(kind(kind.META_SCHEMA, format_checker=_formats(kind)).iter_errors(schema), None)
        if error is not None:
            return f"{error.json_path}: {error.message}"[:300]
        list(_validator(schema).iter_errors(None))
    except (Unresolvable, jsonschema.exceptions._WrappedReferencingError) as error:
        return f"a reference cannot be resolved (remote ones never are): {error}"[:300]
    except RecursionError:
        return "the schema is nested too deeply"
    return ""


def _validator(schema: Any) -> Any:
    import jsonschema
    import referencing

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    # an empty registry never fetches
    return _extended(kind)(schema, registry=referencing.Registry(), format_checker=_formats(kind))


@lru_cache(maxsize=20)
def _extended(kind: Any) -> Any:
    """The draft's validator with exact multiples and ECMA's patterns."""
    import jsonschema

    changed = {"multipleOf": _multiple_of, "pattern": _pattern, "patternProperties": _pattern_properties}
    keywords = {name: check for name, check in changed.items() if name in kind.VALIDATORS}
    if "additionalProperties" in kind.VALIDATORS:
        keywords["additionalProperties"] = _additional_properties
    return jsonschema.validators.extend(kind, keywords)


@lru_cache(maxsize=20)
def _formats(kind: Any) -> Any:
    """The draft's formats, as far as their libraries are installed; ``regex`` is ECMA's."""
    import jsonschema

    checker = jsonschema.FormatChecker(formats=())
    checker.checkers = {**kind.FORMAT_CHECKER.checkers, "regex": (_is_pattern, ValueError)}
    return checker


def _is_pattern(instance: object) -> bool:
    return not isinstance(instance, str) or ecma(instance) is not None


def _error(message: str) -> Any:
    import jsonschema

    return jsonschema.exceptions.ValidationError(message)


def _multiple_of(validator: Any, divisor: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "number") and _exact(instance) % _exact(divisor):
        yield _error(f"{instance!r} is not a multiple of {divisor!r}")


def _exact(number: Any) -> Fraction:
    """The number that is written, and not the float nearest to it."""
    return Fraction(Decimal(repr(number)))


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "string") and not ecma(pattern).search(instance):
        yield _error(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, properties: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for pattern, subschema in properties.items():
            compiled = ecma(pattern)
            for name, value in instance.items():
                if compiled.search(name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    patterns = [ecma(pattern) for pattern in schema.get("patternProperties", ())]
    properties = schema.get("properties", {})
    extras = [name for name in instance if name not in properties and not any(p.search(name) for p in patterns)]
    if validator.is_type(allowed, "object"):
        for name in extras:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and extras:
        yield _error(f"additional properties are not allowed: {', '.join(map(repr, extras[:5]))}")


def _at_the_open_end(value: Any, error: Any) -> bool:
    """Whether the violation is in the last string or number of the text, which may still grow."""
    for step in error.absolute_path:
        if isinstance(value, dict):
            if step != next(reversed(value), None):
                return False
            value = value[step]
        elif isinstance(value, list):
            if step != len(value) - 1:
                return False
            value = value[step]
    return isinstance(value, (str, int, float)) and error.validator != "type"
