"""``POST /v1/completions``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from smc_decode.engines.base import Engine

from ..edge.gate import Caller, From
from ..errors import invalid
from ..runs.plan import Plan
from ..runs.request import Prompt
from ..runs.runner import together
from .body import parse
from .logprobs import ScoredToken, legacy, pieces_of, scored_tokens
from .operation import Operations
from .protocol import CompletionBody
from .replies import Answer, token_usage
from .sse import Framing
from .streaming import StreamOrder, chunks_of
from .structured import only_form
from .templates import completion_prompts

_SCORED_SIDE_BY_SIDE = 8


def router(operations: Operations) -> APIRouter:
    """The route of completions."""
    routes = APIRouter()

    @routes.post("/v1/completions")
    async def completions(request: Request, caller: From) -> Response:
        """OpenAI's legacy completions, by SMC."""
        body = await parse(request, CompletionBody)
        grammar = only_form(body.wanted_forms())
        operations.check_logprobs(body.logprobs, "logprobs")
        prompts = await completion_prompts(operations.engine, body, operations.max_prompts)
        form = CompletionFormat(operations.engine, body)
        if body.max_tokens == 0:
            operations.check(body)
            return await _score_only(request, caller, operations, body, form, prompts)
        plans = await operations.plan(caller, body, prompts, grammar)
        return await operations.answer(request, caller, body, plans, form)

    return routes


class CompletionFormat:
    """Choices and chunks of ``text_completion`` objects."""

    markers: Sequence[str] = ()

    def __init__(self, engine: Engine, body: CompletionBody) -> None:
        self._engine = engine
        self._body = body
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": body.model,
        }
        self._begins: dict[int, int] = {}
        self._echoed: dict[tuple[int, ...], list[ScoredToken]] = {}

    @property
    def logprobs(self) -> int | None:
        return self._body.logprobs

    async def prepare(self, plans: Sequence[Plan]) -> None:
        # What ``echo`` with ``logprobs`` needs to know of the prompts.
        if self._body.echo and self._body.logprobs is not None:
            for plan in plans:
                await self.score_prompt(plan.prompt)

    async def score_prompt(self, prompt: Prompt) -> None:
        """Score an echoed prompt under the base model."""
        engine = self._engine
        if engine.tokenizer is None:
            raise invalid("this engine has no tokenizer, so that it cannot echo text", "echo")
        scores = await engine.score(prompt.token_ids, 0, top_logprobs=self._body.logprobs or 0)
        pieces = pieces_of(engine.tokenizer, prompt.token_ids)
        self._echoed[prompt.token_ids] = scored_tokens(engine.tokenizer, scores, pieces, first_is_start=True)

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        plan = answer.plan
        text = answer.text
        offset = 0
        tokens = list(answer.tokens or ())
        if self._body.echo:
            text = plan.prompt.text + text
            offset = len(plan.prompt.text)
        logprobs = None
        if self._body.logprobs is not None:
            logprobs = self._with_prompt(plan.prompt, legacy(tokens, offset, self._body.logprobs))
        ids: dict[str, Any] = {}
        if self._body.return_token_ids:
            ids = {"prompt_token_ids": list(plan.prompt.token_ids), "token_ids": list(answer.particle.token_ids)}
        return {
            "index": index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": answer.finish_reason,
            **answer.numbers,
            **ids,
        }

    def response(self, choices: Sequence[Mapping[str, Any]], tail: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._head, "choices": list(choices), **tail}

    def scored(self, index: int, prompt: Prompt) -> dict[str, Any]:
        """The choice of a prompt that was scored and not continued."""
        empty = legacy((), len(prompt.text), 0)
        logprobs = None if self._body.logprobs is None else self._with_prompt(prompt, empty)
        ids: dict[str, Any] = {}
        if self._body.return_token_ids:
            ids = {"prompt_token_ids": list(prompt.token_ids), "token_ids": []}
        return {"index": index, "text": prompt.text, "logprobs": logprobs, "finish_reason": "length", **ids}

    def holds_back(self, index: int, text: str) -> bool:
        return False

    def framing(self, order: StreamOrder) -> Framing:
        return chunks_of(order)

    def opening(self, index: int, plan: Plan) -> dict[str, Any] | None:
        if not self._body.echo:
            return None
        self._begins[index] = len(plan.prompt.text)
        logprobs = None
        if self._body.logprobs is not None:
            logprobs = self._with_prompt(plan.prompt, legacy((), len(plan.prompt.text), 0))
        return self.chunk([self._part(index, plan.prompt.text, logprobs)], {})

    def delta(self, index: int, text: str, tokens: Sequence[ScoredToken], offset: int) -> dict[str, Any]:
        return self.chunk([self._part(index, text, self._logprobs(index, tokens, offset))], {})

    def closing(
        self, index: int, answer: Answer, rest: str, tokens: Sequence[ScoredToken], offset: int
    ) -> list[dict[str, Any]]:
        part = self._part(index, rest, self._logprobs(index, tokens, offset))
        return [self.chunk([{**part, "finish_reason": answer.finish_reason, **answer.numbers}], {})]

    def chunk(self, choices: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._head, "choices": list(choices), **extra}

    def _part(self, index: int, text: str, logprobs: dict[str, Any] | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": None}

    def _logprobs(self, index: int, tokens: Sequence[ScoredToken], offset: int) -> dict[str, Any] | None:
        k = self._body.logprobs
        return None if k is None else legacy(tokens, self._begins.get(index, 0) + offset, k)

    def _with_prompt(self, prompt: Prompt, logprobs: dict[str, Any]) -> dict[str, Any]:
        """The prompt's log-probabilities before those of the answer, where the prompt is echoed."""
        if not self._body.echo:
            return logprobs
        echoed = legacy(self._echoed[prompt.token_ids], 0, self._body.logprobs or 0)
        return {key: [*echoed[key], *logprobs[key]] for key in logprobs}


async def _score_only(
    request: Request,
    caller: Caller,
    operations: Operations,
    body: CompletionBody,
    form: CompletionFormat,
    prompts: Sequence[Prompt],
) -> Response:
    """``echo`` with ``max_tokens`` 0: the prompt's log-probabilities under the base model, without SMC."""
    if body.stream:
        raise invalid("a prompt that is only scored cannot be streamed: leave stream out", "stream")
    if body.draws > 1:
        raise invalid("a prompt that is only scored has one choice: leave n out", "n")

    async def score() -> None:
        for start in range(0, len(prompts) if body.logprobs is not None else 0, _SCORED_SIDE_BY_SIDE):
            some = prompts[start : start + _SCORED_SIDE_BY_SIDE]
            await together([form.score_prompt(prompt) for prompt in some])

    ticket = operations.work.enter(caller.owner, min(len(prompts), _SCORED_SIDE_BY_SIDE))
    await operations.work.answer(request, ticket, score())
    total = sum(len(prompt.token_ids) for prompt in prompts)
    choices = [form.scored(index, prompt) for index, prompt in enumerate(prompts)]
    return JSONResponse(form.response(choices, {"usage": token_usage(total, 0)}))
