"""Running vLLM servers as an engine: token ids over HTTP, for models that are served already.

A sequence is its list of token ids. Each call of ``extend`` sends every sequence as a request of its own to the replica
that the run is pinned to, whose prefix cache holds what they share. Works with ``vllm serve MODEL`` as it is; what such
a server cannot tell exactly is refused (``remote_law``), and what it is, is checked before it is used
(``remote_check``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from smc_decode.engines.base import (
    Continuation,
    EngineError,
    EngineInfo,
    EngineRequestError,
    Extend,
    FinishReason,
    LiveSequence,
    Tokenizer,
    TokenScore,
)
from smc_decode.engines.checks import check_score, check_token_ids
from smc_decode.engines.remote.checks import (
    ServedModel,
    check_logprobs,
    check_tokenizer,
    probe_prompt,
    score_body,
    served_model,
    tells_proposals,
)
from smc_decode.engines.remote.law import columns_of
from smc_decode.engines.remote.replicas import Lease, NoAnswer, Replica, Replicas, TransportOf
from smc_decode.engines.remote.settings import RemoteSettings
from smc_decode.engines.remote.tokenizer import Vocabulary, load_vocabulary
from smc_decode.engines.remote.wire import ALPHA, COLUMNS, LABELS, PLAIN, BadReply, Drawn, read_drawn, read_scores

__all__ = ["Counters", "RemoteEngine", "RemoteSettings"]

_COMPLETIONS = "/v1/completions"
_MOST_LABELS = 128  # of vLLM's logprob_token_ids


@dataclass(slots=True)
class Counters:
    """What was asked of the servers since the start. ``tokens_cached``: as far as they say."""

    calls: int = 0
    requests: int = 0
    retried: int = 0
    tokens_sent: int = 0
    tokens_cached: int = 0
    tokens_drawn: int = 0
    aborted: int = 0


class RemoteSequence(LiveSequence):
    """A sequence with its family's lease on a replica."""

    __slots__ = ("lease",)

    def __init__(self, prompt_token_ids: tuple[int, ...], token_ids: list[int] | None, lease: Lease) -> None:
        super().__init__(prompt_token_ids, token_ids)
        self.lease = lease


class RemoteEngine:
    """An Engine on vLLM servers. Make one with :meth:`create`."""

    def __init__(
        self,
        settings: RemoteSettings,
        replicas: Replicas,
        model: ServedModel,
        vocabulary: Vocabulary,
        *,
        length: int,
        weighs: bool,
    ) -> None:
        self._settings = settings
        self._replicas = replicas
        self._model = model
        self._tokenizer = vocabulary.tokenizer
        self._counters = Counters()
        self._info = EngineInfo(
            name="remote",
            model=model.name,
            vocab_size=vocabulary.size,
            eos_token_ids=vocabulary.eos_token_ids,
            max_model_len=length,
            exact_log_z=weighs,
            max_logprobs=settings.max_logprobs,
        )

    @classmethod
    async def create(
        cls,
        settings: RemoteSettings,
        *,
        tokenizer: Tokenizer | None = None,
        transport_of: TransportOf | None = None,
    ) -> RemoteEngine:
        """Look at the servers and check them; those that do not answer are left out until they do.

        ``tokenizer`` instead of the one that the settings name (``vocab_size`` must then be set);
        ``transport_of``: from an address to the httpx transport that reaches it.

        Raises EngineError: no server answers, or one is not what it must be.
        """
        replicas = Replicas(settings, transport_of)
        try:
            return await cls._create(settings, replicas, tokenizer)
        except BaseException:
            await replicas.aclose()
            raise

    @classmethod
    async def _create(cls, settings: RemoteSettings, replicas: Replicas, tokenizer: Tokenizer | None) -> RemoteEngine:
        models = [model for model in await asyncio.gather(*(_look(each, settings) for each in replicas)) if model]
        if not models:
            await replicas.health()  # raises, saying why
        model = models[0]
        if tokenizer is None:
            vocabulary = await load_vocabulary(settings, model.root)
        elif settings.vocab_size is None:
            raise ValueError("a tokenizer of your own needs vocab_size in the settings")
        else:
            vocabulary = Vocabulary(tokenizer, settings.vocab_size, settings.eos_token_ids or ())
        # One token less than the servers': scoring a sequence draws one more.
        length = min(each.max_model_len for each in models) - 1
        if settings.max_model_len is not None:
            if settings.max_model_len > length:
                raise EngineError(
                    f"max_model_len {settings.max_model_len} exceeds the servers' context: at most {length}"
                )
            length = settings.max_model_len
        weighing = [await _weighs(replica, model.name, vocabulary) for replica in replicas.up]
        engine = cls(settings, replicas, model, vocabulary, length=length, weighs=bool(weighing) and all(weighing))
        replicas.readmit_by(engine.check)
        await asyncio.gather(*(engine._check_first(replica) for replica in replicas.up))
        await replicas.health()
        return engine

    async def _check_first(self, replica: Replica) -> None:
        try:
            await self.check(replica)
        except NoAnswer as error:
            replica.leave(str(error))

    async def check(self, replica: Replica) -> None:
        """What a replica must pass to be used. Raises EngineError, NoAnswer."""
        model = await served_model(replica, self._model.name)
        if model.max_model_len <= (self._info.max_model_len or 0):
            raise EngineError(f"{replica.url} has a context of {model.max_model_len} tokens only")
        prompt, size = probe_prompt(self._tokenizer), self._info.vocab_size
        await check_tokenizer(replica, self._model.name, self._tokenizer)
        await check_logprobs(replica, self._model.name, prompt, self._settings.max_logprobs, size)
        if self._info.exact_log_z and not await tells_proposals(replica, self._model.name, prompt, size):
            raise EngineError(
                f"{replica.url} does not load smc_decode.engines.vllm.inside.served_rows, as the others do"
            )

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def replicas(self) -> list[tuple[str, bool]]:
        """The servers' addresses, and which of them are in use."""
        return [(replica.url, replica.up) for replica in self._replicas]

    @property
    def counters(self) -> Counters:
        self._counters.retried = self._replicas.retried
        return self._counters

    # ---- sequences --------------------------------------------------------------------------------------------

    async def open(self, prompt_token_ids: Sequence[int]) -> RemoteSequence:
        check_token_ids(self._info, prompt_token_ids, "prompt")
        limit = self._info.max_model_len
        if limit is not None and len(prompt_token_ids) >= limit:
            raise EngineRequestError(
                f"the prompt has {len(prompt_token_ids)} tokens, and the model's context of {limit} must hold the "
                "answer too: shorten the prompt"
            )
        return RemoteSequence(tuple(prompt_token_ids), None, Lease(prompt_token_ids))

    async def fork(self, sequence: LiveSequence) -> RemoteSequence:
        return RemoteSequence(sequence.prompt_token_ids, sequence.token_ids.copy(), _lease(sequence))

    async def rewind(self, sequence: LiveSequence, length: int) -> None:
        del sequence.token_ids[length:]

    async def close(self, sequence: LiveSequence) -> None:
        return None  # a lease ends with the last of its sequences

    # ---- drawing ----------------------------------------------------------------------------------------------

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        if len({id(request.sequence) for request in requests}) < len(requests):
            raise ValueError("the same sequence twice in one call of extend: fork it first")
        bodies = [self._body(request) for request in requests]
        if not bodies:
            return
        counters = self._counters
        counters.calls += 1
        counters.requests += len(bodies)
        counters.tokens_sent += sum(len(body["prompt"]) for body in bodies)
        for request in requests:
            _lease(request.sequence).width = len(requests)
        tasks = {
            asyncio.create_task(self._draw(request, body)): index
            for index, (request, body) in enumerate(zip(requests, bodies, strict=True))
        }
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda each: tasks[each]):
                    continuation = task.result()
                    requests[tasks[task]].sequence.token_ids.extend(continuation.token_ids)
                    counters.tokens_cached += continuation.prompt_cached
                    counters.tokens_drawn += len(continuation.token_ids)
                    yield tasks[task], continuation
        finally:
            # A request whose connection is closed is aborted by vLLM.
            counters.aborted += sum(task.cancel() for task in tasks)
            await asyncio.gather(*tasks, return_exceptions=True)

    def _body(self, request: Extend) -> dict[str, Any]:
        """The request as vLLM takes it. Raises EngineRequestError for what would not be exact."""
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
        if request.excluded:
            raise EngineRequestError("a remote server cannot exclude tokens from the first draw alone")
        columns = columns_of(request, weighs=self._info.exact_log_z)
        check_token_ids(self._info, request.stop_token_ids, "stop_token_ids", empty=True)
        check_token_ids(self._info, list(shaping.logit_bias), "logit_bias", empty=True)
        greedy = request.temperature == 0
        body: dict[str, Any] = {
            **PLAIN,
            "model": self._model.name,
            "prompt": prompt,
            "max_tokens": request.max_new_tokens,
            "temperature": float(request.temperature),
            "stop_token_ids": sorted(self._stops(request)),
            "ignore_eos": shaping.ignore_eos,
            "repetition_penalty": shaping.repetition_penalty,
            # vLLM counts from where a request begins, and takes no more than it may draw.
            "min_tokens": min(max(shaping.min_tokens - len(sequence.token_ids), 0), request.max_new_tokens),
        }
        if not greedy:
            top_k = shaping.top_k if shaping.top_k < self._info.vocab_size else 0
            body |= {"seed": request.seed & (2**63 - 1), "top_k": top_k}
            body |= {"top_p": shaping.top_p, "min_p": shaping.min_p}
        if shaping.logit_bias:
            body["logit_bias"] = {str(token): bias for token, bias in shaping.logit_bias.items()}
        if request.logprobs or request.alpha is not None:
            body["logprobs"] = len(columns)
        if columns:
            body["vllm_xargs"] = {COLUMNS: columns} | ({ALPHA: request.alpha} if "z" in columns else {})
        return body

    def _stops(self, request: Extend) -> frozenset[int]:
        own = () if request.shaping.ignore_eos else self._info.eos_token_ids
        return frozenset((*request.stop_token_ids, *own))

    async def _draw(self, request: Extend, body: dict[str, Any]) -> Continuation:
        lease = _lease(request.sequence)
        reply = await self._replicas.call(lease, _COMPLETIONS, body)
        columns = body.get("vllm_xargs", {}).get(COLUMNS, "")
        with _blaming(lease):
            drawn = read_drawn(
                reply,
                max_tokens=request.max_new_tokens,
                logprobs="logprobs" in body,
                vocab_size=self._info.vocab_size,
                stops=self._stops(request),
                columns=columns,
            )
        told = dict(zip(columns, drawn.columns, strict=True))
        proposal = [0.0] * len(drawn.logprobs) if request.temperature == 0 else told.get("q", drawn.logprobs)
        if not request.proposal_logprobs and "q" not in told:
            proposal = []
        log_z: list[float] = told.get("z", [])
        if request.alpha is not None and "z" not in told:
            log_z = [request.alpha * p - q for p, q in zip(drawn.logprobs, proposal, strict=True)]
        return Continuation(
            token_ids=drawn.token_ids,
            logprobs=drawn.logprobs,
            proposal_logprobs=proposal,
            log_z=log_z,
            finish_reason=self._finish_reason(request, drawn),
            # Servers that do not say what came from their cache leave both counts at 0.
            prompt_cached=drawn.cached or 0,
            prompt_computed=0 if drawn.cached is None else max(len(body["prompt"]) - drawn.cached, 0),
        )

    def _finish_reason(self, request: Extend, drawn: Drawn) -> FinishReason:
        if not drawn.stopped:
            return "length"
        last = drawn.token_ids[-1]
        known = last in self._info.eos_token_ids
        # A token that the server stops at of its own accord ends answers as EOS does.
        if request.shaping.ignore_eos or (last in request.stop_token_ids and not known):
            return "stop"
        return "eos"

    # ---- scoring ----------------------------------------------------------------------------------------------

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        ids = list(token_ids)
        check_score(self._info, ids, start, top_logprobs, self._info.max_logprobs)
        scores = [TokenScore(ids[0], 0.0)] if start == 0 else []
        first = max(start, 1)
        if first >= len(ids):
            return scores
        lease = Lease(ids)
        reply = await self._replicas.call(lease, _COMPLETIONS, score_body(self._model.name, ids, top_logprobs))
        with _blaming(lease):
            rows = read_scores(reply, ids, first, top_logprobs, self._info.vocab_size)
        for token, row in zip(ids[first:], rows, strict=True):
            likeliest = sorted(row.items(), key=lambda item: -item[1])[:top_logprobs]
            scores.append(TokenScore(token, row[token], dict(likeliest)))
        return scores

    async def label_logprobs(
        self, token_id_lists: Sequence[Sequence[int]], label_ids: Sequence[int]
    ) -> list[dict[int, float]]:
        """Base log-probability of each of ``label_ids`` as the next token after each of the lists.

        For generative verifiers: one token's worth of work a list; shared prefixes are cached.
        """
        labels = list(dict.fromkeys(label_ids))
        check_token_ids(self._info, labels, "label_ids")
        most = min(_MOST_LABELS, self._info.max_logprobs) if self._info.exact_log_z else _MOST_LABELS
        if len(labels) > most:
            raise EngineRequestError(f"at most {most} label_ids, got {len(labels)}")
        limit = self._info.max_model_len
        for token_ids in token_id_lists:
            check_token_ids(self._info, token_ids, "token_id_lists")
            if limit is not None and len(token_ids) >= limit:
                raise EngineRequestError(f"{len(token_ids)} tokens and a label exceed the model's context of {limit}")
        tasks = [asyncio.create_task(self._labels(list(ids), labels)) for ids in token_id_lists]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _labels(self, ids: list[int], labels: list[int]) -> dict[int, float]:
        body = {**PLAIN, "model": self._model.name, "prompt": ids, "max_tokens": 1, "temperature": 0.0}
        body |= {"ignore_eos": True, "logprobs": len(labels)}
        columns = "p" * len(labels) if self._info.exact_log_z else ""
        # vLLM's own option replaces the log-probabilities of its whole batch.
        body |= {"vllm_xargs": {LABELS: labels}} if columns else {"logprob_token_ids": labels}
        lease = Lease(ids)
        reply = await self._replicas.call(lease, _COMPLETIONS, body)
        with _blaming(lease):
            drawn = read_drawn(
                reply,
                max_tokens=1,
                logprobs=True,
                vocab_size=self._info.vocab_size,
                stops=frozenset(),
                columns=columns,
            )
            if columns:
                return {label: column[0] for label, column in zip(labels, drawn.columns, strict=True)}
            told = drawn.top[0] | {drawn.token_ids[0]: drawn.logprobs[0]}
            if any(label not in told for label in labels):
                raise BadReply("no log-probabilities of labels: they need a vLLM that knows logprob_token_ids")
        return {label: told[label] for label in labels}

    # ---- life -------------------------------------------------------------------------------------------------

    async def health(self) -> None:
        await self._replicas.health()

    async def shutdown(self) -> None:
        await self._replicas.aclose()


async def _look(replica: Replica, settings: RemoteSettings) -> ServedModel | None:
    """The replica's model; None, and out of use, where it does not answer."""
    try:
        return await served_model(replica, settings.model)
    except NoAnswer as error:
        replica.leave(str(error))
        return None


async def _weighs(replica: Replica, model: str, vocabulary: Vocabulary) -> bool:
    try:
        return await tells_proposals(replica, model, probe_prompt(vocabulary.tokenizer), vocabulary.size)
    except NoAnswer as error:
        replica.leave(str(error))
        return True  # it is checked again before it is used


def _lease(sequence: LiveSequence) -> Lease:
    if not isinstance(sequence, RemoteSequence):
        raise ValueError("the sequence belongs to another engine: open it with this one")
    return sequence.lease


class _blaming:
    """Names the replica in what is said of its reply."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BadReply):
            url = self._lease.replica.url if self._lease.replica else "a server"
            raise EngineError(f"{url} gave an answer that cannot be used: {error}") from error
