"""A task of reasoning-gym (PyPI): r is the score that the library's own verifier gives the answer.

The answer is what stands in the last ``<answer>`` of the text, else its last line. Before the end nothing is known of
it (``pending``), unless an answer's tag has been closed, which is scored at once. The library makes and scores tasks in
a worker process, under a limit of processor time. Datasets whose verifier evaluates answers as Python are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field

from smc_decode.potentials.accounts import Workers
from smc_decode.potentials.base import Prefix, Reward, RewardSource
from smc_decode.potentials.cache import ContentCache, content_key, gather
from smc_decode.potentials.declaration import Context, Kind
from smc_decode.potentials.options import Finite, Options, RewardRequestError, Share
from smc_decode.workers.gym import MAX_INDEX
from smc_decode.workers.pool import TaskDied, TaskError

MAX_ANSWER: Final = 20_000
_OPEN, _CLOSED = "<answer>", "</answer>"


class GymOptions(Options):
    """``dataset``, ``seed`` and ``index`` name the task; ``config``: numbers, texts and switches for the dataset.
    ``timeout``: seconds of processor time."""

    dataset: str = Field(min_length=1, max_length=100, pattern=r"^\w+$")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    index: int = Field(0, ge=0, le=MAX_INDEX)
    config: dict[str, bool | int | float | str] = Field(default_factory=dict, max_length=32)
    pending: Share = 0.5
    timeout: Finite = Field(5.0, gt=0, le=60)


class Gym(RewardSource):
    """The reward source. Raises RewardRequestError for a task that the library does not know, which a worker finds
    out: make it in a thread where that must not wait."""

    def __init__(
        self,
        options: GymOptions,
        workers: Workers,
        *,
        name: str = "reasoning_gym",
        cache: ContentCache[float] | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self._workers = workers
        self._cache: ContentCache[float] = ContentCache() if cache is None else cache
        self._task = {
            "dataset": options.dataset,
            "seed": options.seed,
            "index": options.index,
            "config": options.config,
        }
        try:
            self.question = str(workers.call("gym_question", options.timeout, **self._task))
        except (TaskDied, TaskError) as error:
            where = "smc.reward.params"
            raise RewardRequestError(f"{where}: reasoning-gym has no such task: {error}", where) from error

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        answers = [answer_of(prefix.text, prefix.finished) for prefix in batch]
        known = [i for i, answer in enumerate(answers) if answer is not None]
        keys = [content_key(self._task, answers[i]) for i in known]

        async def compute(missing: list[int]) -> list[float]:
            return await gather(self._score(answers[known[i]] or "") for i in missing)

        scores = dict(zip(known, await self._cache.map(keys, compute), strict=True))
        return [self._reward(prefix, answers[i], scores.get(i)) for i, prefix in enumerate(batch)]

    def _reward(self, prefix: Prefix, answer: str | None, score: float | None) -> Reward:
        detail: dict[str, Any] = {"basis": "reasoning_gym", "answer": None if answer is None else answer[:200]}
        value = self.options.pending if score is None else score
        return Reward(value, detail, value if prefix.finished else 1.0)

    async def _score(self, answer: str) -> float:
        try:
            return float(await self._workers.acall("gym_score", self.options.timeout, **self._task, answer=answer))
        except (TaskDied, TaskError):
            return 0.0  # an answer that its verifier cannot bear


def answer_of(text: str, finished: bool) -> str | None:
    """The answer that a text gives, or None where it gives none yet."""
    end = text.rfind(_CLOSED)
    start = text.rfind(_OPEN, 0, end) if end >= 0 else -1
    if start >= 0:
        return text[start + len(_OPEN) : end].strip()[:MAX_ANSWER]
    if not finished:
        return None
    opened = text.rfind(_OPEN)
    last = text[opened + len(_OPEN) :] if opened >= 0 else text.rstrip().rpartition("\n")[2]
    return last.strip()[:MAX_ANSWER]


def _create(options: GymOptions, context: Context) -> Gym:
    return Gym(options, context.workers, name=context.name, cache=context.cache())


KIND = Kind(
    "The score that reasoning-gym's own verifier gives the answer to one of its tasks",
    GymOptions,
    _create,
    request_params=("dataset", "seed", "index", "config", "pending"),
    modules=("reasoning_gym",),
    extra="reasoning-gym",
)
