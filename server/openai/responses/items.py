"""The items of a response's input as chat messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import APIError, invalid

_TEXTS = ("input_text", "output_text", "text")
_UNREAD = {
    "input_image": "images cannot be read",
    "input_file": "files cannot be read",
    "input_audio": "sound cannot be heard",
}


def messages_of(given: str | Sequence[Mapping[str, Any]], instructions: str | None) -> list[dict[str, Any]]:
    """The messages of a chat that says the same. Raises APIError (400) that names the item."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    thought: str | None = None
    for index, item in enumerate(given):
        where = f"input[{index}]"
        kind = item.get("type", "message")
        if kind == "reasoning":
            thought = _reasoning(item, where)
            continue
        read = _READERS.get(kind) if isinstance(kind, str) else None
        if read is None:
            raise _unknown(kind, where)
        message = read(item, where)
        if message["role"] == "assistant" and thought:
            message["reasoning_content"], thought = thought, None
        _append(messages, message)
    if not messages:
        raise invalid("input holds no message: give some text", "input", "empty_prompt")
    return messages


def _append(messages: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """A call goes into the assistant's message before it, as chat has it."""
    last = messages[-1] if messages else None
    if last is not None and last["role"] == "assistant" and message.get("tool_calls"):
        last["tool_calls"] = [*last.get("tool_calls", ()), *message["tool_calls"]]
        if "reasoning_content" in message:
            last.setdefault("reasoning_content", message["reasoning_content"])
        return
    messages.append(message)


def _message(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    role = item.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        raise invalid(f"{where}.role must be user, assistant, system or developer, got {role!r}", f"{where}.role")
    _only(item, where, "type", "role", "content", "id", "status", "phase")
    return {"role": role, "content": _text(item.get("content"), f"{where}.content")}


def _call(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    _only(item, where, "type", "id", "call_id", "name", "arguments", "status", "namespace", "caller", "async")
    values = {key: item.get(key) for key in ("call_id", "name", "arguments")}
    for key, value in values.items():
        if not isinstance(value, str):
            raise invalid(f"{where}.{key} must be a string", f"{where}.{key}")
    function = {"name": values["name"], "arguments": values["arguments"]}
    return {"role": "assistant", "tool_calls": [{"id": values["call_id"], "function": function}]}


def _output(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    _only(item, where, "type", "id", "call_id", "output", "status", "name", "namespace", "caller")
    call_id = item.get("call_id")
    if not isinstance(call_id, str):
        raise invalid(f"{where}.call_id must be a string", f"{where}.call_id")
    return {"role": "tool", "tool_call_id": call_id, "content": _text(item.get("output"), f"{where}.output")}


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
}


def _reasoning(item: Mapping[str, Any], where: str) -> str | None:
    """What was thought, where it is in plain text: a model here can make nothing of a summary alone, or of a cipher."""
    _only(item, where, "type", "id", "summary", "content", "encrypted_content", "status")
    parts = item.get("content") or []
    if not isinstance(parts, list) or not all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in parts):
        raise invalid(f"{where}.content must be a list of reasoning_text parts", f"{where}.content")
    return "".join(part["text"] for part in parts) or None


def _text(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise invalid(f"{where} must be a string, or a list of text parts", where)
    return "".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: object, where: str) -> str:
    if not isinstance(part, dict):
        raise invalid(f"{where} must be an object", where)
    kind = part.get("type")
    if kind in _UNREAD:
        raise invalid(f"{where}: {_UNREAD[kind]} by this model; give text", f"{where}.type", "unsupported")
    if kind not in (*_TEXTS, "refusal"):
        raise invalid(f"{where}.type: {kind!r} is not known; give input_text or output_text", f"{where}.type")
    name = "refusal" if kind == "refusal" else "text"
    text = part.get(name)
    if not isinstance(text, str):
        raise invalid(f"{where}.{name} must be a string", f"{where}.{name}")
    return text


def _only(item: Mapping[str, Any], where: str, *names: str) -> None:
    for key, value in item.items():
        if key not in names and value is not None:
            place = f"{where}.{key}"
            raise invalid(f"{place} is not a field of this item; allowed: {', '.join(names)}", place, "unknown_field")


def _unknown(kind: object, where: str) -> APIError:
    place = f"{where}.type"
    if kind == "item_reference":
        message = (
            f"{where}: an item_reference points to what was stored, and nothing is stored here: send the item itself "
            "(the AI SDK does with providerOptions.openai.store: false)"
        )
        return invalid(message, place, "unsupported")
    known = ", ".join((*_READERS, "reasoning"))
    return invalid(f"{place}: {kind!r} is not supported; allowed: {known}", place, "unsupported")
