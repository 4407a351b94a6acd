"""``POST /v1/smc/score``: answers that the client gives, judged by a reward of the server's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request
from pydantic import Field, field_validator, model_validator
from starlette.responses import JSONResponse, Response

from smc_decode.answers.thinking import Thinking, ThinkTags
from smc_decode.engines.base import Engine, Tokenizer
from smc_decode.potentials.ask import ask
from smc_decode.potentials.base import Potential, Prefix, name_of

from ..edge.gate import From
from ..edge.work import Work
from ..errors import invalid, renamed
from ..runs.fields import RewardChoice
from ..runs.plan import Planner
from ..runs.request import Prompt
from ..runs.runner import together
from ..runs.wire import plain
from .body import parse
from .messages import Message
from .protocol import ChatBody, CompletionBody
from .templates import chat_prompt, completion_prompts, tokenizer_of
from .types import Body, TokenId

_NAMES = {"smc.reward": "reward"}
_SCORED_SIDE_BY_SIDE = 8


class RewardName(Body):
    """Which reward judges."""

    name: str = Field(min_length=1)
    params: dict[str, Any] = Field(default_factory=dict)


class ScoreBody(Body):
    """``POST /v1/smc/score``."""

    model: str
    messages: list[Message] | None = Field(None, min_length=1)
    prompt: str | list[TokenId] | None = None
    reward: RewardName | None = None
    answers: Annotated[list[str], Field(min_length=1)]
    finished: bool | None = None
    reads: Literal["final", "all"] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    @field_validator("reward", mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        """``"regex"`` is ``{"name": "regex"}``."""
        return {"name": value} if isinstance(value, str) else value

    @field_validator("prompt", mode="before")
    @classmethod
    def _check_prompt(cls, value: object) -> object:
        """A union's own errors would speak of each of its members."""
        ids = isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)
        if value is None or isinstance(value, str) or ids:
            return value
        raise ValueError("prompt must be one string, or the token ids of one prompt")

    @model_validator(mode="after")
    def _check_question(self) -> Self:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("give either messages or prompt: what the answers answer")
        if self.prompt is not None:
            for name in ("chat_template_kwargs", "add_generation_prompt", "continue_final_message"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} goes with messages, and not with prompt")
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError("continue_final_message needs add_generation_prompt: false")
        return self


@dataclass(frozen=True)
class Judge:
    """Finds the reward and the answers of a request; ``most``: how many answers there may be."""

    engine: Engine
    planner: Planner
    most: int
    tags: ThinkTags | None = None

    def check(self, body: ScoreBody) -> None:
        """Raises APIError (400) for more answers than a run may have particles."""
        if len(body.answers) > self.most:
            message = f"answers holds {len(body.answers)}: this server takes at most {self.most} in one request"
            raise invalid(message, "answers")

    async def plan(self, body: ScoreBody, *, local: bool, owner: str = "") -> Case:
        """What is to be judged, by what. ``local``: the client is on this machine, and its code may be run. ``owner``:
        whose share of the rewards' processes it uses.

        Raises APIError (400, 404).
        """
        self.check(body)
        prompt = await _prompt(self.engine, body, self.tags)
        choice = None if body.reward is None else RewardChoice(name=body.reward.name, params=body.reward.params)
        with renamed(_NAMES):
            final = body.reads != "all"
            potential = await self.planner.judge(body.model, choice, prompt, local=local, owner=owner, final=final)
        if potential.kind == "terminal" and body.finished is False:
            message = f"the reward {name_of(potential)!r} judges complete answers only: leave finished out"
            raise invalid(message, "finished")
        if body.reads == "all":
            prompt = replace(prompt, thinking=None)
        prefixes = await _prefixes(self.engine, prompt, body.answers, body.finished is not False)
        return Case(self.engine, potential, prefixes)


@dataclass(frozen=True)
class Case:
    """Answers and the reward that judges them."""

    engine: Engine
    potential: Potential
    prefixes: Sequence[Prefix]

    async def scores(self) -> list[dict[str, Any]]:
        """One object an answer, in order. Raises APIError (400, 503)."""
        with renamed(_NAMES):
            prefixes = await self._scored() if self.potential.needs_logprobs else self.prefixes
            evaluations = await ask(self.potential, prefixes)
        return [{"reward": plain(each.reward), "detail": plain(dict(each.detail))} for each in evaluations]

    async def _scored(self) -> list[Prefix]:
        """The answers with the base model's log-probabilities, as a run has them."""
        done: list[Prefix] = []
        for start in range(0, len(self.prefixes), _SCORED_SIDE_BY_SIDE):
            some = self.prefixes[start : start + _SCORED_SIDE_BY_SIDE]
            done += await together([self._with_logprobs(prefix) for prefix in some])
        return done

    async def _with_logprobs(self, prefix: Prefix) -> Prefix:
        asked = [*prefix.prompt_token_ids, *prefix.token_ids]
        scores = await self.engine.score(asked, len(prefix.prompt_token_ids)) if prefix.token_ids else []
        return replace(prefix, logprobs=tuple(score.logprob for score in scores))


def router(judge: Judge, work: Work) -> APIRouter:
    """The route of scores."""
    routes = APIRouter()

    @routes.post("/v1/smc/score")
    async def score(request: Request, caller: From) -> Response:
        """The reward of each answer, in order."""
        body = await parse(request, ScoreBody)
        case = await judge.plan(body, local=caller.is_local, owner=caller.owner)
        ticket = work.enter(caller.owner, len(body.answers))
        scores = await work.answer(request, ticket, case.scores())
        return JSONResponse({"object": "smc.scores", "model": body.model, "scores": scores})

    return routes


async def _prompt(engine: Engine, body: ScoreBody, tags: ThinkTags | None) -> Prompt:
    tokenizer_of(engine, "answers")
    if body.messages is not None:
        asked = ChatBody(
            model=body.model,
            messages=body.messages,
            chat_template_kwargs=body.chat_template_kwargs,
            add_generation_prompt=body.add_generation_prompt,
            continue_final_message=body.continue_final_message,
        )
        return await chat_prompt(engine, asked, tags)
    assert body.prompt is not None
    (prompt,) = await completion_prompts(engine, CompletionBody(model=body.model, prompt=body.prompt), 1)
    return prompt


async def _prefixes(engine: Engine, prompt: Prompt, answers: Sequence[str], finished: bool) -> list[Prefix]:
    """The answers as a run would hold them: a finished one ends with the model's end of text.

    Raises APIError (400) where an answer is longer than any that the model could give.
    """
    tokenizer = tokenizer_of(engine, "answers")
    end = engine.info.eos_token_ids[:1] if finished else ()
    most = engine.info.max_model_len
    prefixes = []
    for index, (text, ids) in enumerate(zip(answers, await _tokens(tokenizer, answers), strict=True)):
        length = len(prompt.token_ids) + len(ids)
        if most is not None and length > most:
            raise invalid(
                f"prompt and answers[{index}] together have {length} tokens, and the model's context is {most}: "
                "shorten them",
                f"answers[{index}]",
                "context_length_exceeded",
            )
        fits = most is None or length < most
        prefix = Prefix(
            token_ids=(*ids, *end) if fits else tuple(ids),
            finished=finished,
            prompt_token_ids=prompt.token_ids,
            prompt_text=prompt.text,
            decode=_says(_judged(prompt.thinking, text)),
        )
        prefixes.append(prefix)
    return prefixes


async def _tokens(tokenizer: Tokenizer, answers: Sequence[str]) -> list[list[int]]:
    def work() -> list[list[int]]:
        return [tokenizer.encode(text, add_special_tokens=False) for text in answers]

    return await asyncio.to_thread(work)


def _judged(thinking: Thinking | None, text: str) -> str:
    """What is judged of an answer: of one that holds no thought, all, whatever the prompt has begun."""
    whole = thinking is None or (thinking.tags.open not in text and thinking.tags.close not in text)
    return text if thinking is None or whole else thinking.final(text)


def _says(text: str) -> Callable[[Sequence[int]], str]:
    """What an answer's tokens decode to: the text that was sent."""
    return lambda _: text
