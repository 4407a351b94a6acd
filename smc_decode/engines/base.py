"""The base class of engines: an author writes ``info`` and ``extend``, and has the rest. Also all names of the seam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from smc_decode.engines.checks import check_prompt
from smc_decode.engines.protocol import (
    Continuation,
    Engine,
    EngineError,
    EngineInfo,
    EngineRequestError,
    Extend,
    FinishReason,
    LiveSequence,
    Tokenizer,
    TokenScore,
)
from smc_decode.shaping import NO_SHAPING, Shaping

__all__ = [
    "NO_SHAPING",
    "BaseEngine",
    "Continuation",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineRequestError",
    "Extend",
    "FinishReason",
    "LiveSequence",
    "Shaping",
    "TokenScore",
    "Tokenizer",
]


class BaseEngine(ABC):
    """An :class:`Engine` but for ``info`` and ``extend``, for models whose sequences are lists of token ids.

    ``extend`` begins with :func:`~smc_decode.engines.checks.check_requests`, which refuses what no engine can do and
    what ``info`` does not declare. Override more where there is more: state on a sequence (:meth:`open` and
    :meth:`LiveSequence.fork`), a tokenizer, ``score`` (declared by ``scores``), resources to release.
    """

    @property
    @abstractmethod
    def info(self) -> EngineInfo: ...

    @abstractmethod
    def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]: ...

    @property
    def tokenizer(self) -> Tokenizer | None:
        return None

    async def open(self, prompt_token_ids: Sequence[int]) -> LiveSequence:
        check_prompt(self.info, prompt_token_ids)
        return LiveSequence(tuple(prompt_token_ids))

    async def fork(self, sequence: LiveSequence) -> LiveSequence:
        return sequence.fork()

    async def rewind(self, sequence: LiveSequence, length: int) -> None:
        del sequence.token_ids[length:]

    async def close(self, sequence: LiveSequence) -> None:
        return None

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        raise EngineRequestError(f"the engine {self.info.name!r} gives no log-probabilities of given tokens")

    async def label_logprobs(
        self, token_id_lists: Sequence[Sequence[int]], label_ids: Sequence[int]
    ) -> list[dict[int, float]]:
        raise EngineRequestError(f"the engine {self.info.name!r} gives no log-probabilities of labels")

    async def health(self) -> None:
        return None

    async def shutdown(self) -> None:
        return None

    async def metrics_text(self) -> str:
        return ""

    @property
    def counters(self) -> Any:
        return None

    @property
    def replicas(self) -> Sequence[tuple[str, bool]]:
        return ()
