"""The chunks of a chat's stream as the events of a response's, in OpenAI's order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sse_starlette import ServerSentEvent

from ...errors import APIError
from . import reply

Event = tuple[str, dict[str, Any]]


@dataclass
class _Open:
    """The item that text is being added to: an answer, or what is thought before it."""

    kind: str
    id: str
    text: str = ""
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """How the events of its text are called."""
        return "response.output_text" if self.kind == "message" else "response.reasoning_text"

    def item(self, status: str) -> dict[str, Any]:
        if self.kind == "message":
            return reply.text_message(self.text, self.logprobs, status, self.id)
        return reply.reasoning(self.text, status, self.id)


class ResponseEvents:
    """Reads the chunks of one chat choice."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = dict(head)
        self._begun = False
        self._failed = False
        self._sequence = 0
        self._done: list[dict[str, Any]] = []
        self._open: _Open | None = None
        self._reason = "stop"

    def chunk(self, chunk: Mapping[str, Any]) -> Iterable[ServerSentEvent]:
        """The events of a chunk."""
        return self._sent(self._of_chunk(chunk))

    def failure(self, error: APIError) -> Iterable[ServerSentEvent]:
        """The events of an error: ``error``, by both of its spellings, and the response that failed."""
        return self._sent(self._of_failure(error))

    def end(self) -> Iterable[ServerSentEvent]:
        """The last events: nothing comes after the response itself, ``[DONE]`` neither."""
        return self._sent(self._of_end())

    def _of_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._begin()
        told = chunk.get("smc") or {}
        if "progress" in told:
            yield "response.smc.progress", {"progress": told["progress"]}
        elif told:
            self._head["smc"] = told
        if chunk.get("usage"):
            self._head["usage"] = reply.usage_of(chunk["usage"])
        for choice in chunk["choices"]:
            yield from self._of_choice(choice)

    def _of_choice(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        delta = choice["delta"]
        if delta.get("reasoning_content"):
            yield from self._text("reasoning", delta["reasoning_content"], ())
        logprobs = (choice.get("logprobs") or {}).get("content") or ()
        if delta.get("content") or logprobs:
            yield from self._text("message", delta.get("content") or "", logprobs)
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)
        if choice["finish_reason"] is not None:
            self._reason = choice["finish_reason"]
            self._head |= {key: choice[key] for key in ("weight", "reward") if key in choice}

    def _of_failure(self, error: APIError) -> Iterator[Event]:
        yield from self._begin()
        self._failed = True
        told = error.body["error"]
        yield "error", {**told, "error": told}
        code = (
            "rate_limit_exceeded" if error.status == 429 else "invalid_prompt" if error.status < 500 else "server_error"
        )
        failed = {**self._head, "status": "failed", "error": {"code": code, "message": error.message}}
        yield "response.failed", {"response": {**failed, "output": list(self._done)}}

    def _of_end(self) -> Iterator[Event]:
        if self._failed:
            return
        yield from self._begin()
        if self._open is None and not self._has_answer:
            yield from self._start("message")
        yield from self._close("incomplete" if self._reason == "length" else "completed")
        response = reply.ended(self._head, self._done, self._reason)
        yield f"response.{response['status']}", {"response": response}

    @property
    def _has_answer(self) -> bool:
        return any(item["type"] != "reasoning" for item in self._done)

    def _begin(self) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            yield "response.created", {"response": dict(self._head)}
            yield "response.in_progress", {"response": dict(self._head)}

    def _text(self, kind: str, text: str, logprobs: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
        if self._open is None or self._open.kind != kind:
            yield from self._close("completed")
            yield from self._start(kind)
        assert self._open is not None
        self._open.text += text
        new = list(logprobs)
        self._open.logprobs += new
        beside = {"logprobs": reply.shown_logprobs(new)} if kind == "message" else {}
        yield f"{self._open.prefix}.delta", {**self._place, "delta": text, **beside}

    def _start(self, kind: str) -> Iterator[Event]:
        opened = self._open = _Open(kind, reply.new_id("msg" if kind == "message" else "rs"))
        item = opened.item("in_progress")
        (part,) = item["content"]
        yield "response.output_item.added", {"output_index": len(self._done), "item": {**item, "content": []}}
        yield "response.content_part.added", {**self._place, "part": part}

    def _close(self, status: str) -> Iterator[Event]:
        opened = self._open
        if opened is None:
            return
        item = opened.item(status)
        (part,) = item["content"]
        beside = {"logprobs": part["logprobs"]} if opened.kind == "message" else {}
        yield f"{opened.prefix}.done", {**self._place, "text": opened.text, **beside}
        yield "response.content_part.done", {**self._place, "part": part}
        yield "response.output_item.done", {"output_index": len(self._done), "item": item}
        self._done.append(item)
        self._open = None

    def _call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._close("completed")
        function = call["function"]
        item = reply.function_call(function, call["id"])
        place = {"output_index": len(self._done)}
        begun = {**item, "arguments": "", "status": "in_progress"}
        yield "response.output_item.added", {**place, "item": begun}
        told = {"item_id": item["id"], **place}
        yield "response.function_call_arguments.delta", {**told, "delta": item["arguments"]}
        done = {"name": item["name"], "arguments": item["arguments"]}
        yield "response.function_call_arguments.done", {**told, **done}
        yield "response.output_item.done", {**place, "item": item}
        self._done.append(item)

    @property
    def _place(self) -> dict[str, Any]:
        assert self._open is not None
        return {"item_id": self._open.id, "output_index": len(self._done), "content_index": 0}

    def _sent(self, events: Iterable[Event]) -> Iterator[ServerSentEvent]:
        for name, values in events:
            data = {**values, "type": name, "sequence_number": self._sequence}
            self._sequence += 1
            text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
            yield ServerSentEvent(text, event=name, sep="\n")
