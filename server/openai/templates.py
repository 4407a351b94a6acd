"""Chat messages to prompt tokens, by the model's own chat template, applied once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from smc_decode.answers.thinking import ThinkTags
from smc_decode.engines.base import Engine, Tokenizer

from ..errors import APIError, invalid, too_long
from ..runs.request import Prompt
from .messages import Message
from .protocol import ChatBody, CompletionBody, SamplingBody
from .thinking import thinking_of

# Arguments of the renderer itself: a client may set the template's variables, not these.
_RESERVED = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "max_length",
        "messages",
        "padding",
        "processor_kwargs",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
_LONG = 20_000  # characters beyond which tokenising leaves the event loop


async def completion_prompts(engine: Engine, body: CompletionBody, limit: int) -> list[Prompt]:
    """The prompts of a completion request, in order; ``limit``: how many there may be. Raises APIError (400)."""
    return [_truncated(engine, body, prompt) for prompt in await _completion_prompts(engine, body, limit)]


async def _completion_prompts(engine: Engine, body: CompletionBody, limit: int) -> list[Prompt]:
    given = body.prompt
    if isinstance(given, str):
        return [await _text_prompt(engine, body, given, "prompt")]
    if not given:
        raise invalid("prompt is empty: give a string, a list of strings, or token ids", "prompt", "empty_prompt")
    if isinstance(given[0], int):
        return [_token_prompt(engine, given, "prompt")]
    if len(given) > limit:
        raise invalid(f"prompt holds {len(given)} prompts: at most {limit} are allowed", "prompt")
    prompts = []
    for index, one in enumerate(given):
        name = f"prompt[{index}]"
        if isinstance(one, str):
            prompts.append(await _text_prompt(engine, body, one, name))
        else:
            prompts.append(_token_prompt(engine, one, name))  # type: ignore[arg-type]
    return prompts


async def chat_prompt(engine: Engine, body: ChatBody, tags: ThinkTags | None = None) -> Prompt:
    """The prompt of a chat request. ``tags``: the model's, if it thinks aloud. Raises APIError (400)."""
    tokenizer = tokenizer_of(engine, "messages")
    messages = [_plain(message, f"messages[{index}]") for index, message in enumerate(body.messages)]
    kwargs = _template_arguments(body)
    tools = None if body.tools is None or body.tool_choice == "none" else _tools(body)
    token_ids = await _render(tokenizer, messages, {**kwargs, "tools": tools} if tools else kwargs)
    if tools and token_ids == await _render(tokenizer, messages, kwargs):
        raise invalid("this model's chat template has no place for tools: leave tools out", "tools", "unsupported")
    if not token_ids:
        raise invalid("the messages make an empty prompt", "messages", "empty_prompt")
    continues = bool(body.continue_final_message)
    thinking = thinking_of(tags, tokenizer, token_ids, messages if continues else ())
    prompt = Prompt(tuple(token_ids), None, messages, "messages", tokenizer.decode, continues, thinking)
    return _truncated(engine, body, prompt)


def _truncated(engine: Engine, body: SamplingBody, prompt: Prompt) -> Prompt:
    """The prompt's last ``truncate_prompt_tokens`` tokens; -1: as many as the context holds beside ``max_tokens``.

    Raises APIError (400) for a prompt beyond the context, before anything decodes it.
    """
    prompt = _cut(engine, body, prompt)
    context = engine.info.max_model_len
    if context is not None and len(prompt.token_ids) > context:
        raise too_long(len(prompt.token_ids), context, prompt.name)
    return prompt


def _cut(engine: Engine, body: SamplingBody, prompt: Prompt) -> Prompt:
    most = body.truncate_prompt_tokens
    context = engine.info.max_model_len
    if most == -1:
        most = None if context is None else max(1, context - (body.limit or 1))
    if most is None or len(prompt.token_ids) <= most:
        return prompt
    decode = None if engine.tokenizer is None else engine.tokenizer.decode
    return replace(prompt, token_ids=prompt.token_ids[-most:], written=None, decode=decode)


def _template_arguments(body: ChatBody) -> dict[str, Any]:
    extra = dict(body.chat_template_kwargs or {})
    reserved = sorted(_RESERVED & set(extra))
    if reserved:
        raise invalid(f"chat_template_kwargs may not set {reserved[0]}", f"chat_template_kwargs.{reserved[0]}")
    if body.reasoning_effort is not None:
        extra.setdefault("reasoning_effort", body.reasoning_effort)
    continues = bool(body.continue_final_message)
    if continues and body.messages[-1].role != "assistant":
        raise invalid("continue_final_message needs a last message of role assistant", "continue_final_message")
    begins = not continues if body.add_generation_prompt is None else body.add_generation_prompt
    extra["add_generation_prompt"] = begins
    if continues:
        extra["continue_final_message"] = True
    return extra


async def _render(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any]) -> list[int]:
    size = sum(len(str(message.get("content"))) for message in messages)
    try:
        if size > _LONG:
            return list(await asyncio.to_thread(tokenizer.apply_chat_template, messages, **kwargs))
        return list(tokenizer.apply_chat_template(messages, **kwargs))
    except Exception as error:
        raise invalid(f"the model's chat template refuses these messages: {error}", "messages", "template") from None


def _plain(message: Message, where: str) -> dict[str, Any]:
    """A message as chat templates read it: text content, ``developer`` as ``system``, arguments as objects."""
    plain: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    plain["content"] = _text(message, where)
    for key in ("name", "tool_call_id"):
        value = getattr(message, key)
        if value is not None:
            plain[key] = value
    thought = message.reasoning_content if message.reasoning is None else message.reasoning
    if thought is not None:
        plain["reasoning_content"] = thought
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.function.name,
                    "arguments": _arguments(call.function.arguments),
                },
            }
            for call in message.tool_calls
        ]
    return plain


def _text(message: Message, where: str) -> str:
    content = message.content
    if content is None:
        return message.refusal or ""
    if isinstance(content, str):
        return content
    if not content:
        raise invalid(f"{where}.content is an empty list: give a string or text parts", f"{where}.content")
    texts = []
    for index, part in enumerate(content):
        place = f"{where}.content[{index}]"
        kind = part.get("type")
        if kind not in ("text", "refusal") or (kind == "refusal" and message.role != "assistant"):
            raise invalid(f"{place}.type: {kind!r} is not supported; only text parts are", f"{place}.type")
        text = part.get(kind)
        if not isinstance(text, str):
            raise invalid(f"{place}.{kind} must be a string", f"{place}.{kind}")
        texts.append(text)
    return "".join(texts)


def _arguments(text: str) -> dict[str, Any] | str:
    """A call's arguments: an object for the template, or the text where a model wrote what is no JSON object."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _tools(body: ChatBody) -> list[dict[str, Any]]:
    return [tool.model_dump(exclude_none=True) for tool in body.tools or ()]


async def _text_prompt(engine: Engine, body: CompletionBody, text: str, name: str) -> Prompt:
    if not text:
        raise invalid(f"{name} is empty: give some text, or token ids", name, "empty_prompt")
    tokenizer = tokenizer_of(engine, name)
    special = body.add_special_tokens is not False
    if len(text) > _LONG:
        token_ids = await asyncio.to_thread(tokenizer.encode, text, add_special_tokens=special)
    else:
        token_ids = tokenizer.encode(text, add_special_tokens=special)
    if not token_ids:
        raise invalid(f"{name} has no tokens in this model's vocabulary", name, "empty_prompt")
    return Prompt(tuple(token_ids), text, None, name)


def _token_prompt(engine: Engine, token_ids: Sequence[int], name: str) -> Prompt:
    if not token_ids:
        raise invalid(f"{name} holds no tokens", name, "empty_prompt")
    size = engine.info.vocab_size
    largest = max(token_ids)
    if largest >= size:
        raise invalid(f"{name}: token {largest} is outside the model's vocabulary of {size}", name)
    decode = None if engine.tokenizer is None else engine.tokenizer.decode
    return Prompt(tuple(token_ids), None, None, name, decode)


def tokenizer_of(engine: Engine, name: str) -> Tokenizer:
    if engine.tokenizer is None:
        raise APIError(400, "this engine has no tokenizer: send token ids", code="no_tokenizer", param=name)
    return engine.tokenizer
