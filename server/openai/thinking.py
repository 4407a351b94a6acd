"""Which models think aloud, and whether a prompt has begun the thought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smc_decode.answers.thinking import Thinking, ThinkTags, tags_of
from smc_decode.engines.base import Tokenizer

from ..settings import ConfigError, ServerSettings

_TAIL = 32  # tokens that hold a tag and the space around it


def think_tags(tokenizer: Tokenizer | None, settings: ServerSettings) -> ThinkTags | None:
    """The model's tags: the operator's, or those of its chat template; None where it does not think aloud.

    Raises ConfigError: the operator's tags are special tokens, which no text shows.
    """
    wanted = settings.think_tags
    if tokenizer is None or wanted == "none":
        return None
    if wanted == "auto":
        tags = tags_of(str(getattr(tokenizer, "chat_template", "") or ""))
        return tags if tags is not None and _shown(tokenizer, tags) else None
    tags = ThinkTags(*wanted)
    if not _shown(tokenizer, tags):
        raise ConfigError(
            f"think_tags: this model's tokenizer leaves {tags.open} or {tags.close} out of its text, so that a thought "
            "cannot be told from the answer: leave think_tags out"
        )
    return tags


def _shown(tokenizer: Tokenizer, tags: ThinkTags) -> bool:
    texts = (tags.open, tags.close)
    return all(text in tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) for text in texts)


def thinking_of(
    tags: ThinkTags | None, tokenizer: Tokenizer, token_ids: Sequence[int], messages: Sequence[Mapping[str, Any]]
) -> Thinking | None:
    """How answers to a rendered prompt are taken apart. ``messages``: those whose last one is continued, or none."""
    if tags is None:
        return None
    if messages:
        lead = str(messages[-1].get("content") or "")
        return Thinking(tags, lead.lstrip().startswith(tags.open) and tags.close not in lead)
    tail = tokenizer.decode(token_ids[-_TAIL:], skip_special_tokens=False)
    return Thinking(tags, tail.rstrip().endswith(tags.open))
