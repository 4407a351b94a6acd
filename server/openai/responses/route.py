"""``POST /v1/responses``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from ...edge.gate import From
from ...errors import renamed, wrong_field
from ...runs.request import Prompt
from ..body import parse
from ..chat import ChatFormat, plan_chat
from ..operation import Operations
from ..protocol import ChatBody
from ..sse import Framing
from ..streaming import StreamOrder
from . import reply
from .body import AllowedTools, ResponsesBody, TextFormat, ToolName
from .events import ResponseEvents
from .items import messages_of

_NAMES = {
    "messages": "input",
    "response_format": "text.format",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
}
"""Fields of chat by their names here."""


def router(operations: Operations) -> APIRouter:
    """The route of responses."""
    routes = APIRouter()

    @routes.post("/v1/responses")
    async def responses(request: Request, caller: From) -> Response:
        """OpenAI's responses, by SMC; nothing is stored."""
        body = await parse(request, ResponsesBody)
        with renamed(_NAMES):
            chat = chat_of(body)
            prompt, plans = await plan_chat(operations, caller, chat)
        return await operations.answer(request, caller, chat, plans, ResponsesFormat(body, chat, prompt))

    return routes


def chat_of(body: ResponsesBody) -> ChatBody:
    """The chat that asks the same. Raises APIError (400) by chat's names."""
    names, choice = _tool_choice(body)
    values: dict[str, Any] = {
        "messages": messages_of(body.input, body.instructions),
        "max_completion_tokens": body.max_output_tokens,
        "logprobs": body.with_logprobs or None,
        "top_logprobs": body.top_logprobs if body.with_logprobs else None,
        "response_format": None if body.text is None else _format(body.text.format),
        "tools": [
            {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}
            for tool in body.tools or ()
            if names is None or tool.name in names
        ]
        or None,
        "tool_choice": choice,
        "reasoning_effort": None if body.reasoning is None else body.reasoning.effort,
        "stream_options": {"include_usage": True} if body.stream else None,
        **{name: getattr(body, name) for name in _SAME},
    }
    try:
        return ChatBody.model_validate(values)
    except ValidationError as error:
        raise wrong_field(error, ChatBody) from None


_SAME = (
    "model", "temperature", "top_p", "parallel_tool_calls", "stream", "seed", "stop", "top_k", "min_p",
    "repetition_penalty", "presence_penalty", "frequency_penalty", "chat_template_kwargs", "smc",
)  # fmt: skip


def _tool_choice(body: ResponsesBody) -> tuple[frozenset[str] | None, Any]:
    """The tools that may be called (None: all), and chat's ``tool_choice``."""
    choice = body.tool_choice
    if isinstance(choice, AllowedTools):
        return frozenset(tool.name for tool in choice.tools), choice.mode
    if isinstance(choice, ToolName):
        return None, {"type": "function", "function": {"name": choice.name}}
    return None, choice


def _format(form: TextFormat | None) -> dict[str, Any] | None:
    if form is None or form.type != "json_schema":
        return None if form is None else {"type": form.type}
    schema = form.model_dump(by_alias=True, exclude={"type"}, exclude_none=True)
    return {"type": "json_schema", "json_schema": schema}


class ResponsesFormat(ChatFormat):
    """A chat, shown as a response."""

    def __init__(self, body: ResponsesBody, chat: ChatBody, prompt: Prompt) -> None:
        super().__init__(chat, prompt)
        self._begun = reply.head_of(body)

    def framing(self, order: StreamOrder) -> Framing:
        return ResponseEvents(self._begun)

    def response(self, choices: Sequence[Mapping[str, Any]], tail: Mapping[str, Any]) -> dict[str, Any]:
        (choice,) = choices
        numbers = {key: choice[key] for key in ("weight", "reward")}
        told = {**self._begun, **numbers, "usage": reply.usage_of(tail["usage"]), "smc": tail["smc"]}
        return reply.ended(told, reply.output_of(choice), choice["finish_reason"])
