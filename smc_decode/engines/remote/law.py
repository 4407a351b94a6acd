"""What a vLLM server can do exactly over HTTP, and what must be refused.

Weights need log p and log q of every drawn token. Servers with our logits processor (``served_rows``) tell log q and
log z too, of the very logits that a token was drawn from. An unmodified server reports log p of the base model only
(``--logprobs-mode raw_logprobs``, its default). At temperature 1 without shaping q is p. At any other temperature
log q needs the normaliser over the whole vocabulary, which no reply holds; truncations too, for what top-k keeps among
tied logits differs between vLLM's kernels. A target that is matched by its proposal (``target="tempered"`` at the
temperature 1/alpha) needs neither number, and may be shaped by all that a server applies to each request alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from smc_decode.engines.base import NO_SHAPING, EngineRequestError, Extend, Shaping

LEAST_TEMPERATURE = 0.01
"""vLLM raises lower ones to it in silence."""
MOST_TEMPERATURE = 2.0
_HOW = (
    "set smc.proposal_temperature to 1 without shaping, use target='tempered' with the temperature 1/alpha, or start "
    "the vLLM servers with --logits-processors smc_decode.engines.vllm.inside.served_rows:ServedRows"
)


def columns_of(request: Extend, *, weighs: bool) -> str:
    """What is to be asked of a server besides log p: ``q`` (log q), ``z`` (log z); ``weighs``: it can tell them.

    Raises EngineRequestError for what would be drawn from another law than asked for, or weighted wrongly.
    """
    shaping, temperature = request.shaping, request.temperature
    if temperature != 0 and not LEAST_TEMPERATURE <= temperature <= MOST_TEMPERATURE:
        raise EngineRequestError(
            f"temperature must be 0 or from {LEAST_TEMPERATURE} to {MOST_TEMPERATURE:g} on a remote engine, got "
            f"{temperature:g} (it is 1/alpha unless proposal_temperature is given)"
        )
    if shaping is not NO_SHAPING:
        check_shaping(shaping)
    if not request.logprobs and request.alpha is None:
        return ""
    shaped = shaping.truncates or _moves(shaping)
    columns = ""
    if request.proposal_logprobs and temperature > 0 and (temperature != 1.0 or shaped):
        columns += "q"
    if request.alpha is not None and not log_z_follows(request):
        columns += "z"
    if not columns or weighs:
        return columns
    if "q" not in columns:
        raise EngineRequestError(f"vLLM's HTTP API does not tell the normaliser log z of p^alpha: {_HOW}")
    what = "of a shaped proposal" if shaped else f"at the temperature {temperature:g}"
    raise EngineRequestError(f"vLLM's HTTP API does not tell proposal log-probabilities {what}: {_HOW}")


def log_z_follows(request: Extend) -> bool:
    """Whether log z = alpha log p - log q: the proposal is p^alpha, normalised."""
    matched = request.alpha is not None and math.isclose(request.alpha * request.temperature, 1.0, rel_tol=1e-9)
    return matched and not _moves(request.shaping)


def _moves(shaping: Shaping) -> bool:
    """Whether logits are moved (``min_tokens`` masks EOS; ``ignore_eos`` only goes on after it)."""
    return bool(shaping.repetition_penalty != 1.0 or shaping.logit_bias or shaping.min_tokens)


_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "top_k": (lambda v: v >= 0, "at least 0"),
    "top_p": (lambda v: 0 < v <= 1, "above 0 and at most 1"),
    "min_p": (lambda v: 0 <= v <= 1, "from 0 to 1"),
    "repetition_penalty": (lambda v: 0 < v < math.inf, "positive"),
    "min_tokens": (lambda v: v >= 0, "at least 0"),
}


def check_shaping(shaping: Shaping) -> None:
    for name, (good, range_) in _RANGES.items():
        if not good(getattr(shaping, name)):
            raise EngineRequestError(f"{name} must be {range_}, got {getattr(shaping, name)}")
    if not all(-100 <= bias <= 100 for bias in shaping.logit_bias.values()):
        raise EngineRequestError("logit_bias must be from -100 to 100 (vLLM cuts what is beyond)")
    # vLLM begins both anew with each request, and a block is a request.
    if shaping.presence_penalty or shaping.frequency_penalty:
        raise EngineRequestError(
            "presence_penalty and frequency_penalty do not go on from block to block on a remote engine: use "
            "repetition_penalty, or start the model with the engine 'vllm'"
        )
    if shaping.grammar is not None:
        raise EngineRequestError(
            "grammars (response_format, tool_choice) do not go on from block to block on a remote engine: start the "
            "model with the engine 'vllm'"
        )
