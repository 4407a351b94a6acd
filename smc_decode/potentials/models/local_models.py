"""A reward model in a vLLM engine of its own, loaded when it is first used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from smc_decode.engines.base import EngineError
from smc_decode.potentials.base import PotentialError, RewardFailure

if TYPE_CHECKING:
    from smc_decode.engines.pooling import PoolingEngine

PoolingTask = Literal["token_classify", "classify"]


class LocalRewardModel:
    """``step``: the text of the token whose positions are scored (``token_classify`` of step models). ``logits``: leave
    the head's activation out. ``settings`` are fields of ``VLLMSettings``."""

    def __init__(
        self, model: str, task: PoolingTask, step: str | None = None, *, logits: bool = False, **settings: Any
    ) -> None:
        self.model = model
        self._task = task
        self._step = step
        self._logits = logits
        self._settings = settings
        self._engine: PoolingEngine | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> PoolingEngine:
        """Load the model, unless it is there. Raises RewardFailure; PotentialError where the step is not one token."""
        async with self._lock:
            if self._engine is None:
                from smc_decode.engines.pooling import PoolingEngine

                try:
                    self._engine = await PoolingEngine.create(self.model, self._task, step=self._step, **self._settings)
                except EngineError as error:
                    raise RewardFailure(f"the reward model {self.model} cannot be loaded: {error}") from error
                except (ValueError, TypeError) as error:
                    raise PotentialError(str(error)) from error
            return self._engine

    async def classify(self, texts: Sequence[str]) -> list[list[float]]:
        engine = await self.start()
        try:
            rows = await engine.classify(_encode(engine, texts), activation=not self._logits)
        except EngineError as error:
            raise RewardFailure(f"the reward model {self.model} failed: {error}") from error
        return [row.tolist() for row in rows]

    async def classify_tokens(self, texts: Sequence[str]) -> list[list[list[float]]]:
        engine = await self.start()
        try:
            tables = await engine.token_scores(_encode(engine, texts), activation=not self._logits)
        except EngineError as error:
            raise RewardFailure(f"the reward model {self.model} failed: {error}") from error
        return [table.tolist() for table in tables]

    async def aclose(self) -> None:
        async with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                await engine.shutdown()


def _encode(engine: PoolingEngine, texts: Sequence[str]) -> list[list[int]]:
    # the templates have their special tokens already
    return [engine.tokenizer.encode(text, add_special_tokens=False) for text in texts]
