"""An engine that remembers what it drew: methods that ask for the same draw with the same seed share it.

A problem's seed is the same for every method, so that `base` is the first of `best-of-n`'s samples, `self-consistency`
votes over the same ones, and a search with N=8 begins as one with N=4. Each method's account still counts all tokens
that it asked for; only seconds are shorter than they would be alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import aclosing
from dataclasses import replace

from smc_decode.engines.base import (
    BaseEngine,
    Continuation,
    Engine,
    EngineInfo,
    Extend,
    LiveSequence,
    Tokenizer,
    TokenScore,
)


class SharedDraws(BaseEngine):
    """An Engine in front of another one, whose sequences it uses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._drawn: dict[Hashable, Continuation] = {}
        self._coming: dict[Hashable, asyncio.Future[None]] = {}

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._engine.tokenizer

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        keys = [_key(request) for request in requests]
        fresh: dict[Hashable, int] = {}
        waiting: list[int] = []
        for i, key in enumerate(keys):
            if key in self._drawn:
                yield i, self._again(requests[i], self._drawn[key])
            elif key in self._coming or key in fresh:
                waiting.append(i)
            else:
                fresh[key] = i
                self._coming[key] = asyncio.get_running_loop().create_future()
        try:
            async with aclosing(self._engine.extend([requests[i] for i in fresh.values()])) as stream:
                numbers = list(fresh.items())
                async for number, continuation in stream:
                    key, i = numbers[number]
                    self._drawn[key] = continuation
                    self._coming.pop(key).set_result(None)
                    yield i, continuation
        finally:
            for key in fresh.keys() & self._coming.keys():  # given up: whoever waits has to draw it
                self._coming.pop(key).set_result(None)
        for i in waiting:
            if keys[i] in self._coming:
                await asyncio.shield(self._coming[keys[i]])
        again = [requests[i] for i in waiting]
        if again:
            async with aclosing(self.extend(again)) as stream:
                async for number, continuation in stream:
                    yield waiting[number], continuation

    def _again(self, request: Extend, drawn: Continuation) -> Continuation:
        request.sequence.token_ids.extend(drawn.token_ids)
        return replace(drawn, prompt_cached=0, prompt_computed=0)

    async def open(self, prompt_token_ids: Sequence[int]) -> LiveSequence:
        return await self._engine.open(prompt_token_ids)

    async def fork(self, sequence: LiveSequence) -> LiveSequence:
        return await self._engine.fork(sequence)

    async def rewind(self, sequence: LiveSequence, length: int) -> None:
        await self._engine.rewind(sequence, length)

    async def close(self, sequence: LiveSequence) -> None:
        await self._engine.close(sequence)

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        return await self._engine.score(token_ids, start, top_logprobs=top_logprobs)

    async def label_logprobs(
        self, token_id_lists: Sequence[Sequence[int]], label_ids: Sequence[int]
    ) -> list[dict[int, float]]:
        return await self._engine.label_logprobs(token_id_lists, label_ids)

    async def health(self) -> None:
        await self._engine.health()

    async def shutdown(self) -> None:
        await self._engine.shutdown()


def _key(request: Extend) -> Hashable:
    """Everything that the draw depends on, and what is told of it."""
    sequence = request.sequence
    shaping = repr(request.shaping)
    return (
        sequence.prompt_token_ids, tuple(sequence.token_ids), request.max_new_tokens, request.temperature, request.seed,
        request.alpha, request.logprobs, request.proposal_logprobs, request.stop_token_ids, shaping,
        request.excluded,
    )  # fmt: skip
