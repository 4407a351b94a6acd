"""What all operations do once a request is understood: plan it, wait for slots, run, answer whole or as a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from smc_decode.answers.thinking import ThinkTags
from smc_decode.engines.base import Engine

from ..edge.gate import Caller
from ..edge.work import Work
from ..errors import invalid
from ..runs.plan import Planner, Plans
from ..runs.request import Origin, Prompt
from ..runs.runner import Runner
from .fields import run_request
from .protocol import SamplingBody
from .replies import draws, make_answer, tail, warning_headers
from .sse import StreamedReply
from .streaming import StreamFormat, StreamOrder, produce


class Operations:
    """What the routes of operations share."""

    def __init__(
        self,
        engine: Engine,
        planner: Planner,
        runner: Runner,
        work: Work,
        *,
        max_prompts: int,
        keep_alive_s: float,
        tags: ThinkTags | None = None,
    ) -> None:
        self.engine = engine
        self.work = work
        self.max_prompts = max_prompts
        self.tags = tags
        self._planner = planner
        self._runner = runner
        self._keep_alive_s = keep_alive_s

    async def plan(
        self, caller: Caller, body: SamplingBody, prompts: Sequence[Prompt], grammar: Mapping[str, Any] | None
    ) -> Plans:
        """The runs of ``body``. Raises APIError (400, 404)."""
        return await self._planner.plan(
            run_request(self.engine, body, grammar), prompts, local=caller.is_local, owner=caller.owner
        )

    async def answer(
        self, request: Request, caller: Caller, body: SamplingBody, plans: Plans, form: StreamFormat
    ) -> Response:
        """Run ``plans`` and answer in ``form``. Raises APIError (429, 503, 504) and the sampler's own errors."""
        origin = Origin(caller.owner, body.model, request.headers)
        ticket = self.work.enter(caller.owner, self._runner.slots(plans.runs))
        headers = warning_headers(plans.warnings)
        keep_stop = bool(body.include_stop_str_in_output)
        if body.stream:
            order = StreamOrder(
                include_usage=body.include_usage,
                running_usage=body.running_usage,
                token_ids=bool(body.return_token_ids),
                keep_stop=keep_stop,
            )
            chunks = produce(self.engine, self._runner, plans, origin, form, order)
            return StreamedReply(chunks, self.work, ticket, form.framing(order), self._keep_alive_s, headers)

        async def whole() -> Response:
            await form.prepare(plans.runs)
            ended = await self._runner.run(plans.runs, origin, store=plans.options.trace)
            choices: list[dict[str, Any]] = []
            for each in ended:
                for particle in draws(each):
                    answer = await make_answer(self.engine, each.plan, particle, form.logprobs, keep_stop=keep_stop)
                    choices.append(form.choice(len(choices), answer))
            return JSONResponse(form.response(choices, tail(ended)), headers=headers)

        return await self.work.answer(request, ticket, whole())

    def check(self, body: SamplingBody) -> None:
        """Look at a request that needs no run. Raises APIError (400, 404)."""
        self._planner.check(run_request(self.engine, body))

    def check_logprobs(self, wanted: int | None, param: str) -> None:
        """Raises APIError (400) where the engine cannot show as many alternatives."""
        most = self.engine.info.max_logprobs
        if wanted is not None and wanted > most:
            raise invalid(f"{param}: this engine shows at most {most} alternatives", param)
