"""A language model beside the generator, to judge its answers: in a vLLM engine of its own, or on a vLLM server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from smc_decode.engines.base import EngineError, Tokenizer
from smc_decode.potentials.base import RewardFailure
from smc_decode.potentials.models.judges import LabelModel
from smc_decode.potentials.options import RewardConfigError


class JudgeEngine(LabelModel, Protocol):
    """What a judge needs of an engine."""

    async def shutdown(self) -> None: ...


class JudgeModel:
    """``model``: what messages call it. ``load`` gives its engine; it raises EngineError, and ValueError or
    TypeError for settings that cannot be."""

    def __init__(self, model: str, load: Callable[[], Awaitable[JudgeEngine]]) -> None:
        self.model = model
        self._load = load
        self._engine: JudgeEngine | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Load it, unless it is there. Raises RewardFailure."""
        async with self._lock:
            if self._engine is None:
                try:
                    self._engine = await self._load()
                except (EngineError, ValueError, TypeError) as error:
                    raise RewardFailure(f"the judge {self.model} cannot be loaded: {error}") from error

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._loaded.tokenizer

    async def label_logprobs(
        self, token_id_lists: Sequence[Sequence[int]], label_ids: Sequence[int]
    ) -> list[dict[int, float]]:
        """As LabelModel. Raises EngineError."""
        return await self._loaded.label_logprobs(token_id_lists, label_ids)

    @property
    def _loaded(self) -> JudgeEngine:
        if self._engine is None:
            raise RewardConfigError(f"the judge {self.model} is not loaded: await RewardCatalogue.start() first")
        return self._engine

    async def aclose(self) -> None:
        async with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                await engine.shutdown()


async def load_here(model: str, settings: Mapping[str, Any]) -> JudgeEngine:
    """``model`` in a vLLM engine of this machine. ``settings``: further fields of VLLMSettings."""
    from smc_decode.engines.vllm.engine import VLLMEngine, VLLMSettings

    return await VLLMEngine.create(VLLMSettings(model=model, **settings))


async def reach(model: str, url: str, settings: Mapping[str, Any]) -> JudgeEngine:
    """``model`` as the vLLM server at ``url`` calls it. ``settings``: further fields of RemoteSettings."""
    from smc_decode.engines.remote.engine import RemoteEngine, RemoteSettings

    return await RemoteEngine.create(RemoteSettings(urls=(url,), model=model, **settings))
