"""Tool calls in a model's text: found, checked against the tools of the request, and shown as ``tool_calls``.

Two spellings cover the open models: ``<tool_call>{...}</tool_call>`` (Hermes, Qwen, SmolLM) with its parallel in a
list (``<tool_call>[{...}]</tool_call>``, also ``[TOOL_CALLS] [...]``), and an answer that is nothing but a JSON
object or list of ``{"name", "arguments" | "parameters"}`` (Llama 3, and everything that a grammar forces).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .messages import NamedTool
from .protocol import ChatBody
from .structured import only_form, response_form

MARKERS = ("<tool_call>", "[TOOL_CALLS]")

_HERMES = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)


@dataclass(frozen=True)
class Parsed:
    """An answer apart: its text, and the calls in it."""

    content: str | None
    calls: Sequence[Mapping[str, Any]]


class ToolParser:
    """Reads the calls of one request's answers."""

    def __init__(self, names: Sequence[str], *, forced: bool, parallel: bool) -> None:
        self._names = frozenset(names)
        self._forced = forced
        self._parallel = parallel

    @classmethod
    def of(cls, body: ChatBody) -> ToolParser | None:
        """The parser that ``body`` needs; None where it has no tools, or wants none called."""
        if not body.tools or body.tool_choice == "none":
            return None
        forced = body.tool_choice == "required" or isinstance(body.tool_choice, NamedTool)
        names = [tool.function.name for tool in body.tools]
        return cls(names, forced=forced, parallel=body.parallel_tool_calls is not False)

    def holds_back(self, text: str) -> bool:
        """Whether the whole text may yet turn out to be a call without a marker."""
        return self._forced or text.lstrip()[:1] in ("", "{", "[")

    def parse(self, text: str) -> Parsed:
        """The calls in ``text``. What looks like a call but names no tool of the request stays text."""
        starts = [at for at in (text.find(marker) for marker in MARKERS) if at >= 0]
        if starts:
            start = min(starts)
            calls = self._marked(text[start:])
            content = text[:start].strip()
        else:
            calls, content = self._bare(text), ""
        if not calls:
            return Parsed(text, ())
        return Parsed(content or None, calls if self._parallel else calls[:1])

    def _marked(self, text: str) -> list[dict[str, Any]]:
        if text.startswith("[TOOL_CALLS]"):
            return self._bare(text.removeprefix("[TOOL_CALLS]"))
        calls = []
        for found in _HERMES.finditer(text):
            calls += self._bare(found.group(1))
        return calls

    def _bare(self, text: str) -> list[dict[str, Any]]:
        try:
            value, _ = json.JSONDecoder().raw_decode(text.strip())
        except (ValueError, RecursionError):
            return []
        calls = [self._call(each) for each in (value if isinstance(value, list) else [value])]
        return [call for call in calls if call is not None]

    def _call(self, value: object) -> dict[str, Any] | None:
        if not isinstance(value, dict) or value.get("name") not in self._names:
            return None
        arguments = value.get("arguments", value.get("parameters", {}))
        if isinstance(arguments, str):
            text = arguments
        else:
            text = json.dumps(arguments, ensure_ascii=False)
        return {
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": value["name"], "arguments": text},
        }


def grammar_of(body: ChatBody) -> dict[str, Any] | None:
    """The grammar that a form field or a forced tool choice asks for. Raises APIError (400) for several at once."""
    forms = body.wanted_forms()
    form = response_form(body.response_format)
    if form is not None:
        forms.append(("response_format", form))
    forced = _forced_schema(body)
    if forced is not None:
        forms.append(("a forced tool_choice", {"json_schema": forced}))
    return only_form(forms)


def _forced_schema(body: ChatBody) -> dict[str, Any] | None:
    if not body.tools:
        return None
    if isinstance(body.tool_choice, NamedTool):
        named = [tool for tool in body.tools if tool.function.name == body.tool_choice.function.name]
        return _call_schema(named[0].function.name, named[0].function.parameters)
    if body.tool_choice != "required":
        return None
    calls = [_call_schema(tool.function.name, tool.function.parameters) for tool in body.tools]
    one = calls[0] if len(calls) == 1 else {"anyOf": calls}
    most = {"maxItems": 1} if body.parallel_tool_calls is False else {}
    return {"type": "array", "items": one, "minItems": 1, **most}


def _call_schema(name: str, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": parameters or {"type": "object"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
