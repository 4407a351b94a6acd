"""From the bytes of a request to its model, with errors that name the field and say what is allowed."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

import pydantic_core
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from server.openai.errors import APIError, invalid
from server.openai.protocol import Body

BodyT = TypeVar("BodyT", bound=Body)


async def parse(request: Request, model: type[BodyT]) -> BodyT:
    """The request's JSON body as ``model``.

    Raises APIError (400): another content type, malformed JSON, or a field that is wrong.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        # Also keeps other sites' pages out: a browser asks before it sends this type across origins.
        raise invalid("send the body as JSON, with the header Content-Type: application/json", None, "not_json")
    try:
        value = pydantic_core.from_json(await request.body(), allow_inf_nan=False, cache_strings="none")
    except ValueError as error:
        raise invalid(f"the body is not valid JSON: {error}", None, "not_json") from None
    if not isinstance(value, dict):
        raise invalid("the body must be a JSON object", None, "not_json")
    try:
        return model.model_validate(_whole(value))
    except ValidationError as error:
        raise explain(error, model) from None


def _whole(value: Any) -> Any:
    """``value`` with 2.0 as 2: JSON has one kind of number, and JSON schema takes 2.0 for an integer."""
    if isinstance(value, float) and abs(value) < 2**53 and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return value


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "", value: object = None) -> APIError:
    """A validation error of ``model`` as a 400; ``prefix`` is the dotted place of the model in the request."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = _most_telling(problems)
    path = _dotted([part for part in first["loc"] if _is_field(part)], prefix)
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1])
        allowed = f"; allowed: {', '.join(sorted(_names(owner)))}" if owner is not None else ""
        return invalid(f"{path} is not a field of this request{allowed}", path, "unknown_field")
    if first["type"] == "missing":
        return invalid(f"{path} is required", path, "missing_field")
    if not path:
        # A check across fields: its message begins with the field at fault.
        word = message.split(" ", 1)[0]
        path = _dotted([word], prefix) if word.partition(".")[0] in _names(model) else prefix
    return invalid(message if path and message.startswith(path) else f"{path}: {message}" if path else message, path)


def _most_telling(problems: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of a union's problems, the one that went deepest: it is of the member that the client meant."""
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    return max(unknown or problems, key=lambda p: len([part for part in p["loc"] if isinstance(part, int)]))


def _is_field(part: object) -> bool:
    # Unions put the names of their members (``list[str]``, ``function-after[...]``) into the location.
    return isinstance(part, int) or (isinstance(part, str) and part.isidentifier() and part not in _UNION_TAGS)


_UNION_TAGS = frozenset({"str", "int", "float", "bool", "NamedTool"})


def _dotted(parts: Sequence[object], prefix: str) -> str:
    path = prefix
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], path: Sequence[object]) -> type[BaseModel] | None:
    """The model found by walking ``path`` from ``model``; None where there is none."""
    current: type[BaseModel] | None = model
    for part in path:
        if not isinstance(part, str) or current is None:
            continue
        field = current.model_fields.get(part) or current.model_fields.get(f"{part}_")
        if field is None:
            continue
        current = _first_model(field.annotation)
    return current


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, list, tuple):
        for member in get_args(annotation):
            found = _first_model(member)
            if found is not None:
                return found
    return None
