"""vLLM's ``/v1/completions`` with token ids both ways: what is sent, and what may come back.

This route needs no flag of ``vllm serve`` (``/inference/v1/generate`` does). Replies are not trusted: types, lengths,
ids and log-probabilities are checked before anything of them is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smc_decode.engines.base import EngineError

# A list of prompts in one request would share its seed, so every prefix is a request of its own.
PLAIN: Mapping[str, Any] = {
    "n": 1,
    "stream": False,
    # Given, so that the defaults of the model's generation configuration, which vLLM would take, do not shape the draw.
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
}
COLUMNS, ALPHA, LABELS = "smc_columns", "smc_alpha", "smc_labels"
"""What ``vllm_xargs`` says to a server with our logits processor (``vllm.inside.served_rows``)."""
_NOTHING = -9999.0  # what vLLM writes for -inf
_ROUNDING = 1e-3


class BadReply(EngineError):
    """A server's answer has another form than vLLM's."""


def column_ids(drawn: int, count: int) -> list[int]:
    """The token ids under which a drawn token's columns are told: the first others in the vocabulary."""
    return [token for token in range(count + 1) if token != drawn][:count]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One completion. ``logprobs``, and ``top`` (token -> log p) of each token, are empty where not asked for.

    ``columns``: a list of values for each column that was asked for: ``q`` log q, ``z`` log z, ``p`` a label's log p.
    ``cached``: prompt tokens that came from the server's cache; None where it does not say.
    """

    token_ids: list[int]
    stopped: bool
    logprobs: list[float] = field(default_factory=list)
    top: list[dict[int, float]] = field(default_factory=list)
    columns: list[list[float]] = field(default_factory=list)
    cached: int | None = None


def read_drawn(
    reply: Any, *, max_tokens: int, logprobs: bool, vocab_size: int, stops: frozenset[int], columns: str = ""
) -> Drawn:
    """Raises BadReply."""
    choice = _choice(reply)
    token_ids = _drawn_tokens(choice, max_tokens, vocab_size, stops)
    stopped = choice.get("finish_reason") == "stop"
    if not logprobs:
        return Drawn(token_ids, stopped, cached=_cached(reply))
    told = choice.get("logprobs")
    if not isinstance(told, dict):
        raise BadReply("no logprobs")
    values = [_logprob(each) for each in _list(told.get("token_logprobs"), "token_logprobs")]
    if len(values) != len(token_ids):
        raise BadReply(f"{len(values)} log-probabilities of {len(token_ids)} tokens")
    if -math.inf in values:
        raise BadReply("a drawn token of probability 0")
    rows = _list(told.get("top_logprobs"), "top_logprobs")
    if len(rows) != len(token_ids):
        raise BadReply(f"top_logprobs of {len(rows)} tokens for {len(token_ids)}")
    if columns:
        listed = [_columns(row, token, columns) for token, row in zip(token_ids, rows, strict=True)]
        return Drawn(
            token_ids,
            stopped,
            values,
            columns=[list(c) for c in zip(*listed, strict=True)],
            cached=_cached(reply),
        )
    top = [_named(row, vocab_size) for row in rows]
    return Drawn(token_ids, stopped, values, top, cached=_cached(reply))


def _drawn_tokens(choice: Mapping[str, Any], max_tokens: int, vocab_size: int, stops: frozenset[int]) -> list[int]:
    token_ids = [_token(each, vocab_size) for each in _list(choice.get("token_ids"), "token_ids")]
    reason = choice.get("finish_reason")
    if reason not in ("stop", "length"):
        raise BadReply(f"finish_reason {reason!r}: the completion was not finished")
    if not 1 <= len(token_ids) <= max_tokens:
        raise BadReply(f"{len(token_ids)} tokens for max_tokens={max_tokens}")
    if reason == "length" and len(token_ids) < max_tokens:
        raise BadReply(
            f"{len(token_ids)} tokens of {max_tokens}: the server caps max_tokens (max_new_tokens of its generation "
            "config): start it with --generation-config vllm"
        )
    if stops.intersection(token_ids[:-1]):
        raise BadReply("tokens after one that ends the completion")
    return token_ids


def replies_of(reply: Any, count: int) -> list[Any]:
    """A reply of ``count`` choices as one for each, in their order; what came from the cache is told of the first.

    Raises BadReply.
    """
    if count == 1:
        return [reply]
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise BadReply("no choices")
    by_index = {choice.get("index"): choice for choice in choices}
    if len(choices) != count or set(by_index) != set(range(count)):
        raise BadReply(f"not {count} choices, each with its index")
    usage = reply.get("usage")
    return [{"choices": [by_index[i]], "usage": usage if i == 0 else None} for i in range(count)]


def read_scores(reply: Any, token_ids: Sequence[int], first: int, top: int, vocab_size: int) -> list[dict[int, float]]:
    """log p of ``token_ids[first:]`` and of the ``top`` likeliest there: the token itself comes first.

    Raises BadReply.
    """
    rows = _list(_choice(reply).get("prompt_logprobs"), "prompt_logprobs")
    if len(rows) != len(token_ids):
        raise BadReply(f"log-probabilities of {len(rows)} prompt tokens for {len(token_ids)}")
    scores = []
    for token, row in zip(token_ids[first:], rows[first:], strict=True):
        if not isinstance(row, dict) or len(row) > top + 2:
            raise BadReply("prompt_logprobs of another form")
        told = {}
        for name, entry in row.items():
            if not isinstance(entry, dict):
                raise BadReply("prompt_logprobs of another form")
            told[_token_name(name, vocab_size)] = _logprob(entry.get("logprob"))
        if token not in told:
            raise BadReply("prompt_logprobs of other tokens")
        scores.append({token: told.pop(token)} | told)
    return scores


def _choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise BadReply("not one completion")
    choice: dict[str, Any] = choices[0]
    return choice


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        hint = ": the server must be a vLLM that knows return_token_ids (0.10.2 or later)" if value is None else ""
        raise BadReply(f"{name} is missing{hint}")
    return value


def _token(value: Any, vocab_size: int) -> int:
    if type(value) is not int or not 0 <= value < vocab_size:
        raise BadReply(f"{value!r:.40} is no token of the vocabulary (0 to {vocab_size - 1})")
    return value


def _token_name(name: Any, vocab_size: int) -> int:
    text = str(name).removeprefix("token_id:")
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BadReply(f"{name!r:.40} is no token id")
    return _token(int(text), vocab_size)


def _named(row: Any, vocab_size: int) -> dict[int, float]:
    if not isinstance(row, dict):
        raise BadReply("top_logprobs of another form")
    return {_token_name(name, vocab_size): _logprob(value) for name, value in row.items()}


def _columns(row: Any, drawn: int, columns: str) -> list[float]:
    """One token's columns, as the server's logits processor tells them."""
    values = []
    for name, token in zip(columns, column_ids(drawn, len(columns)), strict=True):
        value = row.get(f"token_id:{token}") if isinstance(row, dict) else None
        if name in "pq":
            value = _logprob(value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise BadReply("log z is missing")
        if not _NOTHING < value < -_NOTHING:
            raise BadReply(f"log {name} of {value!r:.40} for a drawn token")
        values.append(float(value))
    return values


def _logprob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= _ROUNDING:
        raise BadReply(f"{value!r:.40} is no log-probability")
    return -math.inf if value <= _NOTHING else min(float(value), 0.0)


def _cached(reply: Mapping[str, Any]) -> int | None:
    """``usage.prompt_tokens_details.cached_tokens``, of servers with ``--enable-prompt-tokens-details``."""
    usage = reply.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return cached if type(cached) is int and cached >= 0 else None
