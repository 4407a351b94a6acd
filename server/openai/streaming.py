"""Answers in pieces.

Text is sent once every surviving particle agrees on it and nothing can change it any more (``stream_mode``
``commit``), or at the end (``final``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from smc_decode.engines.base import Engine
from smc_decode.events import Committed, Event, Finished
from smc_decode.result import Particle

from ..runs.plan import Plan, Plans
from ..runs.request import Origin
from ..runs.runner import Ended, Runner
from ..runs.wire import event_json
from .logprobs import ScoredToken
from .replies import Answer, Format, begins, draws, finish_reason, smc, token_usage, usage
from .scoring import score_answer
from .sse import ChunkFraming, Emit, Framing, Produce
from .text import ShownText


@dataclass(frozen=True)
class StreamOrder:
    """What a request wants of its stream."""

    include_usage: bool = False
    """A last chunk with the usage of all."""
    running_usage: bool = False
    """In every chunk, what was told so far."""
    token_ids: bool = False
    keep_stop: bool = False


class StreamFormat(Format, Protocol):
    """How an operation shows parts of answers."""

    markers: Sequence[str]
    """From which of these on the text of an answer is kept for its end."""

    def holds_back(self, index: int, text: str) -> bool:
        """Whether the text of a choice so far may turn out to be something else than text."""
        ...

    def framing(self, order: StreamOrder) -> Framing:
        """How the chunks of one stream become events."""
        ...

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


def chunks_of(order: StreamOrder) -> Framing:
    """The framing of OpenAI's chunks."""
    return ChunkFraming({"usage": None} if order.include_usage else {})


def produce(
    engine: Engine, runner: Runner, plans: Plans, origin: Origin, form: StreamFormat, order: StreamOrder
) -> Produce:
    """Runs ``plans`` and emits chunks."""

    async def work(emit: Emit) -> None:
        writer = _Writer(engine, plans, form, order, emit)
        await form.prepare(plans.runs)
        await writer.open()
        ended = await runner.run(
            plans.runs, origin, store=plans.options.trace, on_event=writer.read, on_end=writer.close
        )
        if order.include_usage:
            await emit(form.chunk([], {"usage": usage(ended)}))

    return work


class _Writer:
    """Reads the runs' events and writes chunks."""

    def __init__(self, engine: Engine, plans: Plans, form: StreamFormat, order: StreamOrder, emit: Emit) -> None:
        self._engine = engine
        self._form = form
        self._options = plans.options
        self._running_usage = order.running_usage
        self._downstream = emit
        self._prompt_tokens = sum(len(plan.prompt.token_ids) for plan in plans.runs)
        self._choices: list[list[_Choice]] = []
        count = 0
        for plan in plans.runs:
            indices = range(count, count + plan.n)
            self._choices.append([_Choice(engine, plan, form, order, self._emit, index) for index in indices])
            count += plan.n

    async def open(self) -> None:
        for choices in self._choices:
            for choice in choices:
                await choice.open()

    async def read(self, index: int, event: Event) -> None:
        if self._options.stream_progress and not isinstance(event, Finished):
            tokenizer = self._engine.tokenizer
            told = event_json(event, None if tokenizer is None else tokenizer.decode)
            await self._emit(self._form.chunk([], {"smc": {"progress": {"prompt": index, **told}}}))
        if isinstance(event, Committed) and self._options.stream_mode == "commit":
            for choice in self._choices[index]:
                await choice.commit(event.token_ids, event.logprobs)

    async def close(self, index: int, ended: Ended) -> None:
        """End a run's choices; the last chunk of the last one carries the numbers of the run."""
        particles = draws(ended)
        for j, (choice, particle) in enumerate(zip(self._choices[index], particles, strict=True)):
            numbers = {"smc": smc([ended])} if j == len(particles) - 1 else {}
            await choice.close(particle, numbers)

    async def _emit(self, chunk: Mapping[str, Any]) -> None:
        if self._running_usage:
            told = sum(choice.told for choices in self._choices for choice in choices)
            chunk = {**chunk, "usage": token_usage(self._prompt_tokens, told)}
        await self._downstream(chunk)


class _Choice:
    """One choice of the stream: what was sent of it."""

    def __init__(
        self, engine: Engine, plan: Plan, form: StreamFormat, order: StreamOrder, emit: Emit, index: int
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._form = form
        self._emit = emit
        self._index = index
        self._ids = order.token_ids
        tokenizer = engine.tokenizer
        decode = (lambda _: "") if tokenizer is None else tokenizer.decode
        self._shown = ShownText(decode, plan.config.stop, form.markers, keep_stop=order.keep_stop, begins=begins(plan))
        self._sent = ""
        self._kept = ""
        self._token_ids: tuple[int, ...] = ()
        self._scored: deque[ScoredToken] = deque()
        self._offset = 0
        self.told = 0
        """Tokens that the client was told of."""

    async def open(self) -> None:
        chunk = self._form.opening(self._index, self._plan)
        if chunk is not None:
            await self._send(chunk)

    async def commit(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """Tokens that will not change any more, and their log-probabilities if they are known."""
        self._kept += self._shown.feed(token_ids)
        await self._score(tuple(token_ids), logprobs)
        if self._form.holds_back(self._index, self._sent + self._kept):
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
        rest = self._kept + self._shown.end(particle.token_ids)
        await self._score(particle.token_ids, particle.logprobs)
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

    async def _score(self, token_ids: tuple[int, ...], carried: Sequence[float] = ()) -> None:
        start, self._token_ids = len(self._token_ids), token_ids
        alternatives = self._form.logprobs
        if alternatives is not None:
            prompt, pieces = self._plan.prompt, self._shown.pieces
            scored = await score_answer(self._engine, prompt, token_ids, start, pieces, alternatives, carried)
            self._scored += scored

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
        if chunk["choices"]:
            if self._ids:
                chunk["choices"][0]["token_ids"] = list(self._token_ids[self.told :])
            self.told = len(self._token_ids)
        await self._emit(chunk)
