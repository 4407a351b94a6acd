"""An outcome reward model: one score for a whole answer, from a model with a sequence classification head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator

from smc_decode.potentials.base import Prefix, Reward, RewardFailure, RewardSource
from smc_decode.potentials.cache import ContentCache, content_key
from smc_decode.potentials.declaration import Context, Kind
from smc_decode.potentials.models.hosts import HOST, no_model, reward_model, to_load
from smc_decode.potentials.models.judges import ModelOptions, RewardModel, check_template, fill, without_special_tokens
from smc_decode.potentials.options import Finite, RewardRequest

CHATML = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


class OutcomeRewardOptions(ModelOptions):
    """``label``: the score's column (-1: the last). ``scale``: the model gives a ``probability``, or a ``logit``
    that is squashed: r = sigmoid((logit - center) / temperature). ``judge_prefixes``: score unfinished answers
    too."""

    template: str = CHATML
    label: int = Field(-1, ge=-1)
    scale: Literal["probability", "logit"] = "probability"
    center: Finite = 0.0
    temperature: Finite = Field(1.0, gt=0)
    judge_prefixes: bool = False

    @field_validator("template")
    @classmethod
    def _complete(cls, template: str) -> str:
        return check_template(template, ("question", "answer"))


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


class OutcomeReward(RewardSource):
    """The reward source. All answers of a batch go to the model in one call. The cache may be shared."""

    def __init__(
        self,
        options: OutcomeRewardOptions,
        request: RewardRequest,
        model: RewardModel,
        *,
        name: str = "orm",
        cache: ContentCache[float] | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.prefixes = options.judge_prefixes
        self.cache: ContentCache[float] = ContentCache() if cache is None else cache
        self._model = model
        self._question = without_special_tokens(request.task)

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        values = {"question": self._question}
        texts = [
            fill(self.options.template, {**values, "answer": without_special_tokens(prefix.text)}) for prefix in batch
        ]

        async def compute(missing: list[int]) -> list[float]:
            rows = await self._model.classify([texts[index] for index in missing])
            return [self._score(row) for row in rows]

        scores = await self.cache.map([content_key(self.options, text) for text in texts], compute)
        return [Reward(score, {"basis": "model", "model": self.options.model}) for score in scores]

    def _score(self, row: Sequence[float]) -> float:
        options = self.options
        if not row or options.label >= len(row):
            raise RewardFailure(f"reward {self.name!r}: a row of {len(row)} labels has no label {options.label}")
        score = row[options.label]
        if options.scale == "logit" and math.isfinite(score):
            return sigmoid((score - options.center) / options.temperature)
        if not 0.0 <= score <= 1.0:
            raise RewardFailure(
                f"reward {self.name!r}: the model gave {score}, which is no probability; set scale = 'logit'"
            )
        return score


def _model(options: OutcomeRewardOptions, context: Context) -> RewardModel:
    return reward_model(context, options, "classify", None, options.scale == "logit")


KIND = Kind(
    "An outcome reward model: a score for the whole answer",
    OutcomeRewardOptions,
    lambda options, context: OutcomeReward(
        options, context.request, _model(options, context), name=context.name, cache=context.cache()
    ),
    request_params=("judge_prefixes",),
    operator_only=(*HOST, "template"),
    missing=no_model,
    builtin=False,
    loads=lambda options, context: to_load(_model(options, context)),
)
