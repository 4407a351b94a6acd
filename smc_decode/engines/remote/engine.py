"""Running vLLM servers as an engine: token ids over HTTP, for models that are served already.

A sequence is its list of token ids. Each call of ``extend`` sends every distinct prefix as a request to the replica
that the run is pinned to (``remote.bundles``), whose prefix cache holds what they share. Works with ``vllm serve
MODEL`` as it is; what such a server cannot tell exactly is refused (``remote.law``), and what it is, is checked before
it is used (``remote.checks``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from smc_decode.engines.base import (
    BaseEngine,
    Continuation,
    EngineError,
    EngineInfo,
    Extend,
    LiveSequence,
    Tokenizer,
    TokenScore,
)
from smc_decode.engines.checks import check_labels, check_requests, check_score
from smc_decode.engines.remote.bundles import bundled, each_alone
from smc_decode.engines.remote.checks import (
    ServedModel,
    check_logprobs,
    check_tokenizer,
    draws_apart,
    probe_prompt,
    score_body,
    served_model,
    tells_proposals,
)
from smc_decode.engines.remote.law import SHAPES, check_shaping
from smc_decode.engines.remote.replicas import Lease, NoAnswer, Replica, Replicas, TransportOf
from smc_decode.engines.remote.requests import continuation, extend_body, label_logprobs, labels_body
from smc_decode.engines.remote.settings import RemoteSettings
from smc_decode.engines.remote.tokenizer import Vocabulary, load_vocabulary
from smc_decode.engines.remote.wire import BadReply, read_scores, replies_of

__all__ = ["Counters", "RemoteEngine", "RemoteSettings"]

_COMPLETIONS = "/v1/completions"
_MAX_LABELS = 128  # of vLLM's logprob_token_ids


@dataclass(slots=True)
class Counters:
    """What was asked of the servers since the start. ``posts``: HTTP requests that ``requests`` for continuations went
    in; ``tokens_cached``: as far as they say."""

    calls: int = 0
    requests: int = 0
    posts: int = 0
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

    def fork(self) -> RemoteSequence:
        return RemoteSequence(self.prompt_token_ids, self.token_ids.copy(), self.lease)


class RemoteEngine(BaseEngine):
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
        self._bundles = False
        self._info = EngineInfo(
            name="remote",
            model=model.name,
            vocab_size=vocabulary.size,
            eos_token_ids=vocabulary.eos_token_ids,
            max_model_len=length,
            exact_log_z=weighs,
            shapes=SHAPES,
            scores=True,
            labels=True,
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
        engine._bundles = settings.bundle and await engine._all_draw_apart()
        await replicas.health()
        return engine

    async def _all_draw_apart(self) -> bool:
        """Whether every server gives each of ``n`` sequences noise of its own."""
        prompt, size = probe_prompt(self._tokenizer), self._info.vocab_size
        try:
            found = [await draws_apart(each, self._model.name, prompt, size) for each in self._replicas.up]
        except NoAnswer:
            return False
        return all(found)

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
        if self._bundles and not await draws_apart(replica, self._model.name, prompt, size):
            raise EngineError(f"{replica.url} gives all n sequences of a request one noise: set bundle to false")
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
        sequence = await super().open(prompt_token_ids)
        return RemoteSequence(sequence.prompt_token_ids, None, self._replicas.lease(prompt_token_ids))

    # ---- drawing ----------------------------------------------------------------------------------------------

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        for request in requests:
            check_shaping(request.shaping)  # first: it says what to do instead
        check_requests(self._info, requests)
        bodies = [extend_body(self._info, self._model.name, request) for request in requests]
        if not bodies:
            return
        counters = self._counters
        counters.calls += 1
        counters.requests += len(bodies)
        counters.tokens_sent += sum(len(body["prompt"]) for body in bodies)
        for request in requests:
            _lease(request.sequence).width = len(requests)
        owners = [id(_lease(request.sequence)) for request in requests]
        bundles = bundled(bodies, owners) if self._bundles else each_alone(bodies)
        counters.posts += len(bundles)
        tasks = {
            asyncio.create_task(self._draw([requests[index] for index in bundle.indices], bundle.body)): bundle
            for bundle in bundles
        }
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda each: tasks[each].indices):
                    for index, continuation in zip(tasks[task].indices, task.result(), strict=True):
                        requests[index].sequence.token_ids.extend(continuation.token_ids)
                        counters.tokens_cached += continuation.prompt_cached
                        counters.tokens_drawn += len(continuation.token_ids)
                        yield index, continuation
        finally:
            # A request whose connection is closed is aborted by vLLM.
            counters.aborted += sum(len(bundle.indices) for task, bundle in tasks.items() if task.cancel())
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _draw(self, requests: Sequence[Extend], body: dict[str, Any]) -> list[Continuation]:
        """The draws of one request to a server, a choice each."""
        lease = _lease(requests[0].sequence)
        reply = await self._replicas.call(lease, _COMPLETIONS, body)
        with _blaming(lease):
            choices = replies_of(reply, len(requests))
            return [
                continuation(self._info, request, body, choice)
                for request, choice in zip(requests, choices, strict=True)
            ]

    # ---- scoring ----------------------------------------------------------------------------------------------

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        ids = list(token_ids)
        check_score(self._info, ids, start, top_logprobs)
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
        most = min(_MAX_LABELS, self._info.max_logprobs) if self._info.exact_log_z else _MAX_LABELS
        check_labels(self._info, token_id_lists, labels, most)
        tasks = [asyncio.create_task(self._labels(list(ids), labels)) for ids in token_id_lists]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _labels(self, ids: list[int], labels: list[int]) -> dict[int, float]:
        lease = Lease(ids)
        body = labels_body(self._info, self._model.name, ids, labels)
        reply = await self._replicas.call(lease, _COMPLETIONS, body)
        with _blaming(lease):
            return label_logprobs(self._info, labels, reply)

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
