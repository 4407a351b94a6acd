"""``POST /v1/chat/completions``."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from smc_decode.answers.thinking import Parts

from ..edge.gate import Caller, From
from ..runs.plan import Plan, Plans
from ..runs.request import Prompt
from .body import parse
from .logprobs import ScoredToken
from .logprobs import chat as chat_logprobs
from .operation import Operations
from .protocol import ChatBody
from .replies import Answer
from .sse import Framing
from .streaming import StreamOrder, chunks_of
from .templates import chat_prompt
from .tools import MARKERS, ToolParser, grammar_of


def router(operations: Operations) -> APIRouter:
    """The route of chat completions."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat_completions(request: Request, caller: From) -> Response:
        """OpenAI's chat completions, by SMC."""
        body = await parse(request, ChatBody)
        prompt, plans = await plan_chat(operations, caller, body)
        return await operations.answer(request, caller, body, plans, ChatFormat(body, prompt))

    return routes


async def plan_chat(operations: Operations, caller: Caller, body: ChatBody) -> tuple[Prompt, Plans]:
    """The prompt of a chat and its run. Raises APIError (400, 404)."""
    grammar = grammar_of(body)
    operations.check_logprobs(body.top_logprobs, "top_logprobs")
    # A grammar holds from the first token on: there is no thought.
    prompt = await chat_prompt(operations.engine, body, operations.tags if grammar is None else None)
    return prompt, await operations.plan(caller, body, [prompt], grammar)


@dataclass
class _Said:
    """What a stream has shown of a choice."""

    text: str = ""
    thought: str = ""
    answer: str = ""


class ChatFormat:
    """Choices of ``chat.completion`` and chunks of ``chat.completion.chunk`` objects."""

    def __init__(self, body: ChatBody, prompt: Prompt) -> None:
        self._body = body
        self._prompt_token_ids = prompt.token_ids
        self._thinking = prompt.thinking
        self._tools = ToolParser.of(body)
        self._said: defaultdict[int, _Said] = defaultdict(_Said)
        self.markers: Sequence[str] = MARKERS if self._tools is not None else ()
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
        thought, content, calls = self._read(answer.text)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if self._thinking is not None:
            message |= {"reasoning_content": thought or None, "reasoning": thought or None}
        if calls:
            message["tool_calls"] = list(calls)
        ids = {"token_ids": list(answer.particle.token_ids)} if self._body.return_token_ids else {}
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(answer.tokens or ()),
            "finish_reason": "tool_calls" if calls else answer.finish_reason,
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

    def holds_back(self, index: int, text: str) -> bool:
        if self._tools is None:
            return False
        if self._thinking is None:
            return self._tools.holds_back(text)
        parts = self._thinking.split(text, ended=False)
        return bool(parts.answer) and self._tools.holds_back(parts.answer)

    def delta(self, index: int, text: str, tokens: Sequence[ScoredToken], offset: int) -> dict[str, Any]:
        said = self._said[index]
        said.text += text
        parts = self._split(said.text, ended=False)
        return self.chunk([self._part(index, self._news(said, parts), self._logprobs(tokens))], {})

    def closing(
        self, index: int, answer: Answer, rest: str, tokens: Sequence[ScoredToken], offset: int
    ) -> list[dict[str, Any]]:
        thought, content, calls = self._read(answer.text)
        news = self._news(self._said[index], Parts(thought, content or ""))
        chunks = []
        if tokens or any(news.values()):
            chunks.append(self.chunk([self._part(index, news, self._logprobs(tokens))], {}))
        if calls:
            numbered = [{"index": i, **call} for i, call in enumerate(calls)]
            chunks.append(self.chunk([self._part(index, {"tool_calls": numbered}, None)], {}))
        reason = "tool_calls" if calls else answer.finish_reason
        last = self._part(index, {}, None)
        chunks.append(self.chunk([{**last, "finish_reason": reason, **answer.numbers}], {}))
        return chunks

    def _split(self, text: str, *, ended: bool) -> Parts:
        return Parts(None, text) if self._thinking is None else self._thinking.split(text, ended=ended)

    def _read(self, text: str) -> tuple[str | None, str | None, Sequence[Mapping[str, Any]]]:
        """Thought, answer and calls of a whole text."""
        parts = self._split(text, ended=True)
        if self._tools is None:
            return parts.thought, parts.answer, ()
        parsed = self._tools.parse(parts.answer)
        return parts.thought, parsed.content, parsed.calls

    def _news(self, said: _Said, parts: Parts) -> dict[str, Any]:
        """What of ``parts`` was not said yet, as a delta's fields."""
        thought = (parts.thought or "")[len(said.thought) :]
        answer = parts.answer[len(said.answer) :]
        said.thought += thought
        said.answer += answer
        told = {"reasoning_content": thought, "reasoning": thought} if thought else {}
        return {**told, "content": answer} if answer or not told else told

    def chunk(self, choices: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": list(choices), **extra}

    def _part(self, index: int, delta: Mapping[str, Any], logprobs: dict[str, Any] | None) -> dict[str, Any]:
        return {"index": index, "delta": dict(delta), "logprobs": logprobs, "finish_reason": None}

    def _logprobs(self, tokens: Sequence[ScoredToken]) -> dict[str, Any] | None:
        return None if self.logprobs is None else chat_logprobs(tokens, self.logprobs)
