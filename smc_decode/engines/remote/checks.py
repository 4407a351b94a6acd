"""What a vLLM server must be before weights are built on its numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smc_decode.engines.base import EngineError, EngineRequestError, Tokenizer
from smc_decode.engines.remote.replicas import Replica
from smc_decode.engines.remote.wire import ALPHA, COLUMNS, PLAIN, BadReply, read_drawn, read_scores, replies_of

_log = logging.getLogger(__name__)
_TEXT = "Say which of these is larger: 9.11 or 9.9?\n\n\tÜber 3 naïve cafés — “quotes”, x_1 = f(y)[0];  日本"
_PROMPT = "The quick brown fox"
_MAX_ROUNDING = 0.6  # nats between two kernels' log p of one token in bfloat16
_MIN_MASS = 0.01  # of the likeliest tokens together


@dataclass(frozen=True, slots=True)
class ServedModel:
    """``root``: where the server has it from."""

    name: str
    root: str
    max_model_len: int


async def served_model(replica: Replica, wanted: str | None) -> ServedModel:
    """The model called ``wanted``, or the first. Raises EngineError, NoAnswer."""
    listed = await replica.get("/v1/models")
    cards = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(cards, list) or not cards or not all(isinstance(card, dict) for card in cards):
        raise BadReply(f"{replica.url} lists no models: is it a vLLM server?")
    by_name: dict[Any, dict[str, Any]] = {card.get("id"): card for card in cards}
    name = next(iter(by_name)) if wanted is None else wanted
    if name not in by_name or not isinstance(name, str):
        names = ", ".join(map(str, by_name))[:300]
        raise EngineError(f"{replica.url} does not serve {name!r}; it serves: {names}. Set engine.model")
    card = by_name[name]
    length = card.get("max_model_len") or by_name.get(card.get("parent"), {}).get("max_model_len")
    if type(length) is not int or length < 2:
        raise BadReply(f"{replica.url} does not say max_model_len: is it a vLLM server?")
    root = card.get("root")
    return ServedModel(name, root if isinstance(root, str) else name, length)


async def check_logprobs(replica: Replica, model: str, prompt: Sequence[int], most: int, vocab_size: int) -> None:
    """Whether the server tells log p of the base model, whatever shapes the draw.

    An unlikely token is forced by a bias. Its processed log-probability is 0; its raw one is what the same server
    tells of it as a part of a prompt, where nothing is processed. Raises EngineError, NoAnswer.
    """
    body = {**PLAIN, "model": model, "max_tokens": 1, "seed": 1, "ignore_eos": True}
    plain = await _draw(replica, {**body, "prompt": list(prompt), "temperature": 1.0, "logprobs": most}, vocab_size)
    likely = {token: value for token, value in plain.items() if value > -math.inf}
    mass = sum(map(math.exp, likely.values()))
    token = min(likely, key=lambda each: likely[each])
    forced = {**body, "prompt": list(prompt), "temperature": 0.5, "logprobs": 0, "logit_bias": {str(token): 100.0}}
    drawn = await _draw(replica, forced, vocab_size)
    if token not in drawn:
        raise EngineError(f"{replica.url} does not heed logit_bias: is it a vLLM server?")
    ids = [*prompt, token]
    reply = await _asked(replica, score_body(model, ids, 0))
    scored = read_scores(reply, ids, len(prompt), 0, vocab_size)[0][token]
    rounding = _MAX_ROUNDING + 0.05 * abs(scored)
    if abs(drawn[token] - scored) > rounding or not _MIN_MASS < mass < 1.0 + 1e-2:
        raise EngineError(
            f"{replica.url} does not report log-probabilities of the base model (it told {drawn[token]:.3g} of a token "
            f"whose log-probability is {scored:.3g}): start it with --logprobs-mode raw_logprobs, vLLM's default"
        )
    if scored > -2 * _MAX_ROUNDING:
        raise EngineError(f"{replica.url}: the model is too sure of itself to tell what its log-probabilities mean")


async def draws_apart(replica: Replica, model: str, prompt: Sequence[int], vocab_size: int) -> bool:
    """Whether each of ``n`` sequences has noise of its own. Raises NoAnswer.

    With one noise for all they would be the same; by chance two of 32 tokens at temperature 1 hardly are.
    """
    length = 32
    body = {**PLAIN, "model": model, "prompt": list(prompt), "max_tokens": length, "seed": 11, "n": 2}
    body |= {"temperature": 1.0, "ignore_eos": True}
    try:
        replies = replies_of(await _asked(replica, body), 2)
        one, other = (
            read_drawn(reply, max_tokens=length, logprobs=False, vocab_size=vocab_size, stops=frozenset())
            for reply in replies
        )
    except EngineError:
        return False
    return one.token_ids != other.token_ids


async def tells_proposals(replica: Replica, model: str, prompt: Sequence[int], vocab_size: int) -> bool:
    """Whether the server has our logits processor, and its columns agree: at temperature 1/2, with z = sum p^2,
    log z = 2 log p - log q; with top-k = 1 the draw is all but certain. Raises NoAnswer."""
    body = {**PLAIN, "model": model, "prompt": list(prompt), "max_tokens": 4, "seed": 1, "ignore_eos": True}
    body |= {"temperature": 0.5, "logprobs": 2, "vllm_xargs": {COLUMNS: "qz", ALPHA: 2.0}}
    try:
        powered, certain = [
            read_drawn(
                await replica.post("/v1/completions", {**body, "top_k": top_k}),
                max_tokens=4,
                logprobs=True,
                vocab_size=vocab_size,
                stops=frozenset(),
                columns="qz",
            )
            for top_k in (0, 1)
        ]
    except (EngineError, EngineRequestError):
        return False
    return all(
        abs(z - (2 * p - q)) < 1e-2 and (drawn is powered or q > -1.5)
        for drawn in (powered, certain)
        for p, q, z in zip(drawn.logprobs, *drawn.columns, strict=True)
    )


def score_body(model: str, ids: Sequence[int], top: int) -> dict[str, Any]:
    return {
        **PLAIN,
        "model": model,
        "prompt": list(ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "ignore_eos": True,
        "prompt_logprobs": top,
    }


async def _draw(replica: Replica, body: dict[str, Any], vocab_size: int) -> dict[int, float]:
    """Of the one token that is drawn, and of the likeliest: log p, as told."""
    reply = await _asked(replica, body)
    drawn = read_drawn(reply, max_tokens=1, logprobs=True, vocab_size=vocab_size, stops=frozenset())
    return drawn.top[0] | {drawn.token_ids[0]: drawn.logprobs[0]}


async def _asked(replica: Replica, body: dict[str, Any]) -> Any:
    try:
        return await replica.post("/v1/completions", body)
    except EngineRequestError as error:
        hint = ": set engine.max_logprobs to what --max-logprobs allows" if "logprobs" in str(error) else ""
        raise EngineError(f"{replica.url} refused a first request: {error}{hint}") from error


async def check_tokenizer(replica: Replica, model: str, tokenizer: Tokenizer) -> None:
    """Whether the server's tokenizer is ours. Raises EngineError where it is another, NoAnswer.

    Another chat template is only told in the log: the server's may have been replaced on purpose.
    """
    theirs = await _tokenize(replica, {"model": model, "prompt": _TEXT})
    if theirs is not None and theirs != tokenizer.encode(_TEXT):
        raise EngineError(
            f"the tokenizer of {replica.url} is another than the one that was loaded here: set engine.tokenizer to the "
            "folder or Hugging Face name of the served model's"
        )
    messages = [{"role": "user", "content": "Say hello."}]
    try:
        ours = tokenizer.apply_chat_template(messages)
    except EngineRequestError:
        return
    theirs = await _tokenize(replica, {"model": model, "messages": messages})
    if theirs is not None and theirs != ours:
        _log.warning("%s has another chat template than the tokenizer here, which is the one that is used", replica.url)


async def _tokenize(replica: Replica, body: dict[str, Any]) -> list[int] | None:
    """The server's token ids, or None where it does not tell."""
    try:
        reply = await replica.post("/tokenize", body)
    except (EngineError, EngineRequestError):
        return None
    ids = reply.get("tokens") if isinstance(reply, dict) else None
    return ids if isinstance(ids, list) else None


def probe_prompt(tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode(_PROMPT)
