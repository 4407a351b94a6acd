"""``POST /v1/chat/completions``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..edge.gate import From
from ..runs.plan import Plan
from .body import parse
from .logprobs import ScoredToken
from .logprobs import chat as chat_logprobs
from .operation import Operations
from .protocol import ChatBody
from .replies import Answer
from .sse import Framing
from .streaming import StreamOrder, chunks_of
from .templates import chat_prompt
from .tools import ToolParser, grammar_of


def router(operations: Operations) -> APIRouter:
    """The route of chat completions."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat_completions(request: Request, caller: From) -> Response:
        """OpenAI's chat completions, by SMC."""
        body = await parse(request, ChatBody)
        grammar = grammar_of(body)
        operations.check_logprobs(body.top_logprobs, "top_logprobs")
        prompt = await chat_prompt(operations.engine, body)
        plans = await operations.plan(caller, body, [prompt], grammar)
        return await operations.answer(request, caller, body, plans, ChatFormat(body, prompt.token_ids))

    return routes


class ChatFormat:
    """Choices of ``chat.completion`` and chunks of ``chat.completion.chunk`` objects."""

    def __init__(self, body: ChatBody, prompt_token_ids: Sequence[int]) -> None:
        self._body = body
        self._prompt_token_ids = prompt_token_ids
        self.tools = ToolParser.of(body)
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": body.model,
        }

    @property
    def logprobs(self) -> int | None:
        return (self._body.top_logprobs or 0) if self._body.logprobs else None

    async def prepare(self, plans: Sequence[Plan]) -> None:
        return None

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        reason = answer.finish_reason
        if self.tools is not None:
            parsed = self.tools.parse(answer.text)
            message["content"] = parsed.content
            if parsed.calls:
                message["tool_calls"] = list(parsed.calls)
                reason = "tool_calls"
        ids = {"token_ids": list(answer.particle.token_ids)} if self._body.return_token_ids else {}
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(answer.tokens or ()),
            "finish_reason": reason,
            **answer.numbers,
            **ids,
        }

    def response(self, choices: Sequence[Mapping[str, Any]], tail: Mapping[str, Any]) -> dict[str, Any]:
        ids = {"prompt_token_ids": list(self._prompt_token_ids)} if self._body.return_token_ids else {}
        return {**self._head, "object": "chat.completion", "choices": list(choices), **ids, **tail}

    def framing(self, order: StreamOrder) -> Framing:
        return chunks_of(order)

    def opening(self, index: int, plan: Plan) -> dict[str, Any]:
        return self.chunk([self._part(index, {"role": "assistant", "content": ""}, None)], {})

    def delta(self, index: int, text: str, tokens: Sequence[ScoredToken], offset: int) -> dict[str, Any]:
        return self.chunk([self._part(index, {"content": text}, self._logprobs(tokens))], {})

    def closing(
        self, index: int, answer: Answer, rest: str, tokens: Sequence[ScoredToken], offset: int
    ) -> list[dict[str, Any]]:
        chunks = []
        reason = answer.finish_reason
        if self.tools is not None:
            parsed = self.tools.parse(answer.text)
            if parsed.calls:
                reason = "tool_calls"
                rest = (parsed.content or "")[offset:]
                calls = [{"index": i, **call} for i, call in enumerate(parsed.calls)]
                chunks.append(self.chunk([self._part(index, {"tool_calls": calls}, None)], {}))
        if rest or tokens:
            chunks.insert(0, self.chunk([self._part(index, {"content": rest}, self._logprobs(tokens))], {}))
        last = self._part(index, {}, None)
        chunks.append(self.chunk([{**last, "finish_reason": reason, **answer.numbers}], {}))
        return chunks

    def chunk(self, choices: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": list(choices), **extra}

    def _part(self, index: int, delta: Mapping[str, Any], logprobs: dict[str, Any] | None) -> dict[str, Any]:
        return {"index": index, "delta": dict(delta), "logprobs": logprobs, "finish_reason": None}

    def _logprobs(self, tokens: Sequence[ScoredToken]) -> dict[str, Any] | None:
        return None if self.logprobs is None else chat_logprobs(tokens, self.logprobs)
