"""vLLM as an engine: token ids in, token ids out, with log p, log q and log z of every drawn token.

A sequence is its list of token ids; forking copies it and rewinding cuts it. Each call of ``extend`` submits the whole
population at once as prefixes, and vLLM's prefix cache holds their full blocks, whoever computed them. vLLM itself runs
in a process of its own (``inside.worker``); importing this module imports neither vllm nor torch.

Numerics: log p and log q are those of the very logits that a token was drawn from, so weights are exact. ``score``
computes the same log p with other matrix kernels (a step's kernels depend on how many tokens it holds), so in bfloat16
the two differ by rounding: a few hundredths of a nat a token on average, some tenths at most; 1e-5 in float32. For the
same reason a seed gives the same tokens only while the other sequences in the batch leave the kernels the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from smc_decode.engines.base import (
    BaseEngine,
    Continuation,
    EngineError,
    EngineInfo,
    EngineRequestError,
    Extend,
    TokenScore,
)
from smc_decode.engines.checks import check_labels, check_requests, check_score
from smc_decode.engines.vllm.messages import Generate, Generated, Rejected, Reply, Score, Scored
from smc_decode.engines.vllm.process import EngineProcess, Mailbox
from smc_decode.engines.vllm.requests import continuation, generate, shapes
from smc_decode.engines.vllm.settings import VLLMSettings
from smc_decode.engines.vllm.tokenizer import HFTokenizer

__all__ = ["Counters", "VLLMEngine", "VLLMSettings"]

_MAX_LABELS = 128
_MAX_ALTERNATIVES = 64
_PING_SECONDS = 60.0


@dataclass(slots=True)
class Counters:
    """What was asked of vLLM since the start. ``tokens_sent``: of re-submitted prefixes, of which ``tokens_cached``
    came from the prefix cache; ``rows_computed``: forward rows for ``tokens_drawn``."""

    calls: int = 0
    requests: int = 0
    tokens_sent: int = 0
    tokens_cached: int = 0
    tokens_drawn: int = 0
    rows_computed: int = 0
    aborted: int = 0


class VLLMEngine(BaseEngine):
    """An Engine on an embedded vLLM. Make one with :meth:`create`."""

    def __init__(self, settings: VLLMSettings, process: EngineProcess, tokenizer: HFTokenizer) -> None:
        ready = process.ready
        self._settings = settings
        self._process = process
        self._tokenizer = tokenizer
        eos = ready.eos_token_ids
        if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in eos:
            eos = (*eos, tokenizer.eos_token_id)
        self._info = EngineInfo(
            name="vllm",
            model=settings.model,
            vocab_size=ready.vocab_size,
            eos_token_ids=eos,
            max_model_len=ready.max_model_len,
            cache_block_size=ready.block_size,
            exact_log_z=ready.exact_sampler,
            excludes=ready.exact_sampler,
            codes=ready.exact_sampler,
            shapes=shapes(ready.exact_sampler),
            scores=True,
            labels=ready.exact_sampler,
            max_logprobs=_MAX_ALTERNATIVES,
        )
        self._counters = Counters()

    @classmethod
    async def create(cls, settings: VLLMSettings) -> VLLMEngine:
        """Load the model. Raises EngineError, with what vLLM said, when that fails."""
        tokenizing = asyncio.create_task(
            asyncio.to_thread(HFTokenizer.load, settings.model, trust_remote_code=settings.trust_remote_code)
        )
        try:
            process = await EngineProcess.start(settings)
        except BaseException:
            tokenizing.cancel()
            raise
        try:
            tokenizer = await tokenizing
        except Exception as error:
            await process.shutdown()
            raise EngineError(f"cannot load the tokenizer of {settings.model}: {error}") from error
        except BaseException:
            await process.shutdown()
            raise
        return cls(settings, process, tokenizer)

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def tokenizer(self) -> HFTokenizer:
        return self._tokenizer

    @property
    def counters(self) -> Counters:
        return self._counters

    @property
    def settings(self) -> VLLMSettings:
        return self._settings

    @property
    def pid(self) -> int:
        """Process id of the engine."""
        return self._process.pid

    @property
    def start_seconds(self) -> Mapping[str, float]:
        """What the start consisted of: importing vLLM, loading the model, checking the sampler."""
        return self._process.ready.seconds

    # ---- drawing ----------------------------------------------------------------------------------------------

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        check_requests(self._info, requests)
        call = self._process.next_id()
        sent = [generate(self._info, self._process.next_id(), request, call) for request in requests]
        if not sent:
            return
        index = {each.id: i for i, each in enumerate(sent)}
        counters = self._counters
        counters.calls += 1
        counters.requests += len(sent)
        counters.tokens_sent += sum(len(each.prompt) for each in sent)
        pending = set(index)
        mailbox = self._process.submit(sent)
        try:
            while pending:
                reply = await _accepted(mailbox)
                pending.discard(reply.id)
                if isinstance(reply, Generated):
                    i = index[reply.id]
                    drawn = continuation(self._info, requests[i], sent[i], reply)
                    requests[i].sequence.token_ids.extend(drawn.token_ids)
                    counters.tokens_cached += reply.cached
                    counters.tokens_drawn += len(reply.token_ids)
                    counters.rows_computed += reply.rows
                    yield i, drawn
        finally:
            counters.aborted += len(pending)
            self._process.abort(pending)

    # ---- scoring ----------------------------------------------------------------------------------------------

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        ids = list(token_ids)
        check_score(self._info, ids, start, top_logprobs)
        scores = [TokenScore(ids[0], 0.0)] if start == 0 else []
        first = max(start, 1)
        if first >= len(ids):
            return scores
        # vLLM tells nothing of positions that it reads from the cache: try it only where they are not asked for.
        reply = await self._score(ids, first, top_logprobs, use_cache=first > 1)
        if reply.valid_from > first:
            reply = await self._score(ids, first, top_logprobs, use_cache=False)
        if reply.token_ids != ids[first:] or reply.valid_from > first:
            raise EngineError("vLLM told log-probabilities of other tokens than were asked for")
        for token, logprob, top in zip(reply.token_ids, reply.logprobs, reply.top, strict=True):
            scores.append(TokenScore(token, logprob, dict(top)))
        return scores

    async def _score(self, ids: list[int], first: int, top: int, *, use_cache: bool) -> Scored:
        (reply,) = await self._ask([Score(self._process.next_id(), ids, first, top, use_cache)])
        if not isinstance(reply, Scored):
            raise EngineError("vLLM gave no log-probabilities")
        return reply

    async def label_logprobs(
        self, token_id_lists: Sequence[Sequence[int]], label_ids: Sequence[int]
    ) -> list[dict[int, float]]:
        """Base log-probability of each of ``label_ids`` as the next token after each of the lists.

        For generative verifiers: one token's worth of work a list, all in one call; shared prefixes are cached.
        """
        labels = list(dict.fromkeys(label_ids))
        check_labels(self._info, token_id_lists, labels, _MAX_LABELS)
        if not self._info.labels:
            raise EngineRequestError("this vLLM's sampler cannot tell the log-probabilities of labels")
        requests = [
            Generate(self._process.next_id(), list(token_ids), 1, temperature=0.0, seed=0, labels=labels)
            for token_ids in token_id_lists
        ]
        answers = []
        for reply in await self._ask(requests):
            if not isinstance(reply, Generated):
                raise EngineError("vLLM gave no log-probabilities")
            answers.append({label: values[0] for label, values in zip(labels, reply.values[1:], strict=True)})
        return answers

    async def _ask(self, requests: Sequence[Generate | Score]) -> list[Reply]:
        """Submit them and wait for all; aborted when the caller is cancelled."""
        if not requests:
            return []
        replies: dict[int, Reply] = {}
        mailbox = self._process.submit(requests)
        try:
            while len(replies) < len(requests):
                reply = await _accepted(mailbox)
                replies[reply.id] = reply
        finally:
            self._process.abort(request.id for request in requests if request.id not in replies)
        return [replies[request.id] for request in requests]

    # ---- life -------------------------------------------------------------------------------------------------

    async def health(self) -> None:
        await self._process.ping(_PING_SECONDS)

    async def unfinished(self) -> int:
        """How many requests vLLM works on at this moment."""
        return await self._process.ping(_PING_SECONDS)

    async def metrics_text(self) -> str:
        """vLLM's own metrics (``vllm:*``) in Prometheus' text format; empty where ``metrics`` is off."""
        return await self._process.metrics(_PING_SECONDS)

    async def shutdown(self) -> None:
        await self._process.shutdown()


async def _accepted(mailbox: Mailbox) -> Reply:
    """The next reply. Raises EngineRequestError when vLLM would not take a request."""
    reply = await mailbox.get()
    if isinstance(reply, Rejected):
        raise EngineRequestError(reply.message)
    return reply
