"""``GET /v1/smc/runs/{id}`` and ``/events``: runs that were stored with ``smc.trace``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import JSONResponse, Response, StreamingResponse

from ..edge.gate import From
from .store import Traces


def router(traces: Traces) -> APIRouter:
    """The routes of stored runs."""
    routes = APIRouter()

    @routes.get("/v1/smc/runs/{run_id}")
    async def stored_run(caller: From, run_id: str) -> Response:
        """What was asked, and the result (null where the run did not end well)."""
        head: dict[str, object] = {}
        result = None
        count = 0
        for line in traces.lines(run_id, caller.owner):
            event = json.loads(line)
            count += 1
            if event["event"] == "Head":
                head = {key: value for key, value in event.items() if key not in ("event", "owner")}
            elif event["event"] == "Finished":
                result = {key: value for key, value in event.items() if key != "event"}
        return JSONResponse({"object": "smc.run", **head, "events": count - 1, "result": result})

    @routes.get("/v1/smc/runs/{run_id}/events")
    async def stored_events(request: Request, caller: From, run_id: str) -> Response:
        """The run's events in order: JSON lines, or server-sent events for a client that accepts those."""
        lines = traces.lines(run_id, caller.owner)
        next(lines, None)  # the head
        if "text/event-stream" in request.headers.get("accept", ""):
            return EventSourceResponse(_sse(lines), ping=15, sep="\n")
        return StreamingResponse((f"{line}\n" for line in lines), media_type="application/x-ndjson")

    return routes


def _sse(lines: Iterator[str]) -> Iterator[ServerSentEvent]:
    for line in lines:
        yield ServerSentEvent(line, sep="\n")
    yield ServerSentEvent("[DONE]", sep="\n")
