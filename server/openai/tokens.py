"""``POST /tokenize``, ``POST /detokenize`` and ``GET /tokenizer_info``, as vLLM's clients ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from fastapi import APIRouter, Request
from pydantic import Field, model_validator
from starlette.responses import JSONResponse, Response

from smc_decode.engines.base import Engine, Tokenizer

from ..edge.work import Work
from ..errors import invalid
from ..runs.presets import PresetBook
from .body import parse
from .messages import Message, Tool
from .protocol import ChatBody
from .templates import chat_prompt, tokenizer_of
from .types import Body, TokenId

T = TypeVar("T")

MOST = 1_000_000
"""Characters, or tokens, of one request: more than any context holds, and about a second's work."""
_SIDE_BY_SIDE = 2


class TokenizeBody(Body):
    """``POST /tokenize``: of a text, or of messages."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = Field(None, min_length=1)
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: list[Tool] | None = Field(None, max_length=128)
    chat_template: str | None = None
    media_io_kwargs: None = None
    mm_processor_kwargs: None = None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        if self.chat_template is not None:
            raise ValueError("chat_template cannot be sent: a client's template is a program, and none is run for it")
        if self.messages is not None and self.add_special_tokens:
            raise ValueError("add_special_tokens goes with prompt: a chat template adds its own; leave it out")
        if self.prompt is not None:
            for name in ("add_generation_prompt", "continue_final_message", "chat_template_kwargs", "tools"):
                if getattr(self, name):
                    raise ValueError(f"{name} goes with messages, and not with prompt")
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError("continue_final_message needs add_generation_prompt: false")
        return self

    @property
    def size(self) -> int:
        """Characters that are to be tokenised, about."""
        return len(self.prompt or "") + sum(len(str(message.content)) for message in self.messages or ())


class DetokenizeBody(Body):
    """``POST /detokenize``."""

    model: str | None = None
    tokens: list[TokenId]


def router(engine: Engine, presets: PresetBook, work: Work) -> APIRouter:
    """The routes of the tokenizer."""
    routes = APIRouter()
    places = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def aside(function: Callable[[], T]) -> T:
        """``function`` in a thread; few at a time, so that runs get theirs."""

        async def placed() -> T:
            async with places:
                return await asyncio.to_thread(function)

        return await work.bounded(placed())

    @routes.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        """The token ids of a text, or of messages by the model's chat template."""
        body = await parse(request, TokenizeBody)
        _check_model(presets, body.model)
        tokenizer = tokenizer_of(engine, "prompt")
        if body.size > MOST:
            name = "prompt" if body.messages is None else "messages"
            raise _too_long(name, body.size, "characters")
        ids = await _ids(engine, body, aside)
        strings = await aside(lambda: token_strings(tokenizer, ids)) if body.return_token_strs else None
        told = {"count": len(ids), "max_model_len": engine.info.max_model_len, "tokens": ids, "token_strs": strings}
        return JSONResponse(told)

    @routes.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        """The text of token ids, special tokens included."""
        body = await parse(request, DetokenizeBody)
        _check_model(presets, body.model)
        tokenizer = tokenizer_of(engine, "tokens")
        if len(body.tokens) > MOST:
            raise _too_long("tokens", len(body.tokens), "tokens")
        size = engine.info.vocab_size
        if max(body.tokens, default=0) >= size:
            message = f"tokens: token {max(body.tokens)} is outside the model's vocabulary of {size}"
            raise invalid(message, "tokens")
        text = await aside(lambda: tokenizer.decode(body.tokens, skip_special_tokens=False))
        return JSONResponse({"prompt": text})

    @routes.get("/tokenizer_info")
    async def tokenizer_info() -> Response:
        """What the tokenizer's own configuration says, without paths of this machine."""
        tokenizer = tokenizer_of(engine, "tokenizer")
        described = getattr(tokenizer, "describe", None)
        return JSONResponse({"tokenizer_class": type(tokenizer).__name__} if described is None else described())

    return routes


def token_strings(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[str]:
    """How the vocabulary spells each token; their texts, for a tokenizer that has no ``token_strings`` of its own."""
    own = getattr(tokenizer, "token_strings", None)
    if own is not None:
        return list(own(token_ids))
    return [tokenizer.decode([token_id], skip_special_tokens=False) for token_id in token_ids]


async def _ids(engine: Engine, body: TokenizeBody, aside: Callable[[Callable[[], list[int]]], Any]) -> list[int]:
    if body.messages is None:
        tokenizer, text = tokenizer_of(engine, "prompt"), body.prompt or ""
        special = body.add_special_tokens is not False
        ids: list[int] = await aside(lambda: tokenizer.encode(text, add_special_tokens=special))
        return ids
    asked = ChatBody(
        model=body.model or "",
        messages=body.messages,
        tools=body.tools or None,
        chat_template_kwargs=body.chat_template_kwargs,
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
    )
    return list((await chat_prompt(engine, asked)).token_ids)


def _check_model(presets: PresetBook, model: str | None) -> None:
    """Raises APIError (404) for a model that is not here; none need be named."""
    if model is not None:
        presets.of_model(model)


def _too_long(name: str, size: int, what: str) -> Exception:
    return invalid(f"{name} has {size} {what}: at most {MOST} are taken in one request", name)
