"""Between the seam and a vLLM server: an Extend as ``/v1/completions`` takes it, and its reply as a Continuation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smc_decode.engines.base import Continuation, EngineInfo, Extend, FinishReason
from smc_decode.engines.remote.law import columns_of
from smc_decode.engines.remote.wire import ALPHA, COLUMNS, LABELS, PLAIN, BadReply, Drawn, read_drawn


def extend_body(info: EngineInfo, model: str, request: Extend) -> dict[str, Any]:
    """The request, which ``check_requests`` has passed. Raises EngineRequestError for what would not be exact."""
    sequence, shaping = request.sequence, request.shaping
    columns = columns_of(request, weighs=info.exact_log_z)
    body: dict[str, Any] = {
        **PLAIN,
        "model": model,
        "prompt": [*sequence.prompt_token_ids, *sequence.token_ids],
        "max_tokens": request.max_new_tokens,
        "temperature": float(request.temperature),
        "stop_token_ids": sorted(stops_of(info, request)),
        "ignore_eos": shaping.ignore_eos,
        "repetition_penalty": shaping.repetition_penalty,
        # vLLM counts from where a request begins, and takes no more than it may draw.
        "min_tokens": min(max(shaping.min_tokens - len(sequence.token_ids), 0), request.max_new_tokens),
    }
    if request.temperature > 0:
        top_k = shaping.top_k if shaping.top_k < info.vocab_size else 0
        body |= {"seed": request.seed & (2**63 - 1), "top_k": top_k}
        body |= {"top_p": shaping.top_p, "min_p": shaping.min_p}
    if shaping.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in shaping.logit_bias.items()}
    if request.logprobs or request.alpha is not None:
        body["logprobs"] = len(columns)
    if columns:
        body["vllm_xargs"] = {COLUMNS: columns} | ({ALPHA: request.alpha} if "z" in columns else {})
    return body


def stops_of(info: EngineInfo, request: Extend) -> frozenset[int]:
    own = () if request.shaping.ignore_eos else info.eos_token_ids
    return frozenset((*request.stop_token_ids, *own))


def continuation(info: EngineInfo, request: Extend, body: dict[str, Any], reply: Any) -> Continuation:
    """Raises BadReply."""
    columns = body.get("vllm_xargs", {}).get(COLUMNS, "")
    drawn = read_drawn(
        reply,
        max_tokens=request.max_new_tokens,
        logprobs="logprobs" in body,
        vocab_size=info.vocab_size,
        stops=stops_of(info, request),
        columns=columns,
    )
    told = dict(zip(columns, drawn.columns, strict=True))
    proposal = [0.0] * len(drawn.logprobs) if request.temperature == 0 else told.get("q", drawn.logprobs)
    log_z: list[float] = told.get("z", [])
    if request.alpha is not None and "z" not in told:
        log_z = [request.alpha * p - q for p, q in zip(drawn.logprobs, proposal, strict=True)]
    # What stands for log q where nobody asked for it may be another number.
    if not request.proposal_logprobs and "q" not in told:
        proposal = []
    return Continuation(
        token_ids=drawn.token_ids,
        logprobs=drawn.logprobs,
        proposal_logprobs=proposal,
        log_z=log_z,
        finish_reason=_finish_reason(info, request, drawn),
        # Servers that do not say what came from their cache leave both counts at 0.
        prompt_cached=drawn.cached or 0,
        prompt_computed=0 if drawn.cached is None else max(len(body["prompt"]) - drawn.cached, 0),
    )


def _finish_reason(info: EngineInfo, request: Extend, drawn: Drawn) -> FinishReason:
    if not drawn.stopped:
        return "length"
    last = drawn.token_ids[-1]
    known = last in info.eos_token_ids
    # A token that the server stops at of its own accord ends answers as EOS does.
    if request.shaping.ignore_eos or (last in request.stop_token_ids and not known):
        return "stop"
    return "eos"


def labels_body(info: EngineInfo, model: str, ids: Sequence[int], labels: Sequence[int]) -> dict[str, Any]:
    """One token, and log p of each of ``labels`` in its place."""
    body = {**PLAIN, "model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 0.0}
    body |= {"ignore_eos": True, "logprobs": len(labels)}
    # vLLM's own option replaces the log-probabilities of its whole batch.
    return body | ({"vllm_xargs": {LABELS: list(labels)}} if info.exact_log_z else {"logprob_token_ids": list(labels)})


def label_logprobs(info: EngineInfo, labels: Sequence[int], reply: Any) -> dict[int, float]:
    """Raises BadReply."""
    columns = "p" * len(labels) if info.exact_log_z else ""
    drawn = read_drawn(
        reply, max_tokens=1, logprobs=True, vocab_size=info.vocab_size, stops=frozenset(), columns=columns
    )
    if columns:
        return {label: column[0] for label, column in zip(labels, drawn.columns, strict=True)}
    told = drawn.top[0] | {drawn.token_ids[0]: drawn.logprobs[0]}
    if any(label not in told for label in labels):
        raise BadReply("no log-probabilities of labels: they need a vLLM that knows logprob_token_ids")
    return {label: told[label] for label in labels}
