"""Errors as OpenAI's clients read them: ``{"error": {"message", "type", "param", "code"}}`` from every route.

A lasting fault is never a 5xx, since clients retry those; where a retry would only fail again, the header
``x-should-retry: false`` tells OpenAI's own clients so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match

from smc_decode.engines.base import EngineError, EngineRequestError
from smc_decode.errors import AllParticlesDead, NoValidDocument
from smc_decode.potentials.accounts import BudgetSpent
from smc_decode.potentials.base import PotentialError, PotentialFault, RewardFailure
from smc_decode.potentials.options import MissingExtra, RewardRequestError
from smc_decode.validation import problem_of

if TYPE_CHECKING:
    from fastapi import FastAPI

_NO_RETRY = {"x-should-retry": "false"}
_log = structlog.get_logger("server.errors")


class APIError(Exception):
    """An error that the client is told. ``headers`` go on the response."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        kind: str = "invalid_request_error",
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, self.headers)


class ClientGone(Exception):
    """The client closed its connection: nobody is there to be answered."""


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> APIError:
    """400: the request must be changed as the message says."""
    return APIError(400, message, code=code, param=param)


def wrong_field(error: ValidationError, model: type[BaseModel], prefix: str = "") -> APIError:
    """400 for what ``model`` found wrong; ``prefix``: the dotted place of the model in the request."""
    problem = problem_of(error, model, prefix)
    if problem.kind == "unknown":
        message = f"{problem.place} is not a field of this request{problem.choices}"
        return invalid(message, problem.place, "unknown_field")
    return invalid(str(problem), problem.place, "missing_field" if problem.kind == "missing" else "invalid_value")


def too_long(tokens: int, context: int, param: str) -> APIError:
    """400 for a prompt that leaves nothing of the context."""
    return invalid(
        f"the prompt has {tokens} tokens, and the model's context of {context} leaves no place for an answer: "
        "shorten it",
        param,
        "context_length_exceeded",
    )


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Errors from within name the fields of this request: ``names`` has the inner names and what they are called here.

    Raises APIError for whatever is raised.
    """
    try:
        yield
    except Exception as error:
        api = translate(error)
        for inner, outer in names.items():
            if api.param is not None and re.match(rf"{re.escape(inner)}\b", api.param):
                # A name of one word is also a word.
                field = rf"{re.escape(inner)}\b" if "." in inner else rf"(^{inner}\b|(?<![\w.]){inner}(?=[.\[:]))"
                message = re.sub(field, outer, api.message)
                param = outer + api.param.removeprefix(inner)
                raise APIError(
                    api.status, message, code=api.code, kind=api.kind, param=param, headers=api.headers
                ) from error
        raise api from error


def unauthorised(message: str) -> APIError:
    """401, with the challenge that HTTP asks for."""
    headers = {"WWW-Authenticate": "Bearer"}
    return APIError(401, message, code="invalid_api_key", kind="authentication_error", headers=headers)


def too_large(limit: int) -> APIError:
    """413: the body exceeds ``limit`` bytes."""
    message = f"the request body is larger than {limit} bytes: send fewer or shorter prompts"
    return APIError(413, message, code="request_too_large", headers={"Connection": "close"})


def slow_request(seconds: float) -> APIError:
    """408: for ``seconds`` nothing more of the request arrived."""
    message = f"the rest of the request did not arrive within {seconds:g} s: send it in one go"
    headers = {"Connection": "close", **_NO_RETRY}
    return APIError(408, message, code="request_timeout", kind="timeout_error", headers=headers)


def too_many(message: str, code: str, retry_after: float) -> APIError:
    """429 with the seconds to wait."""
    headers = {"Retry-After": str(max(1, round(retry_after)))}
    return APIError(429, message, code=code, kind="rate_limit_error", headers=headers)


def unavailable(message: str, code: str, retry_after: float = 1.0, param: str | None = None) -> APIError:
    """503: something that a retry may find mended."""
    headers = {"Retry-After": str(max(1, round(retry_after)))}
    return APIError(503, message, code=code, kind="service_unavailable_error", param=param, headers=headers)


def deadline_exceeded(seconds: float) -> APIError:
    """504: the server's own limit on a request has passed."""
    message = (
        f"the request took longer than the server's limit of {seconds:g} s: use fewer particles or tokens, "
        "or set smc.deadline_s for the best answer by then"
    )
    return APIError(504, message, code="deadline_exceeded", kind="timeout_error", headers=_NO_RETRY)


def internal() -> APIError:
    """500: a fault of the server's own, of which the log has the trace. Retrying would meet it again."""
    message = "the server failed on this request; its log has the trace under the request id"
    return APIError(500, message, code="internal_error", kind="server_error", headers=_NO_RETRY)


def translate(error: Exception) -> APIError:
    """What the client is told of an exception, whichever layer raised it."""
    match error:
        case APIError():
            return error
        case AllParticlesDead():
            return _dead(error)
        case RewardRequestError():
            return invalid(str(error), error.param, error.code)
        case MissingExtra():
            # Lasting, until the operator installs it: what needs it can be left out.
            return invalid(f"this server lacks what the request needs: {brief(error)}", None, "missing_extra")
        case PotentialFault() if isinstance(error.__cause__, Exception):
            return translate(error.__cause__)
        case PotentialError():
            return _potential(error)
        case EngineRequestError():
            return invalid(str(error), None, "engine_refused")
        case EngineError():
            _log.error("engine failed", error=str(error))
            return unavailable(f"the engine is down: {brief(error)}", "engine_unavailable", 5.0)
        case RewardFailure():
            return unavailable(f"the reward failed: {brief(error)}", "reward_unavailable", 5.0, "smc.reward")
        case _:
            _log.error("internal error", exc_info=error)
            return internal()


def _potential(error: PotentialError) -> APIError:
    if isinstance(error, BudgetSpent):
        return APIError(422, str(error), code="reward_budget_spent", param="smc.reward", headers=_NO_RETRY)
    return invalid(str(error), "smc.reward", "invalid_reward")


def _dead(error: AllParticlesDead) -> APIError:
    if isinstance(error, NoValidDocument):
        return APIError(422, str(error), code="no_valid_document", headers=_NO_RETRY)
    return APIError(422, str(error), code="all_particles_dead", param="smc.reward", headers=_NO_RETRY)


def brief(error: object) -> str:
    """The first line of an inner error: what follows (an engine's own log, say) is for the operator."""
    first = (str(error).splitlines() or ["no reason was given"])[0]
    return first.removesuffix("; it said:")[:300]


def _hint(request: Request) -> str:
    """Where the route is that a client with another base URL must have meant."""
    path = request.url.path
    candidates = (f"/v1{path}", path.removeprefix("/v1"), path.rstrip("/"))
    for candidate in candidates:
        if candidate != path and _exists(request.app.routes, request.scope["method"], candidate):
            return f"; use {candidate} (is the client's base URL the one that ends in /v1?)"
    return ""


def _exists(routes: Sequence[BaseRoute], method: str, path: str) -> bool:
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


def install(app: FastAPI) -> None:
    """Give the application these errors, on unknown routes and methods too."""

    async def on_http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            return await on_any(request, error)
        where = f"{request.method} {request.url.path}"
        if error.status_code == 404:
            api = APIError(404, f"there is no {where}{_hint(request)}", code="not_found")
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            api = APIError(405, f"{where} is not allowed; use {allowed}", code="method_not_allowed")
        else:
            api = APIError(error.status_code, str(error.detail), code="http_error")
        api.headers.update(error.headers or {})
        return api.response()

    async def on_any(request: Request, error: Exception) -> Response:
        if isinstance(error, ClientGone):
            return Response(status_code=499)
        return translate(error).response()

    app.add_exception_handler(HTTPException, on_http)
    for kind in (
        APIError,
        ClientGone,
        AllParticlesDead,
        RewardRequestError,
        MissingExtra,
        PotentialError,
        EngineRequestError,
        EngineError,
        RewardFailure,
    ):
        app.add_exception_handler(kind, on_any)
    app.add_exception_handler(Exception, on_any)
