"""From the bytes of a request to its model, with errors that name the field and say what is allowed."""

from __future__ import annotations

from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from ..errors import invalid, wrong_field

BodyT = TypeVar("BodyT", bound=BaseModel)


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
        raise wrong_field(error, model) from None


def _whole(value: Any) -> Any:
    """``value`` with 2.0 as 2: JSON has one kind of number, and JSON schema takes 2.0 for an integer."""
    if isinstance(value, float) and abs(value) < 2**53 and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return value
