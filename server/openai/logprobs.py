"""Log-probabilities of the base model, in OpenAI's two formats.

They are the model's own (temperature 1, no shaping), whatever proposal and target drew the tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from smc_decode.engines.base import Tokenizer, TokenScore

from .text import Detokenizer

_MIN_LOGPROB = -9999.0  # JSON has no -inf; vLLM's value


@dataclass(frozen=True)
class ScoredToken:
    """A token as it is shown: its text in place, its log-probability (None: nothing precedes it), alternatives."""

    token_id: int
    text: str
    """What clients see as the token; special tokens and incomplete characters are shown as such."""
    piece: str
    """What it adds to the text of the whole."""
    logprob: float | None
    top: Sequence[tuple[str, float]]


def scored_tokens(
    tokenizer: Tokenizer, scores: Sequence[TokenScore], pieces: Sequence[str], *, first_is_start: bool = False
) -> list[ScoredToken]:
    """Engine scores with the text of each token. ``first_is_start``: the first token has nothing before it."""

    def alone(token_id: int) -> str:
        return tokenizer.decode([token_id], skip_special_tokens=False)

    tokens = []
    for position, (score, piece) in enumerate(zip(scores, pieces, strict=True)):
        text = piece or alone(score.token_id)
        if first_is_start and position == 0:
            tokens.append(ScoredToken(score.token_id, text, piece, None, ()))
            continue
        top = _alternatives(score, text, alone)
        tokens.append(ScoredToken(score.token_id, text, piece, _finite(score.logprob), top))
    return tokens


def pieces_of(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[str]:
    """The text that each token adds to what precedes it."""
    detokenizer = Detokenizer(tokenizer.decode)
    pieces = [detokenizer.push(token_id) for token_id in token_ids]
    if pieces:
        pieces[-1] += detokenizer.rest()
    return pieces


def legacy(tokens: Sequence[ScoredToken], offset: int, k: int) -> dict[str, Any]:
    """The ``logprobs`` of a completion: parallel lists. ``offset``: where the first token begins in the text.

    ``tokens`` are what each adds to the text, so that they join to it: a character of several tokens stands with the
    last of them, and the others, like special tokens, are empty. The chosen token is among its alternatives, as with
    OpenAI, so there may be k + 1.
    """
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.piece)
    return {
        "tokens": [token.piece for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [_with_chosen(token, k) for token in tokens],
        "text_offset": offsets,
    }


def chat(tokens: Sequence[ScoredToken], k: int) -> dict[str, Any]:
    """The ``logprobs`` of a chat choice."""

    def entry(text: str, logprob: float | None) -> dict[str, Any]:
        # A part of a character has bytes that are not known here.
        raw = None if "\ufffd" in text else list(text.encode())
        return {"token": text, "logprob": _MIN_LOGPROB if logprob is None else logprob, "bytes": raw}

    content = [
        {**entry(token.text, token.logprob), "top_logprobs": [entry(*pair) for pair in token.top[:k]]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _with_chosen(token: ScoredToken, k: int) -> dict[str, float] | None:
    if token.logprob is None:
        return None
    top = {token.piece if name == token.text else name: logprob for name, logprob in token.top[:k]}
    top.setdefault(token.piece, token.logprob)
    return top


def _alternatives(score: TokenScore, text: str, alone: Callable[[int], str]) -> list[tuple[str, float]]:
    """(text, log-probability), most likely first; tokens that look the same are told apart by their ids."""
    used: set[str] = {text}
    top = []
    for token_id, logprob in sorted(score.top.items(), key=lambda item: -item[1]):
        name = text if token_id == score.token_id else alone(token_id)
        if token_id != score.token_id and name in used:
            name = f"token_id:{token_id}"
        used.add(name)
        top.append((name, _finite(logprob)))
    return top


def _finite(logprob: float) -> float:
    return max(logprob, _MIN_LOGPROB)
