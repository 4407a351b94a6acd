"""What both operations do once a request is understood: wait for slots, run, and answer whole or as a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from server.edge.disconnect import while_connected
from server.openai.errors import invalid
from server.openai.protocol import SamplingBody
from server.openai.replies import draws, make_answer, tail
from server.openai.streaming import StreamFormat, stream
from server.runs.batch import Batch, within_deadline
from server.runs.plan import Orders, Plan
from server.runs.services import Services


async def answer_request(
    request: Request,
    served: Services,
    owner: str,
    body: SamplingBody,
    orders: Orders,
    plans: Sequence[Plan],
    form: StreamFormat,
) -> Response:
    """Run ``plans`` and answer in ``form``. Raises APIError (429, 503, 504) and the sampler's own errors."""
    batch = Batch(served, plans, owner, body.model, request.headers, orders.fields.trace)
    ticket = served.admission.enter(owner, batch.slots)
    if body.stream:
        return stream(
            batch,
            form,
            ticket,
            mode=orders.fields.stream_mode,
            progress=orders.fields.stream_progress,
            include_usage=body.include_usage,
            return_token_ids=bool(body.return_token_ids),
        )

    async def work() -> Response:
        async with ticket:
            await form.prepare(plans)
            ended = await batch.run()
            choices: list[dict[str, Any]] = []
            for each in ended:
                for particle in draws(each):
                    answer = await make_answer(served, each.plan, particle, form.logprobs)
                    choices.append(form.choice(len(choices), answer))
            return JSONResponse(form.response(choices, tail(ended)))

    try:
        return await while_connected(request, within_deadline(served, work()))
    finally:
        ticket.close()


def check_logprobs(served: Services, wanted: int | None, param: str) -> None:
    """Raises APIError (400) where the engine cannot show as many alternatives."""
    most = served.engine.info.max_logprobs
    if wanted is not None and wanted > most:
        raise invalid(f"{param}: this engine shows at most {most} alternatives", param)
