"""A model of bytes for the server's tests: a table engine whose text is words of a-f and é, in no time.

Deterministic given the context, with a chat template, an end token and two-byte characters, so that everything a
server does with text is met.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np

from smc_decode.engines import TableEngine
from smc_decode.engines.base import Continuation, EngineError, Extend

END, USER, ASSISTANT, SYSTEM, TOOLS = 256, 257, 258, 259, 260
VOCAB = 261
NAMES = {END: "<|end|>", USER: "<|user|>", ASSISTANT: "<|assistant|>", SYSTEM: "<|system|>", TOOLS: "<|tools|>"}
ROLES = {"user": USER, "assistant": ASSISTANT, "system": SYSTEM, "tool": USER}


class ByteTokenizer:
    """One token a byte; special tokens have ids from 256."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        out = bytearray()
        for token_id in token_ids:
            if token_id < 256:
                out.append(token_id)
            elif not skip_special_tokens:
                out += NAMES[token_id].encode()
        return out.decode("utf-8", "replace")

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> list[int]:
        if messages[0]["role"] == "assistant":
            raise ValueError("conversations must begin with the user")
        ids: list[int] = []
        for tool in kwargs.get("tools") or ():
            ids += [TOOLS, *tool["function"]["name"].encode(), END]
        for message in messages:
            ids += [ROLES[message["role"]], *message["content"].encode(), END]
        if kwargs.get("continue_final_message"):
            ids.pop()
        elif kwargs.get("add_generation_prompt", True):
            ids.append(ASSISTANT)
        return ids


class ThinkingTokenizer(ByteTokenizer):
    """Of a model that thinks aloud between tags; ``opened``: its template begins the thought, unless told not to."""

    chat_template = "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"

    def __init__(self, *, opened: bool = True) -> None:
        self._opened = opened

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> list[int]:
        ids = super().apply_chat_template(messages, **kwargs)
        begins = kwargs.get("add_generation_prompt", True) and not kwargs.get("continue_final_message")
        if begins and self._opened:
            ids += b"<think>\n" if kwargs.get("enable_thinking", True) else b"<think>\n\n</think>\n\n"
        return ids


def words(tokens: tuple[int, ...]) -> np.ndarray:
    """Letters a-f, blanks, é (two bytes) and the end; an incomplete é is always completed."""
    weights = np.zeros(VOCAB)
    last = tokens[-1] if tokens else 0
    if last == 0xC3:
        weights[0xA9] = 1.0
    else:
        weights[ord("a") : ord("g")] = 1.0 + (np.arange(6) * 7 + last) % 5
        weights[ord(" ")] = 3.0
        weights[0xC3] = 2.0
        weights[END] = 0.6
    with np.errstate(divide="ignore"):
        return np.log(weights)


def script(text: str) -> Any:
    """A model that writes ``text`` and ends, whatever the prompt was."""
    wanted = [*text.encode(), END]

    def law(tokens: tuple[int, ...]) -> np.ndarray:
        logprobs = np.full(VOCAB, -np.inf)
        logprobs[wanted[min(len(tokens), len(wanted) - 1)]] = 0.0
        return logprobs

    return law


def toy_engine(
    law: Any = words, *, max_model_len: int | None = 512, sees_prompt: bool = True, tokenizer: Any = None
) -> TableEngine:
    return TableEngine(
        law,
        VOCAB,
        END,
        tokenizer=tokenizer or ByteTokenizer(),
        sees_prompt=sees_prompt,
        max_model_len=max_model_len,
        name="toy",
    )


class SlowEngine:
    """The toy engine with ``seconds`` of waiting before each call; counts what goes on, and can be told to fail."""

    def __init__(self, seconds: float = 0.05, law: Any = words) -> None:
        self._inner = toy_engine(law, max_model_len=4096)
        self._seconds = seconds
        self.working = 0
        self.calls = 0
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def extend(self, requests: Sequence[Extend]) -> AsyncIterator[tuple[int, Continuation]]:
        self.working += 1
        self.calls += 1
        try:
            await asyncio.sleep(self._seconds)
            if self.dead:
                raise EngineError("the worker process was killed")
            async for each in self._inner.extend(requests):
                yield each
        finally:
            self.working -= 1

    async def health(self) -> None:
        if self.dead:
            raise EngineError("the worker process was killed")


def create(**options: Any) -> Any:
    """For ``[engine] kind = "tests.server.toy:create"``: the toy engine, or a slow one."""
    seconds = float(options.get("seconds", 0.0))
    return SlowEngine(seconds) if seconds else toy_engine()


def mortal(**_: Any) -> Any:
    """For ``[engine] kind``: a toy engine that dies at its first use."""

    class Mortal(SlowEngine):
        async def extend(self, requests: Sequence[Extend]) -> AsyncIterator[tuple[int, Continuation]]:
            self.dead = True
            async for each in super().extend(requests):
                yield each

    return Mortal()
