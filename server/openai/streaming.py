"""Answers as server-sent events.

Text is sent once every surviving particle agrees on it and nothing can change it any more (``stream_mode``
``commit``), or at the end (``final``). Comments keep the connection alive from the first moment on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from sse_starlette import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
from starlette.types import Receive, Scope, Send

from server.edge.admission import Ticket
from server.openai.errors import translate
from server.openai.logprobs import ScoredToken
from server.openai.replies import Answer, Format, draws, finish_reason, score, smc, usage
from server.openai.text import ShownText
from server.openai.tools import MARKERS, ToolParser
from server.runs.batch import Batch, Ended, decoder, within_deadline
from server.runs.plan import Plan
from server.runs.services import Services
from server.runs.wire import event_json
from smc_decode.events import Committed, Event, Finished
from smc_decode.result import Particle

Emit = Callable[[Mapping[str, Any]], Awaitable[None]]

_SEND_TIMEOUT = 60.0  # seconds that a client may leave its connection unread
_AHEAD = 64  # chunks that may wait for a slow reader


class StreamFormat(Format, Protocol):
    """How an operation shows parts of answers."""

    tools: ToolParser | None

    def opening(self, index: int, plan: Plan) -> dict[str, Any] | None:
        """The chunk that begins a choice, if there is one."""
        ...

    def delta(self, index: int, text: str, tokens: Sequence[ScoredToken], offset: int) -> dict[str, Any]:
        """More text of a choice; ``offset``: how long the text before it is."""
        ...

    def closing(
        self, index: int, answer: Answer, rest: str, tokens: Sequence[ScoredToken], offset: int
    ) -> list[dict[str, Any]]:
        """The chunks that end a choice; ``rest``: text that was kept back until now."""
        ...

    def chunk(self, choices: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> dict[str, Any]:
        """A chunk around choices."""
        ...


class StreamedReply(EventSourceResponse):
    """A stream whose ticket is given back whatever becomes of it."""

    def __init__(self, content: AsyncIterator[ServerSentEvent], ticket: Ticket, keep_alive_s: float) -> None:
        super().__init__(
            content,
            ping=keep_alive_s,
            ping_message_factory=lambda: ServerSentEvent(comment="keep-alive", sep="\n"),
            sep="\n",
            send_timeout=_SEND_TIMEOUT,
        )
        self._ticket = ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ticket.close()


def stream(
    batch: Batch,
    form: StreamFormat,
    ticket: Ticket,
    *,
    mode: str,
    progress: bool,
    include_usage: bool,
    return_token_ids: bool,
) -> StreamedReply:
    """The response that streams ``batch``'s answers."""
    services = batch.services

    async def produce(emit: Emit) -> None:
        async with ticket:
            writer = _Writer(services, batch, form, emit, mode, progress, return_token_ids)
            await form.prepare(batch.plans)
            await writer.open()
            ended = await batch.run(writer.read, writer.close)
        if include_usage:
            await emit(form.chunk([], {"usage": usage(ended)}))

    extra = {"usage": None} if include_usage else {}
    events = _events(lambda emit: within_deadline(services, produce(emit)), extra)
    return StreamedReply(events, ticket, services.settings.keep_alive_s)


async def _events(
    produce: Callable[[Emit], Awaitable[None]], extra: Mapping[str, Any]
) -> AsyncIterator[ServerSentEvent]:
    """What ``produce`` emits, then ``[DONE]``; an error of its is the last event before that."""
    queue: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue(_AHEAD)

    async def work() -> None:
        try:
            await produce(queue.put)
        except Exception as error:
            await queue.put(translate(error).body)
        await queue.put(None)

    yield ServerSentEvent(comment="keep-alive", sep="\n")
    task = asyncio.ensure_future(work())
    try:
        while (chunk := await queue.get()) is not None:
            body = chunk if "error" in chunk else {**extra, **chunk}
            yield JSONServerSentEvent(body, sep="\n")
        yield ServerSentEvent("[DONE]", sep="\n")
    finally:
        task.cancel()


class _Writer:
    """Reads the runs' events and writes chunks."""

    def __init__(
        self,
        services: Services,
        batch: Batch,
        form: StreamFormat,
        emit: Emit,
        mode: str,
        progress: bool,
        return_token_ids: bool,
    ) -> None:
        self._services = services
        self._form = form
        self._emit = emit
        self._commits = mode == "commit"
        self._progress = progress
        self._choices = [
            [
                _Choice(services, plan, form, emit, index=sum(p.n for p in batch.plans[:i]) + j, ids=return_token_ids)
                for j in range(plan.n)
            ]
            for i, plan in enumerate(batch.plans)
        ]

    async def open(self) -> None:
        for choices in self._choices:
            for choice in choices:
                await choice.open()

    async def read(self, index: int, event: Event) -> None:
        if self._progress and not isinstance(event, Finished):
            told = event_json(event, decoder(self._services))
            await self._emit(self._form.chunk([], {"smc": {"progress": {"prompt": index, **told}}}))
        if isinstance(event, Committed) and self._commits:
            for choice in self._choices[index]:
                await choice.commit(event.token_ids)

    async def close(self, index: int, ended: Ended) -> None:
        """End a run's choices; the last chunk of the last one carries the numbers of the run."""
        particles = draws(ended)
        for j, (choice, particle) in enumerate(zip(self._choices[index], particles, strict=True)):
            numbers = {"smc": smc([ended])} if j == len(particles) - 1 else {}
            await choice.close(particle, numbers)


class _Choice:
    """One choice of the stream: what was sent of it."""

    def __init__(
        self, services: Services, plan: Plan, form: StreamFormat, emit: Emit, *, index: int, ids: bool
    ) -> None:
        self._services = services
        self._plan = plan
        self._form = form
        self._emit = emit
        self._index = index
        self._ids = ids
        tokenizer = services.engine.tokenizer
        markers = MARKERS if form.tools is not None else ()
        decode = (lambda _: "") if tokenizer is None else tokenizer.decode
        self._shown = ShownText(decode, plan.config.stop, markers)
        self._sent = ""
        self._kept = ""
        self._token_ids: tuple[int, ...] = ()
        self._told = 0
        self._scored: deque[ScoredToken] = deque()
        self._offset = 0

    async def open(self) -> None:
        chunk = self._form.opening(self._index, self._plan)
        if chunk is not None:
            await self._send(chunk)

    async def commit(self, token_ids: Sequence[int]) -> None:
        """Tokens that will not change any more."""
        await self._score(tuple(token_ids))
        self._kept += self._shown.feed(token_ids)
        tools = self._form.tools
        if tools is not None and tools.holds_back(self._sent + self._kept):
            return
        text, self._kept = self._kept, ""
        offset = len(self._sent)
        self._sent += text
        tokens = self._tokens_up_to(len(self._sent))
        if text or tokens:
            await self._send(self._form.delta(self._index, text, tokens, offset))

    async def close(self, particle: Particle, numbers: Mapping[str, Any]) -> None:
        """The finished particle: all that is left of it, and ``numbers`` on the last chunk."""
        if particle.token_ids[: len(self._token_ids)] != self._token_ids:
            raise RuntimeError("the answer does not continue what was committed")
        await self._score(particle.token_ids)
        rest = self._kept + self._shown.end(particle.token_ids)
        offset = len(self._sent)
        self._sent += rest
        tokens = list(self._scored)
        if self._shown.stopped:
            tokens = self._tokens_up_to(len(self._sent), begun=True)
        reason = finish_reason(particle, self._shown.stopped)
        answer = Answer(particle, self._shown.text, reason, None, self._plan)
        *chunks, last = self._form.closing(self._index, answer, rest, tokens, offset)
        for chunk in chunks:
            await self._send(chunk)
        await self._send({**last, **numbers})

    async def _score(self, token_ids: tuple[int, ...]) -> None:
        logprobs = self._form.logprobs
        start, self._token_ids = len(self._token_ids), token_ids
        if logprobs is None or start >= len(token_ids):
            return
        pieces = ShownText(self._services.engine.tokenizer.decode) if self._services.engine.tokenizer else None
        if pieces is not None:
            pieces.end(token_ids)
            self._scored += await score(self._services, self._plan, token_ids, start, pieces.pieces, logprobs)

    def _tokens_up_to(self, length: int, begun: bool = False) -> list[ScoredToken]:
        """Scored tokens whose text ends (``begun``: begins) within the first ``length`` characters."""
        taken = []
        while self._scored:
            end = self._offset + len(self._scored[0].piece)
            if (self._offset if begun else end) >= length + (0 if begun else 1):
                break
            taken.append(self._scored.popleft())
            self._offset = end
        return taken

    async def _send(self, chunk: dict[str, Any]) -> None:
        if self._ids and chunk["choices"]:
            chunk["choices"][0]["token_ids"] = list(self._token_ids[self._told :])
            self._told = len(self._token_ids)
        await self._emit(chunk)
