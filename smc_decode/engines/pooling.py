"""Reward models on vLLM: process reward models (a score at each step token) and outcome reward models.

Each runs in a process of its own, as the generator does: a crash of one takes nothing else along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smc_decode.engines.base import EngineError, EngineRequestError
from smc_decode.engines.vllm.messages import Pool, Pooled, Rejected
from smc_decode.engines.vllm.process import EngineProcess
from smc_decode.engines.vllm.settings import PoolingTask, VLLMSettings
from smc_decode.engines.vllm.tokenizer import HFTokenizer

Scores = NDArray[np.float32]
_KV_CACHE_GIB = 0.5
_PING_SECONDS = 60.0


class PoolingEngine:
    """A reward model. Make one with :meth:`create`."""

    def __init__(self, settings: VLLMSettings, process: EngineProcess, tokenizer: HFTokenizer) -> None:
        self._settings = settings
        self._process = process
        self._tokenizer = tokenizer

    @classmethod
    async def create(
        cls, model: str, task: PoolingTask, *, step: str | int | None = None, **settings: Any
    ) -> PoolingEngine:
        """Load a reward model.

        Args:
            model: a folder or a Hugging Face name.
            task: ``token_classify`` for scores at step tokens (all tokens, if the model has none), ``classify`` for
                one row of label scores a text.
            step: the step token, as its text or its id; None: what the model's own configuration says.
            settings: further fields of :class:`VLLMSettings`.

        Raises EngineError when it cannot be loaded, ValueError when ``step`` is not one token.
        """
        trusted = bool(settings.get("trust_remote_code", False))
        try:
            tokenizer = await asyncio.to_thread(HFTokenizer.load, model, trust_remote_code=trusted)
        except Exception as error:
            raise EngineError(f"cannot load the tokenizer of {model}: {error}") from error
        settings.setdefault("kv_cache_gib", _KV_CACHE_GIB)
        full = VLLMSettings(
            model=model, pooling_task=task, pooling_step_token_id=_step_token_id(tokenizer, step), **settings
        )
        return cls(full, await EngineProcess.start(full), tokenizer)

    @property
    def tokenizer(self) -> HFTokenizer:
        return self._tokenizer

    @property
    def task(self) -> PoolingTask:
        return self._settings.pooling_task or "classify"

    @property
    def max_model_len(self) -> int:
        return self._process.ready.max_model_len

    @property
    def pid(self) -> int:
        """Process id of the engine."""
        return self._process.pid

    async def token_scores(self, token_id_lists: Sequence[Sequence[int]], *, activation: bool = True) -> list[Scores]:
        """For each list a (steps, labels) array: rows that sum to one, or logits if not ``activation``."""
        return await self._pool(token_id_lists, "token_classify", activation)

    async def classify(self, token_id_lists: Sequence[Sequence[int]], *, activation: bool = True) -> list[Scores]:
        """For each list a (labels,) array: probabilities, or logits if not ``activation``."""
        return await self._pool(token_id_lists, "classify", activation)

    async def pool(self, token_id_lists: Sequence[Sequence[int]]) -> list[Any]:
        """What the engine's task gives, as plain lists."""
        return [scores.tolist() for scores in await self._pool(token_id_lists, self.task, True)]

    async def _pool(self, token_id_lists: Sequence[Sequence[int]], task: PoolingTask, activation: bool) -> list[Scores]:
        if task != self.task:
            raise EngineRequestError(f"this reward model was loaded for {self.task}, not for {task}")
        requests = []
        for token_ids in token_id_lists:
            self._check(token_ids)
            requests.append(Pool(self._process.next_id(), list(token_ids), task, activation))
        if not requests:
            return []
        done: dict[int, Scores] = {}
        mailbox = self._process.submit(requests)
        try:
            while len(done) < len(requests):
                reply = await mailbox.get()
                if isinstance(reply, Rejected):
                    raise EngineRequestError(reply.message)
                if isinstance(reply, Pooled):
                    done[reply.id] = reply.data
        finally:
            self._process.abort(request.id for request in requests if request.id not in done)
        return [done[request.id] for request in requests]

    def _check(self, token_ids: Sequence[int]) -> None:
        if not token_ids:
            raise EngineRequestError("there is nothing to score: give at least one token")
        if min(token_ids) < 0 or max(token_ids) >= self._process.ready.vocab_size:
            raise EngineRequestError("token ids outside of the reward model's vocabulary")
        if len(token_ids) >= self.max_model_len:
            raise EngineRequestError(
                f"{len(token_ids)} tokens exceed the reward model's context of {self.max_model_len}"
            )

    async def health(self) -> None:
        """Return when the engine can serve; raise EngineError when it cannot."""
        await self._process.ping(_PING_SECONDS)

    async def shutdown(self) -> None:
        """Release everything. Idempotent."""
        await self._process.shutdown()


def _step_token_id(tokenizer: HFTokenizer, step: str | int | None) -> int | None:
    if step is None or isinstance(step, int):
        return step
    ids = tokenizer.encode(step, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"the step token {step!r} is {len(ids)} tokens of the reward model's vocabulary, not one")
    return ids[0]
