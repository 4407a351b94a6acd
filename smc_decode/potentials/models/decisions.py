"""A judge that answers a typed question with probabilities, at an address that the operator sets.

``api`` ``decisions``: ``POST url/decisions`` as OpenAI publishes it: ``{"model", "input", "questions": [...]}`` gives
``{"answers": [...]}``. ``chat``: ``POST url/chat/completions`` of any chat model that gives ``top_logprobs``; the
first token of its reply is read, by the labels that the prompt names.

r is the probability that a statement is true (``predicate``), the expected worth of the chosen option (``choice``), or
the expected level as a share of the highest (``score``). A judge that declines, or whose likeliest tokens hold no
label, says so of this answer: r is 0, with the reason in the detail. No reply, or one of another form, is a failure.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from smc_decode.potentials.base import Prefix, Reward, RewardFailure, RewardSource
from smc_decode.potentials.cache import ContentCache, content_key, gather
from smc_decode.potentials.declaration import Context, Kind
from smc_decode.potentials.models.judges import check_template, fill, without_special_tokens
from smc_decode.potentials.options import RewardRequest, Share
from smc_decode.potentials.own.http import RewardService, ServiceOptions, no_key

TEMPLATE = "### Task\n{question}\n\n### Answer\n{answer}"
STATEMENT = "The answer solves the task and holds no mistake."
_TOP = 20  # OpenAI's limit, and vLLM's

Question = Literal["predicate", "choice", "score"]
Verdict = tuple[float, Mapping[str, Any]]
"""r, and what it is made of."""


class DecisionsOptions(ServiceOptions):
    """``url``: the base, with its ``/v1``. ``instructions``: the statement (``predicate``) or question. ``choices``:
    what each option is worth as a reward. ``levels``: names, from the worst. ``body``: further fields of every call."""

    model: str = Field(min_length=1, max_length=1000)
    api: Literal["decisions", "chat"] = "decisions"
    body: dict[str, Any] = Field(default_factory=dict)
    question: Question = "predicate"
    instructions: str = Field(STATEMENT, min_length=1, max_length=20_000)
    choices: dict[str, Share] = Field(default_factory=dict, max_length=26)
    levels: tuple[str, ...] = Field((), max_length=10)
    template: str = Field(TEMPLATE, max_length=20_000)
    judge_prefixes: bool = False

    @field_validator("template")
    @classmethod
    def _complete(cls, template: str) -> str:
        return check_template(template, ("question", "answer"))

    @model_validator(mode="after")
    def _answerable(self) -> Self:
        for kind, given in (("choice", len(self.choices)), ("score", len(set(self.levels)))):
            name = "choices" if kind == "choice" else "levels"
            if self.question == kind and given < 2:
                raise ValueError(f"question {kind!r} needs {name}: at least two different ones")
            if self.question != kind and given:
                raise ValueError(f"{name} goes with question {kind!r}")
        return self

    @property
    def worths(self) -> dict[str, float]:
        """The options' names with the reward of each."""
        if self.question == "predicate":
            return {"yes": 1.0, "no": 0.0}
        if self.question == "choice":
            return self.choices
        return {level: index / (len(self.levels) - 1) for index, level in enumerate(self.levels)}


class Decisions(RewardSource):
    """The reward source."""

    def __init__(
        self,
        options: DecisionsOptions,
        request: RewardRequest,
        service: RewardService,
        *,
        name: str = "decisions",
        cache: ContentCache[Verdict] | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.prefixes = options.judge_prefixes
        self.cache: ContentCache[Verdict] = ContentCache() if cache is None else cache
        self._service = service
        self._question = without_special_tokens(request.task)

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        inputs = [self._input(prefix) for prefix in batch]

        async def compute(missing: list[int]) -> list[Verdict]:
            return await gather(self._ask(inputs[index]) for index in missing)

        verdicts = await self.cache.map([content_key(self.options, each) for each in inputs], compute)
        return [Reward(value, {"basis": "decision", **detail}) for value, detail in verdicts]

    def _input(self, prefix: Prefix) -> str:
        values = {"question": self._question, "answer": without_special_tokens(prefix.text)}
        return fill(self.options.template, values)

    async def _ask(self, text: str) -> Verdict:
        options = self.options
        asked = chat_request(options, text) if options.api == "chat" else decision_request(options, text)
        reply = await self._service.score({**asked, **options.body})
        try:
            told = read_chat(options, reply) if options.api == "chat" else read_decision(options, reply)
        except (LookupError, TypeError, ValueError) as error:
            raise RewardFailure(f"reward {self.name!r}: the judge's reply has another form: {error!r}"[:300]) from None
        return verdict(options.worths, told)


def verdict(worths: Mapping[str, float], told: Mapping[str, float] | str) -> Verdict:
    """r from the probability of each option, which need not sum to 1; text is why there is none."""
    if isinstance(told, str):
        return 0.0, {"note": told}
    mass = math.fsum(told.values())
    if not mass > 0:
        return 0.0, {"note": "the judge's likeliest tokens hold no label"}
    shares = {name: told.get(name, 0.0) / mass for name in worths}
    value = math.fsum(share * worths[name] for name, share in shares.items())
    detail = {"probabilities": {name: round(share, 6) for name, share in shares.items()}, "label_mass": round(mass, 6)}
    return min(1.0, max(0.0, value)), detail


# ---- OpenAI's decisions ------------------------------------------------------------------------------------------


def decision_request(options: DecisionsOptions, text: str) -> dict[str, Any]:
    """The body of ``POST /v1/decisions``."""
    question: dict[str, Any] = {"type": options.question, "name": "reward", "instructions": options.instructions}
    if options.question == "choice":
        question["choices"] = [{"value": name} for name in options.choices]
    if options.question == "score":
        question["levels"] = [{"label": level} for level in options.levels]
    return {"model": options.model, "input": text, "questions": [question]}


def read_decision(options: DecisionsOptions, reply: Any) -> Mapping[str, float] | str:
    """The probability of each option in a reply, or why there is none. Raises LookupError, TypeError, ValueError."""
    (answer,) = reply["answers"]
    if answer["type"] == "refusal":
        return "the judge declined to answer"
    if answer["type"] != options.question:
        raise ValueError(f"an answer of type {answer['type']!r} to a {options.question}")
    if options.question == "predicate":
        yes = _probability(answer["probability"])
        return {"yes": yes, "no": 1.0 - yes}
    key = "value" if options.question == "choice" else "label"
    told = {each[key]: _probability(each["probability"]) for each in answer["probabilities"]}
    if not told.keys() <= options.worths.keys():
        raise ValueError(f"options that were not given: {sorted(map(str, told.keys() - options.worths.keys()))}")
    return told


# ---- a chat model ------------------------------------------------------------------------------------------------


def labels_of(options: DecisionsOptions) -> dict[str, str]:
    """What a chat model is to reply for each option."""
    names = list(options.worths)
    if options.question == "predicate":
        return {name: name for name in names}
    return dict(zip(names, string.ascii_uppercase if options.question == "choice" else string.digits, strict=False))


def chat_request(options: DecisionsOptions, text: str) -> dict[str, Any]:
    """The body of ``POST /v1/chat/completions`` whose first token is the decision."""
    if options.question == "predicate":
        lines = [f"Is this true? {options.instructions}", "Answer with yes or no only."]
    else:
        what = "letter of one option" if options.question == "choice" else "number of one level"
        spelled = [f"{label}: {name}" for name, label in labels_of(options).items()]
        lines = [options.instructions, *spelled, f"Answer with the {what} only."]
    content = "\n".join([text, "", *lines])
    return {
        "model": options.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": _TOP,
    }


def read_chat(options: DecisionsOptions, reply: Any) -> Mapping[str, float]:
    """The probability of each option's label, in whatever spelling. Raises LookupError, TypeError, ValueError."""
    (token, *_) = reply["choices"][0]["logprobs"]["content"]
    labels = {label.casefold(): name for name, label in labels_of(options).items()}
    told = dict.fromkeys(labels.values(), 0.0)
    for each in token["top_logprobs"]:
        name = labels.get(each["token"].strip().casefold())
        if name is not None:
            told[name] += math.exp(min(0.0, float(each["logprob"])))
    return told


def _probability(value: object) -> float:
    if not isinstance(value, int | float) or not -1e-6 <= value <= 1 + 1e-6:
        raise ValueError(f"{value!r} is no probability")
    return min(1.0, max(0.0, float(value)))


def _service(options: DecisionsOptions, context: Context) -> RewardService:
    path = "/chat/completions" if options.api == "chat" else "/decisions"
    service: RewardService = context.shared("service", lambda: RewardService(options, path=path))
    return service


_OF_REQUESTS = ("question", "instructions", "choices", "levels", "template", "judge_prefixes")

KIND = Kind(
    "A judge answers a question with probabilities: /v1/decisions, or a chat model's log-probabilities",
    DecisionsOptions,
    lambda options, context: Decisions(
        options, context.request, _service(options, context), name=context.name, cache=context.cache()
    ),
    request_params=_OF_REQUESTS,
    operator_only=tuple(name for name in DecisionsOptions.model_fields if name not in _OF_REQUESTS),
    missing=no_key,
    builtin=False,
)
