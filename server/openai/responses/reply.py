"""A chat's answer as a response object: its head, its items and its usage."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from .body import ResponsesBody


def new_id(kind: str) -> str:
    """An identifier as OpenAI spells it: ``msg_...``."""
    return f"{kind}_{uuid.uuid4().hex}"


def head_of(body: ResponsesBody) -> dict[str, Any]:
    """A response that has begun: what was asked, and no output yet."""
    text = {} if body.text is None else body.text.model_dump(by_alias=True, exclude_none=True)
    choice = body.tool_choice if isinstance(body.tool_choice, str) else None
    if body.tool_choice is not None and choice is None:
        shown: Any = body.tool_choice.model_dump()  # type: ignore[union-attr]  # no string
    else:
        shown = choice or "auto"
    reasoning = body.reasoning
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "metadata": dict(body.metadata or {}),
        "model": body.model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "prompt_cache_key": body.prompt_cache_key,
        "reasoning": {"effort": None if reasoning is None else reasoning.effort, "summary": None},
        "safety_identifier": body.safety_identifier,
        "service_tier": "default",
        "store": False,
        "temperature": body.temperature,
        "text": {"format": {"type": "text"}, **text},
        "tool_choice": shown,
        "tools": [_tool(tool.model_dump()) for tool in body.tools or ()],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": body.user,
    }


def ended(head: Mapping[str, Any], output: Sequence[Mapping[str, Any]], reason: str) -> dict[str, Any]:
    """The response with its output. ``reason``: chat's ``finish_reason``."""
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    whole = {"status": "completed", "completed_at": int(time.time())}
    return {**head, **(cut if reason == "length" else whole), "output": list(output)}


def output_of(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a whole chat choice: what was thought, the message, the calls."""
    message = choice["message"]
    status = "incomplete" if choice["finish_reason"] == "length" else "completed"
    calls = message.get("tool_calls") or ()
    items = []
    if message.get("reasoning_content"):
        items.append(reasoning(message["reasoning_content"]))
    if message["content"] or not calls:
        logprobs = choice.get("logprobs") or {}
        items.append(text_message(message["content"] or "", logprobs.get("content") or (), status))
    return items + [function_call(call["function"], call["id"]) for call in calls]


def reasoning(text: str, status: str = "completed", item_id: str | None = None) -> dict[str, Any]:
    """The item of what was thought, in plain text."""
    content = [{"type": "reasoning_text", "text": text}]
    return {"id": item_id or new_id("rs"), "type": "reasoning", "summary": [], "content": content, "status": status}


def text_message(
    text: str, logprobs: Sequence[Mapping[str, Any]], status: str, item_id: str | None = None
) -> dict[str, Any]:
    """The item of an answer."""
    return {
        "id": item_id or new_id("msg"),
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [text_part(text, logprobs)],
    }


def text_part(text: str, logprobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The text of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": shown_logprobs(logprobs)}


def shown_logprobs(logprobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Chat's log-probabilities; ``bytes`` are a list here, empty for a special token."""
    return [
        {
            **token,
            "bytes": token["bytes"] or [],
            "top_logprobs": [{**top, "bytes": top["bytes"] or []} for top in token["top_logprobs"]],
        }
        for token in logprobs
    ]


def function_call(
    function: Mapping[str, Any], call_id: str, status: str = "completed", item_id: str | None = None
) -> dict[str, Any]:
    """The item of a call."""
    return {
        "id": item_id or new_id("fc"),
        "type": "function_call",
        "call_id": call_id,
        "name": function["name"],
        "arguments": function["arguments"],
        "status": status,
    }


def usage_of(chat: Mapping[str, Any]) -> dict[str, Any]:
    """Chat's usage by the names of a response's."""
    details = chat.get("completion_tokens_details") or {}
    return {
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": details.get("reasoning_tokens", 0)},
        "total_tokens": chat["total_tokens"],
        "smc": chat["smc"],
    }


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {**tool, "strict": tool["strict"] is True}
