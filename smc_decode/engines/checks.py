"""What every engine refuses, said in the same words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from smc_decode.engines.protocol import Continuation, EngineError, EngineInfo, EngineRequestError, Extend
from smc_decode.shaping import NO_SHAPING, Shaping


def check_token_ids(info: EngineInfo, token_ids: Sequence[int], name: str, *, empty: bool = False) -> None:
    """Raises EngineRequestError: no tokens (unless ``empty`` is allowed), or some that the vocabulary does not have."""
    if not token_ids and not empty:
        raise EngineRequestError(f"{name} is empty: give at least one token")
    last = info.vocab_size - 1
    if token_ids and (min(token_ids) < 0 or max(token_ids) > last):
        raise EngineRequestError(f"{name} has token ids outside the vocabulary (0 to {last})")


def check_prompt(info: EngineInfo, token_ids: Sequence[int]) -> None:
    """The argument of :meth:`Engine.open`. Raises EngineRequestError: not this model's, or no room for an answer."""
    check_token_ids(info, token_ids, "prompt", empty=info.empty_prompt)
    limit = info.max_model_len
    if limit is not None and len(token_ids) >= limit:
        raise EngineRequestError(
            f"the prompt has {len(token_ids)} tokens, and the model's context of {limit} must hold the answer too: "
            "shorten the prompt"
        )


def check_requests(info: EngineInfo, requests: Sequence[Extend]) -> None:
    """What no engine can do, or this one has not declared, in a call of :meth:`Engine.extend`.

    Raises ValueError for a sequence that is there twice, EngineRequestError otherwise.
    """
    if len({id(request.sequence) for request in requests}) < len(requests):
        raise ValueError("the same sequence twice in one call of extend: fork it first")
    # A population shares its shaping and its stop tokens: each is looked at once.
    for shaping in {id(request.shaping): request.shaping for request in requests}.values():
        check_shaping(info, shaping)
    for stop in {request.stop_token_ids for request in requests}:
        check_token_ids(info, stop, "stop_token_ids", empty=True)
    for request in requests:
        _check_request(info, request)


def _check_request(info: EngineInfo, request: Extend) -> None:
    if request.max_new_tokens < 1:
        raise EngineRequestError(f"max_new_tokens must be at least 1, got {request.max_new_tokens}")
    if not request.temperature >= 0:
        raise EngineRequestError(f"temperature must be at least 0, got {request.temperature}")
    limit = info.max_model_len
    length = len(request.sequence.prompt_token_ids) + len(request.sequence.token_ids)
    if limit is not None and length + request.max_new_tokens > limit:
        raise EngineRequestError(
            f"{length} tokens and {request.max_new_tokens} more exceed the model's context of {limit}: "
            "shorten the prompt or lower max_tokens"
        )
    if request.code is not None and not (info.codes and 0 <= request.code < 1):
        able = f"a code must be in [0, 1), got {request.code}"
        raise EngineRequestError(able if info.codes else f"the engine {info.name!r} cannot draw by a code")
    if request.excluded and not info.excludes:
        raise EngineRequestError(f"the engine {info.name!r} cannot exclude tokens from the first draw alone")


def check_shaping(info: EngineInfo, shaping: Shaping) -> None:
    """Raises EngineRequestError: a value outside of its range, or a field that the engine does not apply."""
    if shaping is NO_SHAPING:
        return
    try:
        shaping.check()
    except ValueError as error:
        raise EngineRequestError(str(error)) from None
    check_token_ids(info, list(shaping.logit_bias), "logit_bias", empty=True)
    missing = sorted(shaping.used() - info.shapes)
    if missing:
        raise EngineRequestError(f"the engine {info.name!r} has no {', '.join(missing)}")


def check_continuation(info: EngineInfo, request: Extend, drawn: Continuation) -> None:
    """What an engine gave for a request. Raises EngineError that names it: numbers that no weight can be made of.

    log p of a drawn token is finite where q is p's own law, and may be -inf where the proposal is another one.
    """
    tokens, who = drawn.token_ids, f"the engine {info.name!r}"
    if not tokens or len(tokens) > request.max_new_tokens:
        raise EngineError(f"{who} drew {len(tokens)} tokens where 1 to {request.max_new_tokens} were asked for")
    if min(tokens) < 0 or max(tokens) >= info.vocab_size:
        raise EngineError(f"{who} drew token ids outside its vocabulary (0 to {info.vocab_size - 1})")
    lists = {"log p": drawn.logprobs, "log q": drawn.proposal_logprobs, "log z": drawn.log_z}
    for name, values in lists.items():
        if values and len(values) != len(tokens):
            raise EngineError(f"{who} gave {len(values)} values of {name} for {len(tokens)} tokens")
        total = sum(values)
        never_drawn = name == "log p" and total == -math.inf and not info.tempered_proposal
        if not math.isfinite(total) and not never_drawn:
            wrong = next((value for value in values if not math.isfinite(value)), total)
            raise EngineError(f"{who} gave {wrong} for {name} of a token that it drew")


def check_law(info: EngineInfo, log_p: Sequence[float], length: int) -> None:
    """The log-probabilities of all next tokens. Raises EngineError that names the engine: NaN, +inf, or all -inf."""
    top = max(log_p)
    wrong = "nan" if any(map(math.isnan, log_p)) else {math.inf: "+inf", -math.inf: "all -inf"}.get(top)
    if wrong is not None:
        raise EngineError(f"the engine {info.name!r} gave log-probabilities of {wrong} after {length} tokens")


def check_score(info: EngineInfo, token_ids: Sequence[int], start: int, top_logprobs: int) -> None:
    """The arguments of :meth:`Engine.score`. Raises EngineRequestError."""
    check_token_ids(info, token_ids, "token_ids")
    limit = info.max_model_len
    if limit is not None and len(token_ids) > limit:
        raise EngineRequestError(f"{len(token_ids)} tokens exceed the model's context of {limit}")
    if not 0 <= top_logprobs <= info.max_logprobs:
        raise EngineRequestError(f"top_logprobs must be 0 to {info.max_logprobs}, got {top_logprobs}")
    if not 0 <= start <= len(token_ids):
        raise EngineRequestError(f"start must be 0 to {len(token_ids)}, got {start}")


def check_labels(
    info: EngineInfo, token_id_lists: Sequence[Sequence[int]], labels: Sequence[int], max_labels: int
) -> None:
    """The arguments of :meth:`Engine.label_logprobs`, ``labels`` without repeats. Raises EngineRequestError."""
    check_token_ids(info, labels, "label_ids")
    if len(labels) > max_labels:
        raise EngineRequestError(f"at most {max_labels} label_ids, got {len(labels)}")
    limit = info.max_model_len
    for token_ids in token_id_lists:
        check_token_ids(info, token_ids, "token_id_lists")
        if limit is not None and len(token_ids) >= limit:
            raise EngineRequestError(f"{len(token_ids)} tokens and a label exceed the model's context of {limit}")
