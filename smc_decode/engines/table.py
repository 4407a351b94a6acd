"""An exact toy engine: the model is a function from tokens to log-probabilities.

Everything that the sampler asks of an engine, without a neural network: tests compare runs on it with exact
enumeration. Next-token laws are computed once per prefix and kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from smc_decode.engines.base import (
    BaseEngine,
    Continuation,
    EngineInfo,
    EngineRequestError,
    Extend,
    FinishReason,
    Tokenizer,
    TokenScore,
)
from smc_decode.engines.checks import check_law, check_requests, check_score
from smc_decode.laws.codes import Uniforms
from smc_decode.laws.weights import Floats, log_sum_exp
from smc_decode.shaping import NO_SHAPING, Shaping

_MAX_LAWS = 200_000


class _Law:
    """The next-token law after one prefix: base log p, and for one temperature and shaping the sampler's tables."""

    __slots__ = ("cumulative", "log_p", "log_q", "support")

    def __init__(self, log_p: Floats, temperature: float, shaping: Shaping) -> None:
        tempered = log_p / temperature
        tempered = tempered - log_sum_exp(tempered)
        self.support = _support(tempered, shaping)
        tempered = np.where(self.support, tempered, -np.inf)
        log_q = tempered - log_sum_exp(tempered)
        cumulative = np.cumsum(np.exp(log_q))
        self.cumulative: list[float] = (cumulative / cumulative[-1]).tolist()
        self.log_q: list[float] = log_q.tolist()
        self.log_p: list[float] = log_p.tolist()

    def without(self, excluded: Sequence[int]) -> _Law:
        """The law of what is left when these tokens are not drawn; log p and log z stay: the target draws them."""
        log_q = np.array(self.log_q)
        log_q[list(excluded)] = -np.inf
        if not np.isfinite(log_q).any():
            raise EngineRequestError("excluded holds every token that can be drawn")
        left = _Law(log_q - log_sum_exp(log_q), 1.0, NO_SHAPING)
        left.log_p, left.support = self.log_p, self.support
        return left

    def log_z(self, alpha: float) -> float:
        """log of the sum over the support of p^alpha."""
        log_p = np.asarray(self.log_p)
        return log_sum_exp(alpha * log_p[self.support])


def _support(log_tempered: Floats, shaping: Shaping) -> np.ndarray:
    """Which tokens top-k, top-p and min-p keep of a tempered law, in vLLM's order; ties are kept."""
    keep = np.isfinite(log_tempered)
    probability = np.exp(log_tempered)
    if shaping.min_p > 0.0:
        keep &= probability >= shaping.min_p * probability.max()
    if 0 < shaping.top_k < probability.size:
        keep &= probability >= np.sort(probability)[-shaping.top_k]
    if shaping.top_p < 1.0:
        kept = np.where(keep, probability, 0.0)
        kept /= kept.sum()
        order = np.argsort(-kept, kind="stable")
        before = np.cumsum(kept[order]) - kept[order]
        last = int(np.flatnonzero(before < shaping.top_p)[-1])
        keep &= kept >= kept[order[last]]
    return keep


class TableEngine(BaseEngine):
    """``next_logprobs(tokens) -> (vocab_size,)`` base log-probabilities (normalised here) as an engine.

    Args:
        next_logprobs: from the generated tokens (without the prompt) to base log-probabilities; -inf is a hard zero.
        vocab_size: number of tokens.
        eos_token_id: the token that ends a sequence; None: sequences end at ``max_tokens`` only.
        tokenizer: text to ids and back, for servers on top of a table.
        sees_prompt: hand prompt + generated tokens to ``next_logprobs``.
    """

    def __init__(
        self,
        next_logprobs: Callable[[tuple[int, ...]], ArrayLike],
        vocab_size: int,
        eos_token_id: int | None = None,
        *,
        tokenizer: Tokenizer | None = None,
        sees_prompt: bool = False,
        max_model_len: int | None = None,
        name: str = "table",
    ) -> None:
        if vocab_size < 1:
            raise ValueError(f"vocab_size must be positive, got {vocab_size}")
        self._next = next_logprobs
        self._sees_prompt = sees_prompt
        self._tokenizer = tokenizer
        self._laws: dict[tuple[object, ...], _Law] = {}
        self._log_z: dict[tuple[object, ...], float] = {}
        self._info = EngineInfo(
            name="table",
            model=name,
            vocab_size=vocab_size,
            eos_token_ids=() if eos_token_id is None else (eos_token_id,),
            max_model_len=max_model_len,
            excludes=True,
            codes=True,
            shapes=frozenset({"top_k", "top_p", "min_p"}),
            scores=True,
            max_logprobs=min(20, vocab_size),
            empty_prompt=True,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._tokenizer

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        check_requests(self._info, requests)
        computed: set[tuple[object, ...]] = set()
        for index, request in enumerate(requests):
            sequence, known = request.sequence, len(computed)
            before = len(sequence.token_ids)
            drawn = self._draw(request)
            # The prefixes that no earlier draw of the call asked the table for.
            ids, prompt = tuple(sequence.token_ids), sequence.prompt_token_ids
            ends = range(before, before + len(drawn.token_ids))
            computed.update((prompt, request.temperature, ids[:end]) for end in ends)
            yield index, replace(drawn, computed=len(computed) - known)

    def _draw(self, request: Extend) -> Continuation:
        sequence = request.sequence
        context = sequence.prompt_token_ids if self._sees_prompt else ()
        ends = self._info.eos_token_ids
        token_ids: list[int] = []
        logprobs: list[float] = []
        proposal_logprobs: list[float] = []
        log_z: list[float] = []
        reason: FinishReason = "length"
        fresh = iter(np.random.default_rng(request.seed).random(request.max_new_tokens).tolist())
        uniforms = Uniforms(request.code, fresh.__next__)
        for _ in range(request.max_new_tokens):
            prefix = (*context, *sequence.token_ids)
            if request.temperature == 0.0:
                law = self._law(prefix, 1.0, request.shaping)
                token, log_q = int(np.argmax(law.log_q)), 0.0
            else:
                law = self._law(prefix, request.temperature, request.shaping)
                if request.excluded and not token_ids:
                    law = law.without(request.excluded)
                token = bisect_right(law.cumulative, uniforms.next())
                before = law.cumulative[token - 1] if token else 0.0
                uniforms.chose(before, law.cumulative[token] - before)
                log_q = law.log_q[token]
            sequence.token_ids.append(token)
            token_ids.append(token)
            logprobs.append(law.log_p[token])
            proposal_logprobs.append(log_q)
            if request.alpha is not None:
                log_z.append(self._log_normaliser(prefix, law, request))
            if token in ends:
                reason = "eos"
                break
            if token in request.stop_token_ids:
                reason = "stop"
                break
        return Continuation(token_ids, logprobs, proposal_logprobs, log_z, reason)

    def _law(self, prefix: tuple[int, ...], temperature: float, shaping: Shaping) -> _Law:
        # The common case has a short key: hashing a Shaping costs more than drawing a token.
        key = (prefix, temperature) if shaping is NO_SHAPING else (prefix, temperature, _cut(shaping))
        law = self._laws.get(key)
        if law is None:
            log_p = np.array(self._next(prefix), dtype=np.float64)
            if log_p.shape != (self._info.vocab_size,):
                raise ValueError(f"next_logprobs gave shape {log_p.shape}, expected ({self._info.vocab_size},)")
            check_law(self._info, log_p.tolist(), len(prefix))
            if len(self._laws) >= _MAX_LAWS:
                self._laws.clear()
            law = self._laws[key] = _Law(log_p - log_sum_exp(log_p), temperature, shaping)
        return law

    def _log_normaliser(self, prefix: tuple[int, ...], law: _Law, request: Extend) -> float:
        key = (prefix, request.temperature, request.alpha, _cut(request.shaping))
        value = self._log_z.get(key)
        if value is None:
            if len(self._log_z) >= _MAX_LAWS:
                self._log_z.clear()
            value = self._log_z[key] = law.log_z(request.alpha or 0.0)
        return value

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        check_score(self._info, token_ids, start, top_logprobs)
        scores = []
        for position in range(start, len(token_ids)):
            token = token_ids[position]
            if position == 0:
                scores.append(TokenScore(token, 0.0))
                continue
            log_p = self._law(tuple(token_ids[:position]), 1.0, NO_SHAPING).log_p
            best = sorted(range(len(log_p)), key=lambda v: -log_p[v])[:top_logprobs]
            scores.append(TokenScore(token, log_p[token], {v: log_p[v] for v in best}))
        return scores


def _cut(shaping: Shaping) -> tuple[int, float, float]:
    return shaping.top_k, shaping.top_p, shaping.min_p
