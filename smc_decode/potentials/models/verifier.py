"""A generative verifier: ask a language model whether the answer is right, and read the odds of Yes against No.

r = P(Yes) / (P(Yes) + P(No)) of one next token, summed over the spellings of each label; the log-odds are in
the detail. The judge is the generator itself or another loaded model. All answers of a batch are judged in one
call. ``layout``: ``prompt`` puts question and answer into the template; ``suffix`` puts the question about the
answer after the answer's own tokens, which is several times cheaper on the generator, whose cache has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from smc_decode.engines.base import EngineError
from smc_decode.engines.remote.settings import RemoteSettings
from smc_decode.potentials.base import Prefix, Reward, RewardFailure, RewardSource
from smc_decode.potentials.cache import ContentCache, content_key
from smc_decode.potentials.declaration import Kind
from smc_decode.potentials.models.hosts import HOST, judge, no_engine, no_model, to_load
from smc_decode.potentials.models.judges import HostOptions, LabelModel, check_template, fill, without_special_tokens
from smc_decode.potentials.models.outcome_reward import sigmoid
from smc_decode.potentials.options import RewardRequest, RewardRequestError

TEMPLATE = (
    "Here are a task and an answer to it.\n\n### Task\n{question}\n\n### Answer\n{answer}\n\n"
    "Is the answer correct? Reply with one word, Yes or No."
)
SUFFIX = "\n\nIs the answer above correct? Reply with one word, Yes or No: "


class VerifierOptions(HostOptions):
    """``model``: the judge, a folder or a Hugging Face name, or what the server at ``url`` calls it (``engine`` then
    sets fields of RemoteSettings); None: the generator. ``chat``: put the template into the judge's chat template.
    ``yes``, ``no``: the labels' spellings, whose first tokens count. ``judge_prefixes``: judge unfinished answers
    too."""

    REMOTE_FIELDS: ClassVar[frozenset[str]] = frozenset(RemoteSettings.model_fields) - {
        "urls", "model", "api_key_env", "timeout",
    }  # fmt: skip

    model: str | None = Field(None, min_length=1, max_length=1000, validate_default=True)
    layout: Literal["prompt", "suffix"] = "prompt"
    template: str = Field(TEMPLATE, max_length=20_000)
    suffix: str = Field(SUFFIX, min_length=1, max_length=2_000)
    chat: bool = True
    yes: tuple[str, ...] = Field(("Yes", " Yes", "yes"), min_length=1, max_length=16)
    no: tuple[str, ...] = Field(("No", " No", "no"), min_length=1, max_length=16)
    judge_prefixes: bool = False

    @field_validator("template")
    @classmethod
    def _complete(cls, template: str) -> str:
        return check_template(template, ("question", "answer"))

    @field_validator("model")
    @classmethod
    def _named(cls, model: str | None, info: ValidationInfo) -> str | None:
        if model is None and (info.data.get("url") is not None or info.data.get("engine")):
            raise ValueError("url and engine are for another judge than the generator: name its model")
        return model

    @field_validator("layout")
    @classmethod
    def _own_tokens(cls, layout: str, info: ValidationInfo) -> str:
        if layout == "suffix" and info.data.get("model") is not None:
            raise ValueError("layout 'suffix' continues the generator's own tokens: leave model out")
        return layout


class Verifier(RewardSource):
    """The reward source. Raises RewardRequestError where the labels do not differ in their first token."""

    def __init__(
        self,
        options: VerifierOptions,
        request: RewardRequest,
        model: LabelModel,
        *,
        name: str = "verifier",
        cache: ContentCache[float] | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.prefixes = options.judge_prefixes
        self.cache: ContentCache[float] = ContentCache() if cache is None else cache
        self._model = model
        self._question = without_special_tokens(request.task)
        tokenizer = model.tokenizer
        if tokenizer is None:
            raise RewardRequestError(f"reward {name!r} needs a judge with a tokenizer", "smc.reward.name")
        self._tokenizer = tokenizer
        self._yes = self._first_tokens(options.yes)
        self._no = self._first_tokens(options.no)
        if set(self._yes) & set(self._no):
            raise RewardRequestError(
                "yes and no begin with the same token: choose other spellings", "smc.reward.params.yes"
            )

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        prompts = [self._prompt(prefix) for prefix in batch]

        async def compute(missing: list[int]) -> list[float]:
            labels = [*self._yes, *self._no]
            try:
                rows = await self._model.label_logprobs([prompts[index] for index in missing], labels)
            except EngineError as error:
                raise RewardFailure(f"reward {self.name!r}: the judge failed: {error}") from error
            if len(rows) != len(missing):
                raise RewardFailure(f"reward {self.name!r}: the judge gave {len(rows)} answers for {len(missing)}")
            return [self._odds(row) for row in rows]

        keys = [content_key(self.options, prompt) for prompt in prompts]
        odds = await self.cache.map(keys, compute)
        return [Reward(sigmoid(value), {"basis": "judge", "log_odds": round(value, 4)}) for value in odds]

    def _prompt(self, prefix: Prefix) -> tuple[int, ...]:
        if self.options.layout == "suffix":
            tokens = prefix.token_ids
            if prefix.finished and tokens and not self._tokenizer.decode(tokens[-1:]):
                tokens = tokens[:-1]  # the end-of-sequence token
            suffix = self._tokenizer.encode(self.options.suffix, add_special_tokens=False)
            return (*prefix.prompt_token_ids, *tokens, *suffix)
        values = {"question": self._question, "answer": without_special_tokens(prefix.text)}
        text = fill(self.options.template, values)
        if not (self.options.chat and getattr(self._tokenizer, "has_chat_template", True)):
            return tuple(self._tokenizer.encode(text))
        messages = [{"role": "user", "content": text}]
        return tuple(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True))

    def _first_tokens(self, spellings: Sequence[str]) -> list[int]:
        tokens = [self._tokenizer.encode(text, add_special_tokens=False)[:1] for text in spellings]
        found = list(dict.fromkeys(token for first in tokens for token in first))
        if not found:
            raise RewardRequestError("a label has no tokens", "smc.reward.params.yes")
        return found

    def _odds(self, row: Mapping[int, float]) -> float:
        """log P(Yes) - log P(No), within ±50."""
        try:
            yes, no = _log_sum([row[token] for token in self._yes]), _log_sum([row[token] for token in self._no])
        except KeyError as error:
            raise RewardFailure(f"reward {self.name!r}: the judge gave nothing for label {error}") from error
        if math.isnan(yes) or math.isnan(no):
            raise RewardFailure(f"reward {self.name!r}: the judge gave NaN")
        if yes == no:  # both -inf as well
            return 0.0
        return max(-50.0, min(50.0, yes - no))


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(value - top) for value in values))


KIND = Kind(
    "A language model is asked whether the answer is right: the odds of Yes against No",
    VerifierOptions,
    lambda options, context: Verifier(
        options, context.request, judge(context, options), name=context.name, cache=context.cache()
    ),
    request_params=("template", "suffix", "layout", "judge_prefixes", "yes", "no"),
    operator_only=HOST,
    missing=lambda resources, options: (no_model if options.get("model") else no_engine)(resources, options),
    loads=lambda options, context: to_load(judge(context, options)),
)
