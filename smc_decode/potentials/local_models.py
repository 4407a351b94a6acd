"""A reward model in a vLLM engine of its own, loaded when it is first used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from smc_decode.engines.base import EngineError
from smc_decode.potentials.base import RewardFailure

PoolingTask = Literal["token_classify", "classify"]


class LocalRewardModel:
    """``step``: the text of the token whose positions are scored (``token_classify`` of step models)."""

    def __init__(self, model: str, task: PoolingTask, step: str | None = None, **settings: Any) -> None:
        self.model = model
        self._task = task
        self._step = step
        self._settings = settings
        self._engine: Any = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Load the model now. Raises RewardFailure."""
        async with self._lock:
            if self._engine is None:
                self._engine = await self._load()

    async def classify(self, texts: Sequence[str]) -> list[list[float]]:
        return [rows[0] if rows and isinstance(rows[0], list) else rows for rows in await self._pool(texts)]

    async def classify_tokens(self, texts: Sequence[str]) -> list[list[list[float]]]:
        rows: list[list[list[float]]] = await self._pool(texts)
        return rows

    async def aclose(self) -> None:
        async with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                await engine.shutdown()

    async def _load(self) -> Any:
        raise RewardFailure("this build cannot load reward models")

    async def _pool(self, texts: Sequence[str]) -> Any:
        await self.start()
        try:
            ids = [self._engine.tokenizer.encode(text) for text in texts]
            return await self._engine.pool(ids)
        except EngineError as error:
            raise RewardFailure(f"the reward model {self.model} failed: {error}") from error
