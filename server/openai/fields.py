"""The protocol's own fields as what they set of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smc_decode.engines.base import Engine, Tokenizer

from ..errors import invalid
from ..runs.request import RunRequest
from .protocol import SamplingBody

_FORBIDDEN = -100.0  # OpenAI's value of logit_bias for a token that is not to come


def run_request(engine: Engine, body: SamplingBody, grammar: Mapping[str, Any] | None = None) -> RunRequest:
    """``body`` without its prompts. ``grammar``: what its form fields ask for. Raises APIError (400)."""
    values: dict[str, Any] = {
        "max_tokens": body.limit,
        # Nothing but the likeliest token is what OpenAI's 0 means.
        "top_p": 1e-6 if body.top_p == 0 else body.top_p,
        "top_k": None if body.top_k is None else max(body.top_k, 0),
        "min_p": body.min_p,
        "repetition_penalty": body.repetition_penalty,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "logit_bias": _logit_bias(engine, body) | _bad_words(engine, body) or None,
        "min_tokens": body.min_tokens,
        "ignore_eos": body.ignore_eos,
        "stop": list(body.stop_strings) or None,
        "stop_token_ids": body.stop_token_ids or None,
        "grammar": None if grammar is None else dict(grammar),
    }
    for token_id in body.stop_token_ids or ():
        _check_token(engine, token_id, "stop_token_ids")
    return RunRequest(
        model=body.model,
        smc=body.smc or {},
        values={key: value for key, value in values.items() if value is not None},
        temperature=body.temperature,
        n=body.draws,
        at_least=body.least_particles,
        seed=body.seed,
        names=frozenset(type(body).model_fields),
    )


def _logit_bias(engine: Engine, body: SamplingBody) -> dict[int, float]:
    bias = {}
    for key, value in (body.logit_bias or {}).items():
        if not (key.isascii() and key.isdigit()):
            raise invalid(f"logit_bias: {key!r} is not a token id: keys are whole numbers in quotes", "logit_bias")
        _check_token(engine, int(key), "logit_bias")
        bias[int(key)] = float(value)
    return bias


def _bad_words(engine: Engine, body: SamplingBody) -> dict[int, float]:
    """vLLM's ``bad_words`` as a bias, which is part of the target: those that are one token each."""
    if not body.bad_words:
        return {}
    if engine.tokenizer is None:
        raise invalid("this engine has no tokenizer for bad_words: use logit_bias", "bad_words", "no_tokenizer")
    bias = {}
    for word in body.bad_words:
        for token_ids in _spellings(engine.tokenizer, word):
            if len(token_ids) != 1:
                raise invalid(
                    f"bad_words: {word!r} is {len(token_ids)} tokens of this model, and only single tokens can be "
                    "taken out of the target: use a reward that forbids the text",
                    "bad_words",
                )
            bias[token_ids[0]] = _FORBIDDEN
    return bias


def _spellings(tokenizer: Tokenizer, word: str) -> list[list[int]]:
    """The word at the beginning of a text and, where that is another token, inside one; as vLLM takes it."""
    text = word.lstrip()
    alone = tokenizer.encode(text, add_special_tokens=False)
    inside = tokenizer.encode(f" {text}", add_special_tokens=False)
    differs = len(inside) == len(alone) and inside[:1] != alone[:1]
    return [alone, inside] if differs else [alone]


def _check_token(engine: Engine, token_id: int, param: str) -> None:
    size = engine.info.vocab_size
    if token_id >= size:
        raise invalid(f"{param}: token {token_id} is outside the model's vocabulary of {size}", param)
