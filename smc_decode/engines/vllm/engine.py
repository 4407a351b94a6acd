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
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from smc_decode.engines.base import (
    NO_SHAPING,
    Continuation,
    EngineError,
    EngineInfo,
    EngineRequestError,
    Extend,
    FinishReason,
    LiveSequence,
    Shaping,
    TokenScore,
)
from smc_decode.engines.checks import check_score, check_token_ids
from smc_decode.engines.vllm.messages import Generate, Generated, Rejected, Reply, Score, Scored
from smc_decode.engines.vllm.process import EngineProcess, Mailbox
from smc_decode.engines.vllm.settings import VLLMSettings
from smc_decode.engines.vllm.tokenizer import HFTokenizer

__all__ = ["Counters", "VLLMEngine", "VLLMSettings"]

_MOST_LABELS = 128
_MOST_ALTERNATIVES = 64
_LEAST_TEMPERATURE = 1e-3
_MOST_TEMPERATURE = 1e3
_PING_SECONDS = 60.0


@dataclass(slots=True)
class Counters:
    """What was asked of vLLM since the start. ``tokens_sent``: of re-submitted prefixes, of which ``tokens_cached``
    came from the prefix cache."""

    calls: int = 0
    requests: int = 0
    tokens_sent: int = 0
    tokens_cached: int = 0
    tokens_drawn: int = 0
    aborted: int = 0


class VLLMEngine:
    """An Engine on an embedded vLLM. Make one with :meth:`create`."""

    def __init__(self, settings: VLLMSettings, process: EngineProcess, tokenizer: HFTokenizer) -> None:
        ready = process.ready
        self._settings = settings
        self._process = process
        self._tokenizer = tokenizer
        self._exact = ready.exact_sampler
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
            max_logprobs=_MOST_ALTERNATIVES,
        )
        self.counters = Counters()

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

    # ---- sequences --------------------------------------------------------------------------------------------

    async def open(self, prompt_token_ids: Sequence[int]) -> LiveSequence:
        check_token_ids(self._info, prompt_token_ids, "prompt")
        limit = self._info.max_model_len
        if limit is not None and len(prompt_token_ids) >= limit:
            raise EngineRequestError(
                f"the prompt has {len(prompt_token_ids)} tokens, and the model's context of {limit} must hold the "
                "answer too: shorten the prompt"
            )
        return LiveSequence(tuple(prompt_token_ids))

    async def fork(self, sequence: LiveSequence) -> LiveSequence:
        return LiveSequence(sequence.prompt_token_ids, sequence.token_ids.copy())

    async def rewind(self, sequence: LiveSequence, length: int) -> None:
        del sequence.token_ids[length:]

    async def close(self, sequence: LiveSequence) -> None:
        return None

    # ---- drawing ----------------------------------------------------------------------------------------------

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        if len({id(request.sequence) for request in requests}) < len(requests):
            raise ValueError("the same sequence twice in one call of extend: fork it first")
        jobs = [self._job(request) for request in requests]
        if not jobs:
            return
        index = {job.id: i for i, job in enumerate(jobs)}
        self.counters.calls += 1
        self.counters.requests += len(jobs)
        self.counters.tokens_sent += sum(len(job.prompt) for job in jobs)
        pending = set(index)
        mailbox = self._process.submit(jobs)
        try:
            while pending:
                reply = await _accepted(mailbox)
                pending.discard(reply.id)
                if isinstance(reply, Generated):
                    i = index[reply.id]
                    continuation = self._continuation(requests[i], jobs[i], reply)
                    requests[i].sequence.token_ids.extend(continuation.token_ids)
                    self.counters.tokens_cached += reply.cached
                    self.counters.tokens_drawn += len(reply.token_ids)
                    yield i, continuation
        finally:
            self.counters.aborted += len(pending)
            self._process.abort(pending)

    def _job(self, request: Extend) -> Generate:
        """The request as vLLM takes it; everything that vLLM would refuse, or die of, is refused here."""
        sequence, shaping = request.sequence, request.shaping
        prompt = [*sequence.prompt_token_ids, *sequence.token_ids]
        limit = self._info.max_model_len
        if request.max_new_tokens < 1:
            raise EngineRequestError(f"max_new_tokens must be at least 1, got {request.max_new_tokens}")
        if limit is not None and len(prompt) + request.max_new_tokens > limit:
            raise EngineRequestError(
                f"{len(prompt)} tokens and {request.max_new_tokens} more exceed the model's context of {limit}: "
                "shorten the prompt or lower max_tokens"
            )
        temperature = self._temperature(request.temperature)
        self._check_shaping(shaping)
        check_token_ids(self._info, request.stop_token_ids, "stop_token_ids", empty=True)
        if request.excluded and not self._exact:
            raise EngineRequestError("this vLLM's sampler cannot exclude tokens from the first draw alone")
        columns = self._columns(request)
        stops = set(request.stop_token_ids)
        if not shaping.ignore_eos:
            stops.update(self._info.eos_token_ids)
        return Generate(
            id=self._process.next_id(),
            prompt=prompt,
            max_tokens=request.max_new_tokens,
            temperature=temperature,
            seed=request.seed & (2**63 - 1),
            stop_token_ids=sorted(stops),
            logprobs=request.logprobs or request.alpha is not None,
            columns=columns,
            alpha=request.alpha if "z" in columns else None,
            top_k=shaping.top_k if shaping.top_k < self._info.vocab_size else 0,
            top_p=shaping.top_p,
            min_p=shaping.min_p,
            # vLLM counts from where a request begins, and takes no more than it may draw.
            min_tokens=min(max(shaping.min_tokens - len(sequence.token_ids), 0), request.max_new_tokens),
            logit_bias=dict(shaping.logit_bias) or None,
            repetition_penalty=shaping.repetition_penalty,
            presence_penalty=shaping.presence_penalty,
            frequency_penalty=shaping.frequency_penalty,
            grammar=shaping.grammar,
            generated=len(sequence.token_ids),
            excluded=list(request.excluded),
        )

    def _columns(self, request: Extend) -> str:
        """What the sampler must tell besides log p; what follows from log p alone is worked out here."""
        if not request.logprobs and request.alpha is None:
            return ""
        columns = ""
        shaped = request.shaping is not NO_SHAPING and (request.shaping.truncates or request.shaping.reweights)
        shaped = shaped or bool(request.excluded)
        if request.temperature > 0 and (request.temperature != 1.0 or shaped):
            columns += "q"
        if request.alpha is not None and not self._follows(request):
            columns += "z"
        if columns and not self._exact:
            raise EngineRequestError(
                "this vLLM's sampler cannot tell proposal log-probabilities: use temperature 1 without shaping, or "
                "target='tempered' at the proposal temperature 1/alpha"
            )
        return columns

    def _follows(self, request: Extend) -> bool:
        """Whether log z = alpha log p - log q: the proposal is p^alpha, normalised."""
        matched = request.alpha is not None and math.isclose(request.alpha * request.temperature, 1.0, rel_tol=1e-9)
        return matched and not request.shaping.reweights

    def _continuation(self, request: Extend, job: Generate, reply: Generated) -> Continuation:
        logprobs: list[float] = []
        proposal: list[float] = []
        log_z: list[float] = []
        if reply.values:
            logprobs = reply.values[0]
            told = dict(zip(job.columns, reply.values[1:], strict=True))
            if request.temperature == 0:
                proposal = [0.0] * len(logprobs)
            else:
                proposal = told.get("q", logprobs)
            if "z" in told:
                log_z = told["z"]
            elif request.alpha is not None:
                log_z = [request.alpha * p - q for p, q in zip(logprobs, proposal, strict=True)]
        return Continuation(
            token_ids=reply.token_ids,
            logprobs=logprobs,
            proposal_logprobs=proposal,
            log_z=log_z,
            finish_reason=self._finish_reason(request, reply),
            prompt_cached=reply.cached,
            prompt_computed=len(job.prompt) - reply.cached,
        )

    def _finish_reason(self, request: Extend, reply: Generated) -> FinishReason:
        if not reply.stopped:
            return "length"
        last = reply.token_ids[-1]
        return "eos" if last in self._info.eos_token_ids and not request.shaping.ignore_eos else "stop"

    # ---- scoring ----------------------------------------------------------------------------------------------

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        ids = list(token_ids)
        check_score(self._info, ids, start, top_logprobs, _MOST_ALTERNATIVES)
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
        check_token_ids(self._info, labels, "label_ids")
        if len(labels) > _MOST_LABELS:
            raise EngineRequestError(f"at most {_MOST_LABELS} label_ids, got {len(labels)}")
        if not self._exact:
            raise EngineRequestError("this vLLM's sampler cannot tell the log-probabilities of labels")
        limit = self._info.max_model_len
        jobs = []
        for token_ids in token_id_lists:
            check_token_ids(self._info, token_ids, "token_id_lists")
            if limit is not None and len(token_ids) >= limit:
                raise EngineRequestError(f"{len(token_ids)} tokens and a label exceed the model's context of {limit}")
            jobs.append(Generate(self._process.next_id(), list(token_ids), 1, temperature=0.0, seed=0, labels=labels))
        answers = []
        for reply in await self._ask(jobs):
            if not isinstance(reply, Generated):
                raise EngineError("vLLM gave no log-probabilities")
            answers.append({label: values[0] for label, values in zip(labels, reply.values[1:], strict=True)})
        return answers

    async def _ask(self, jobs: Sequence[Generate | Score]) -> list[Reply]:
        """Submit jobs and wait for all; aborted when the caller is cancelled."""
        if not jobs:
            return []
        replies: dict[int, Reply] = {}
        mailbox = self._process.submit(jobs)
        try:
            while len(replies) < len(jobs):
                reply = await _accepted(mailbox)
                replies[reply.id] = reply
        finally:
            self._process.abort(job.id for job in jobs if job.id not in replies)
        return [replies[job.id] for job in jobs]

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

    # ---- checks -----------------------------------------------------------------------------------------------

    def _temperature(self, temperature: float) -> float:
        if temperature == 0:
            return 0.0
        if not _LEAST_TEMPERATURE <= temperature <= _MOST_TEMPERATURE:
            raise EngineRequestError(
                f"temperature must be 0 or from {_LEAST_TEMPERATURE} to {_MOST_TEMPERATURE}, got {temperature}"
            )
        return float(temperature)

    def _check_shaping(self, shaping: Shaping) -> None:
        if shaping is NO_SHAPING:
            return
        ranges: dict[str, tuple[float, float]] = {
            "top_k": (0, math.inf),
            "min_p": (0.0, 1.0),
            "presence_penalty": (-2.0, 2.0),
            "frequency_penalty": (-2.0, 2.0),
            "min_tokens": (0, math.inf),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(shaping, name) <= high:
                raise EngineRequestError(f"{name} must be from {low:g} to {high:g}, got {getattr(shaping, name)}")
        if not 0.0 < shaping.top_p <= 1.0:
            raise EngineRequestError(f"top_p must be above 0 and at most 1, got {shaping.top_p}")
        if not (0.0 < shaping.repetition_penalty < math.inf):
            raise EngineRequestError(f"repetition_penalty must be positive, got {shaping.repetition_penalty}")
        check_token_ids(self._info, list(shaping.logit_bias), "logit_bias", empty=True)
        if not all(math.isfinite(bias) for bias in shaping.logit_bias.values()):
            raise EngineRequestError("logit_bias must be finite numbers")
        penalised = shaping.repetition_penalty != 1.0 or shaping.presence_penalty or shaping.frequency_penalty
        if penalised and not self._exact:
            raise EngineRequestError("this vLLM's sampler cannot apply penalties over several blocks")
        if shaping.grammar is not None:
            _check_grammar(shaping, self._exact)


_GRAMMARS = ("json_schema", "regex", "json_object")


def _check_grammar(shaping: Shaping, exact: bool) -> None:
    grammar = shaping.grammar
    if not isinstance(grammar, Mapping) or len(grammar) != 1 or next(iter(grammar)) not in _GRAMMARS:
        raise EngineRequestError(f"grammar must be an object with one of the keys {', '.join(_GRAMMARS)}")
    if shaping.min_tokens or shaping.ignore_eos:
        raise EngineRequestError("the grammar decides where an answer ends: leave min_tokens and ignore_eos out")
    if not exact:
        raise EngineRequestError("this vLLM's sampler cannot follow a grammar over several blocks")


async def _accepted(mailbox: Mailbox) -> Reply:
    """The next reply. Raises EngineRequestError when vLLM would not take a job."""
    reply = await mailbox.get()
    if isinstance(reply, Rejected):
        raise EngineRequestError(reply.message)
    return reply
