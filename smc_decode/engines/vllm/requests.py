"""Between the seam and the engine's process: an Extend as vLLM takes it, and its reply as a Continuation.

Everything that vLLM would refuse, or die of, is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from smc_decode.engines.base import Continuation, EngineInfo, EngineRequestError, Extend, FinishReason
from smc_decode.engines.vllm.messages import Generate, Generated
from smc_decode.shaping import NO_SHAPING, SHAPING_FIELDS, Shaping, matched

MIN_TEMPERATURE = 1e-3
MAX_TEMPERATURE = 1e3
_GRAMMARS = ("json_schema", "regex", "json_object")


def shapes(exact: bool) -> frozenset[str]:
    """What the engine applies of Shaping; ``exact``: the process has our sampler, which carries it over blocks."""
    own = {"repetition_penalty", "presence_penalty", "frequency_penalty", "grammar"}
    return frozenset(SHAPING_FIELDS) if exact else frozenset(SHAPING_FIELDS) - own


def generate(info: EngineInfo, identity: int, request: Extend, call: int) -> Generate:
    """The request, which ``check_requests`` has passed. Raises EngineRequestError."""
    sequence, shaping = request.sequence, request.shaping
    if request.temperature != 0 and not MIN_TEMPERATURE <= request.temperature <= MAX_TEMPERATURE:
        raise EngineRequestError(
            f"temperature must be 0 or from {MIN_TEMPERATURE} to {MAX_TEMPERATURE}, got {request.temperature}"
        )
    if shaping.grammar is not None:
        _check_grammar(shaping)
    columns = _columns(info, request)
    stops = set(request.stop_token_ids)
    if not shaping.ignore_eos:
        stops.update(info.eos_token_ids)
    return Generate(
        id=identity,
        prompt=[*sequence.prompt_token_ids, *sequence.token_ids],
        max_tokens=request.max_new_tokens,
        temperature=float(request.temperature),
        seed=request.seed & (2**63 - 1),
        stop_token_ids=sorted(stops),
        logprobs=request.logprobs or request.alpha is not None,
        columns=columns,
        alpha=request.alpha if "z" in columns else None,
        shaping=shaping if shaping is NO_SHAPING else _as_asked(info, request),
        generated=len(sequence.token_ids),
        excluded=list(request.excluded),
        code=request.code if request.temperature > 0 else None,
        call=call,
    )


def _as_asked(info: EngineInfo, request: Extend) -> Shaping:
    """vLLM counts ``min_tokens`` from where a request begins, and takes no more than it may draw."""
    shaping = request.shaping
    if not shaping.min_tokens and shaping.top_k < info.vocab_size:
        return shaping  # the same for a whole population: it is pickled once
    missing = max(shaping.min_tokens - len(request.sequence.token_ids), 0)
    return replace(
        shaping,
        top_k=shaping.top_k if shaping.top_k < info.vocab_size else 0,
        min_tokens=min(missing, request.max_new_tokens),
    )


def _columns(info: EngineInfo, request: Extend) -> str:
    """What the sampler must tell besides log p; what follows from log p alone is worked out here."""
    if not request.logprobs and request.alpha is None:
        return ""
    columns = ""
    shaped = request.shaping.truncates or request.shaping.moves_logits or bool(request.excluded)
    if request.temperature > 0 and (request.temperature != 1.0 or shaped):
        columns += "q"
    if request.alpha is not None and not _log_z_follows(request):
        columns += "z"
    if columns and not info.exact_log_z:
        raise EngineRequestError(
            "this vLLM's sampler cannot tell proposal log-probabilities: use temperature 1 without shaping, or "
            "target='tempered' at the proposal temperature 1/alpha"
        )
    return columns


def _log_z_follows(request: Extend) -> bool:
    alpha = request.alpha
    return alpha is not None and not request.excluded and matched(alpha, request.temperature, request.shaping)


def _check_grammar(shaping: Shaping) -> None:
    grammar = shaping.grammar
    if not isinstance(grammar, Mapping) or len(grammar) != 1 or next(iter(grammar)) not in _GRAMMARS:
        raise EngineRequestError(f"grammar must be an object with one of the keys {', '.join(_GRAMMARS)}")
    if shaping.min_tokens or shaping.ignore_eos:
        raise EngineRequestError("the grammar decides where an answer ends: leave min_tokens and ignore_eos out")


def continuation(info: EngineInfo, request: Extend, sent: Generate, reply: Generated) -> Continuation:
    """What was drawn, with log q and log z where they follow from log p."""
    logprobs: list[float] = []
    proposal: list[float] = []
    log_z: list[float] = []
    if reply.values:
        logprobs = reply.values[0]
        told = dict(zip(sent.columns, reply.values[1:], strict=True))
        proposal = [0.0] * len(logprobs) if request.temperature == 0 else told.get("q", logprobs)
        if "z" in told:
            log_z = told["z"]
        elif request.alpha is not None:
            log_z = [request.alpha * p - q for p, q in zip(logprobs, proposal, strict=True)]
    return Continuation(
        token_ids=reply.token_ids,
        logprobs=logprobs,
        proposal_logprobs=proposal,
        log_z=log_z,
        finish_reason=_finish_reason(info, request, reply),
        prompt_cached=reply.cached,
        prompt_computed=len(sent.prompt) - reply.cached,
        computed=reply.computed,
    )


def _finish_reason(info: EngineInfo, request: Extend, reply: Generated) -> FinishReason:
    if not reply.stopped:
        return "length"
    ended = reply.token_ids[-1] in info.eos_token_ids and not request.shaping.ignore_eos
    return "eos" if ended else "stop"
