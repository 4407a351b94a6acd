"""Log-probabilities of an answer's tokens under the base model (temperature 1, no shaping)."""

from __future__ import annotations

from collections.abc import Sequence

from smc_decode.engines.base import Engine, TokenScore

from ..runs.request import Prompt
from .logprobs import ScoredToken, scored_tokens


async def score_answer(
    engine: Engine,
    prompt: Prompt,
    token_ids: Sequence[int],
    start: int,
    pieces: Sequence[str],
    alternatives: int,
    carried: Sequence[float] = (),
) -> list[ScoredToken]:
    """``token_ids[start:]``, with ``alternatives`` beside each.

    ``pieces``: the text of every token. ``carried``: the log-probabilities that the particle has already, or none: they
    are not computed again where nothing else is asked for.
    """
    tokenizer = engine.tokenizer
    if tokenizer is None or start >= len(token_ids):
        return []
    if alternatives == 0 and len(carried) == len(token_ids):
        known = zip(token_ids[start:], carried[start:], strict=True)
        scores = [TokenScore(token_id, logprob) for token_id, logprob in known]
    else:
        before = len(prompt.token_ids) + start
        scores = await engine.score([*prompt.token_ids, *token_ids], before, top_logprobs=alternatives)
    return scored_tokens(tokenizer, scores, pieces[start:])
