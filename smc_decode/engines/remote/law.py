"""What a vLLM server can do exactly over HTTP, and what must be refused.

Weights need log p and log q of every drawn token. Servers with our logits processor (``served_rows``) tell log q and
log z too, of the very logits that a token was drawn from. An unmodified server reports log p of the base model only
(``--logprobs-mode raw_logprobs``, its default). At temperature 1 without shaping q is p. At any other temperature
log q needs the normaliser over the whole vocabulary, which no reply holds; truncations too, for what top-k keeps among
tied logits differs between vLLM's kernels. A target that is matched by its proposal (``target="tempered"`` at the
temperature 1/alpha) needs neither number, and may be shaped by all that a server applies to each request alike.
"""

from __future__ import annotations

from smc_decode.engines.base import EngineRequestError, Extend
from smc_decode.shaping import SHAPING_FIELDS, Shaping, matched

MIN_TEMPERATURE = 0.01
"""vLLM raises lower ones to it in silence."""
MAX_TEMPERATURE = 2.0
SHAPES = frozenset(SHAPING_FIELDS) - {"presence_penalty", "frequency_penalty", "grammar"}
"""What a server applies to an answer that reaches it block by block."""
_HOW = (
    "set smc.proposal_temperature to 1 without shaping, use target='tempered' with the temperature 1/alpha, or start "
    "the vLLM servers with --logits-processors smc_decode.engines.vllm.inside.served_rows:ServedRows"
)


def columns_of(request: Extend, *, weighs: bool) -> str:
    """What is to be asked of a server besides log p: ``q`` (log q), ``z`` (log z); ``weighs``: it can tell them.

    Raises EngineRequestError for what would be drawn from another law than asked for, or weighted wrongly.
    """
    shaping, temperature = request.shaping, request.temperature
    if temperature != 0 and not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise EngineRequestError(
            f"temperature must be 0 or from {MIN_TEMPERATURE} to {MAX_TEMPERATURE:g} on a remote engine, got "
            f"{temperature:g} (it is 1/alpha unless proposal_temperature is given)"
        )
    if not request.logprobs and request.alpha is None:
        return ""
    shaped = shaping.truncates or shaping.moves_logits
    follows = _log_z_follows(request)
    columns = ""
    if (request.proposal_logprobs or follows) and temperature > 0 and (temperature != 1.0 or shaped):
        columns += "q"
    if request.alpha is not None and not follows:
        columns += "z"
    if not columns or weighs:
        return columns
    if "q" not in columns:
        raise EngineRequestError(f"vLLM's HTTP API does not tell the normaliser log z of p^alpha: {_HOW}")
    what = "of a shaped proposal" if shaped else f"at the temperature {temperature:g}"
    raise EngineRequestError(f"vLLM's HTTP API does not tell proposal log-probabilities {what}: {_HOW}")


def _log_z_follows(request: Extend) -> bool:
    """Whether log z = alpha log p - log q: the proposal is p^alpha, normalised."""
    return request.alpha is not None and matched(request.alpha, request.temperature, request.shaping)


def check_shaping(shaping: Shaping) -> None:
    """What is not among ``SHAPES``, and what to do instead. Raises EngineRequestError."""
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
