"""A process reward model: one score a step, put together by min, product, last or mean.

Two heads. ``steps`` (Qwen2.5-Math-PRM): a separator token stands after each step and the model gives a row of
label scores at each. ``value`` (Skywork): the score is read at the last token of a step. Only complete steps
are scored, and each step once: what comes later does not change it, so a prefix without a new step costs
nothing. r = ``empty`` before the first step is complete.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from smc_decode.potentials.base import Prefix, Reward, RewardFailure, RewardSource
from smc_decode.potentials.cache import ContentCache, content_key
from smc_decode.potentials.declaration import Context, Kind
from smc_decode.potentials.models.hosts import HOST, no_model, reward_model, to_load
from smc_decode.potentials.models.judges import ModelOptions, RewardModel, check_template, fill, without_special_tokens
from smc_decode.potentials.options import RewardRequest, Share

Aggregate = Literal["min", "product", "last", "mean"]

QWEN_PRM = (
    "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
    "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{steps}<|im_end|><|endoftext|>"
)
"""The prompt that Qwen2.5-Math-PRM was trained on."""


class ProcessRewardOptions(ModelOptions):
    """``split``: what separates steps in an answer. ``separator``: what stands after each step in the model's prompt.
    ``label``: the column of a row that is the score (-1: the last)."""

    head: Literal["steps", "value"] = "steps"
    aggregate: Aggregate = "min"
    split: str = Field("\n\n", min_length=1, max_length=100)
    separator: str = Field("<extra_0>", max_length=100)
    template: str = QWEN_PRM
    label: int = Field(-1, ge=-1)
    empty: Share = 0.5
    max_steps: int = Field(200, ge=1)

    @field_validator("template")
    @classmethod
    def _complete(cls, template: str) -> str:
        return check_template(template, ("question", "steps"))


def aggregate(scores: Sequence[float], how: Aggregate, empty: float) -> float:
    """The steps' scores as one."""
    if not scores:
        return empty
    if how == "min":
        return min(scores)
    if how == "product":
        return math.prod(scores)
    if how == "last":
        return scores[-1]
    return math.fsum(scores) / len(scores)


class ProcessReward(RewardSource):
    """The reward source. The cache may be shared."""

    def __init__(
        self,
        options: ProcessRewardOptions,
        request: RewardRequest,
        model: RewardModel,
        *,
        name: str = "prm",
        cache: ContentCache[float] | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.cache: ContentCache[float] = ContentCache() if cache is None else cache
        self._model = model
        self._question = without_special_tokens(request.task)

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        answers = [self._steps(prefix) for prefix in batch]
        wanted: dict[tuple[str, ...], None] = {}
        for steps in answers:
            for end in range(1, len(steps) + 1):
                wanted.setdefault(steps[:end])
        beginnings = list(wanted)

        async def compute(missing: list[int]) -> list[float]:
            return await self._score([beginnings[index] for index in missing])

        keys = [content_key(self.options, self._question, steps) for steps in beginnings]
        scores = dict(zip(beginnings, await self.cache.map(keys, compute), strict=True))
        return [self._reward([scores[steps[: end + 1]] for end in range(len(steps))]) for steps in answers]

    def _steps(self, prefix: Prefix) -> tuple[str, ...]:
        parts = prefix.text.split(self.options.split)
        complete = parts if prefix.finished else parts[:-1]
        steps = (without_special_tokens(part).strip() for part in complete)
        return tuple(step for step in steps if step)[: self.options.max_steps]

    async def _score(self, beginnings: Sequence[tuple[str, ...]]) -> list[float]:
        """The score of the last step of each."""
        if self.options.head == "value":
            ends = await self._model.classify_tokens([self._prompt(steps, "") for steps in beginnings])
            return [self._pick(rows[-1] if rows else []) for rows in ends]
        # one call of the longest beginnings gives the scores of all steps in them
        longest = [steps for steps in beginnings if not any(_extends(other, steps) for other in beginnings)]
        tables = await self._model.classify_tokens([self._prompt(steps, self.options.separator) for steps in longest])
        known: dict[tuple[str, ...], float] = {}
        for steps, rows in zip(longest, tables, strict=True):
            if len(rows) != len(steps):
                raise RewardFailure(
                    f"reward {self.name!r}: the model gave {len(rows)} scores for {len(steps)} steps; "
                    "does its step token fit the separator?"
                )
            for end, row in enumerate(rows, 1):
                known[steps[:end]] = self._pick(row)
        return [known[steps] for steps in beginnings]

    def _prompt(self, steps: Sequence[str], separator: str) -> str:
        if self.options.head == "value":
            before = self.options.template.partition("{steps}")[0]
            return fill(before, {"question": self._question}) + self.options.split.join(steps)
        text = "".join(step + separator for step in steps)
        return fill(self.options.template, {"question": self._question, "steps": text})

    def _pick(self, row: Sequence[float]) -> float:
        if not row or self.options.label >= len(row):
            raise RewardFailure(f"reward {self.name!r}: a row of {len(row)} labels has no label {self.options.label}")
        score = row[self.options.label]
        if not 0.0 <= score <= 1.0:
            raise RewardFailure(f"reward {self.name!r}: the model gave {score}, which is no probability")
        return score

    def _reward(self, scores: Sequence[float]) -> Reward:
        value = aggregate(scores, self.options.aggregate, self.options.empty)
        detail: dict[str, Any] = {"basis": "steps", "steps": [round(score, 4) for score in scores]}
        return Reward(value, detail)


def _extends(longer: Sequence[str], steps: Sequence[str]) -> bool:
    return len(longer) > len(steps) and tuple(longer[: len(steps)]) == tuple(steps)


def _model(options: ProcessRewardOptions, context: Context) -> RewardModel:
    step = options.separator if options.head == "steps" else None
    return reward_model(context, options, "token_classify", step)


KIND = Kind(
    "A process reward model: a score for each step",
    ProcessRewardOptions,
    lambda options, context: ProcessReward(
        options, context.request, _model(options, context), name=context.name, cache=context.cache()
    ),
    request_params=("aggregate",),
    operator_only=(*HOST, "template", "head", "separator"),
    missing=no_model,
    builtin=False,
    loads=lambda options, context: to_load(_model(options, context)),
)
