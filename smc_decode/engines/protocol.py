"""The seam between sampling and models: who owns live sequences and draws their continuations.

An engine works in token ids only. It may keep a sequence's KV cache alive, re-submit prefixes or talk to another
machine; the sampler never knows which (docs/method.md, "The seams"). :class:`Engine` is what is asked of one;
``engines.base.BaseEngine`` has all of it but ``info`` and ``extend``, which an author writes, and
``smc_decode.testing.check_engine`` tries whether an engine keeps to what is written here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from smc_decode.shaping import NO_SHAPING, Shaping

FinishReason = Literal["eos", "stop", "length"]
"""``eos``: the end-of-sequence token; ``stop``: one of ``stop_token_ids``; ``length``: ``max_new_tokens`` drawn."""


class EngineError(RuntimeError):
    """The engine failed (died, was unreachable): nothing is known of the request's quality."""


class EngineRequestError(ValueError):
    """The engine cannot do what was asked of it, now or later (context too long, unsupported shaping)."""


class LiveSequence:
    """A sequence that an engine keeps: its prompt and the tokens generated so far.

    Engines subclass it to hang their own state on it. ``token_ids`` excludes the prompt; tokens that were drawn before
    may be appended to it, and the next call of ``extend`` goes on after them.
    """

    __slots__ = ("prompt_token_ids", "token_ids")

    def __init__(self, prompt_token_ids: tuple[int, ...], token_ids: list[int] | None = None) -> None:
        self.prompt_token_ids = prompt_token_ids
        self.token_ids: list[int] = [] if token_ids is None else token_ids

    def fork(self) -> LiveSequence:
        """A sequence of its own with the same tokens. Subclasses say what a fork shares of their state."""
        return LiveSequence(self.prompt_token_ids, self.token_ids.copy())


@dataclass(frozen=True, slots=True)
class Extend:
    """A request to draw up to ``max_new_tokens`` more tokens of ``sequence`` from the engine's proposal q.

    q is softmax(log p / temperature), shaped, unless the engine's info says otherwise (``tempered_proposal``).
    ``temperature`` 0 is greedy, and its log q is 0. ``seed``: the same prefix and seed give the same draw.
    ``alpha``: when given, the continuation carries log z_t = log sum_v p(v)^alpha for each token (over the truncated
    support). ``logprobs`` False says that no log-probability is needed (Target I at temperature 1/alpha), so that an
    engine may skip the work; ``proposal_logprobs`` False that log q is not (a reward reads log p, the weights need
    neither). ``excluded``: the first token is none of these, and its log q is among what is left; for engines whose
    info says ``excludes``, and without truncation. ``code``: a uniform number in [0, 1) that the tokens are drawn by
    for as long as it has bits, each by the inverse of its law's distribution function in the order of the token ids
    and the next one by what is left of it; for engines whose info says ``codes``. Draws from the same prefix whose
    codes are stratified are stratified (arithmetic sampling: Vilnis et al. 2023, arXiv 2210.15458).
    """

    sequence: LiveSequence
    max_new_tokens: int
    temperature: float = 1.0
    seed: int = 0
    alpha: float | None = None
    logprobs: bool = True
    proposal_logprobs: bool = True
    stop_token_ids: tuple[int, ...] = ()
    shaping: Shaping = NO_SHAPING
    excluded: tuple[int, ...] = ()
    code: float | None = None


@dataclass(frozen=True, slots=True)
class Continuation:
    """The drawn tokens with, for each, log p (raw, temperature 1), log q (as sampled) and log z (if asked for).

    The lists have the length of ``token_ids``, or are empty when they were not asked for. An ending token
    (EOS or a stop token) is included in ``token_ids``. ``prompt_cached``/``prompt_computed`` count the tokens of
    the re-submitted prefix that came from the cache / were computed; 0 and 0 where an engine does not know.
    ``computed``: for how many of the tokens the model ran for this draw; for the others another draw of the same call,
    with the same prefix, did. None: for all of them.

    A weight needs log m - log q of every token, so an engine with a proposal of its own (``tempered_proposal`` False)
    carries log p and log q whatever the temperature, and log z wherever ``alpha`` is given, for
    Target I's m is p^alpha / z.
    """

    token_ids: list[int]
    logprobs: list[float]
    proposal_logprobs: list[float]
    log_z: list[float]
    finish_reason: FinishReason
    prompt_cached: int = 0
    prompt_computed: int = 0
    computed: int | None = None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do. An ability that is not declared here is not asked for."""

    name: str
    """Its kind: ``table``, ``vllm``, ``remote``, or a name of its author's."""
    model: str
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    max_model_len: int | None = None
    """Most tokens of prompt and answer together; None: no limit."""
    cache_block_size: int = 0
    """Tokens of one prefix-cache block; 0 where there is none."""
    tempered_proposal: bool = True
    """Whether q is softmax(log p / temperature) over what shaping leaves. False: a proposal of the engine's own, any
    law that can draw whatever p can; its draws are weighted by log p, log q and log z, which every continuation then
    carries (see :class:`Continuation`)."""
    exact_log_z: bool = True
    """Whether log z is available for any alpha; False: only where temperature = 1/alpha."""
    excludes: bool = False
    """Whether :attr:`Extend.excluded` is heeded."""
    codes: bool = False
    """Whether :attr:`Extend.code` is heeded."""
    shapes: frozenset[str] = frozenset()
    """Names of the fields of Shaping that ``extend`` applies; requests with others are refused."""
    scores: bool = False
    """Whether :meth:`Engine.score` is available."""
    labels: bool = False
    """Whether :meth:`Engine.label_logprobs` is available."""
    max_logprobs: int = 0
    """Most alternatives a ``top_logprobs`` request may ask for; 0: none."""
    empty_prompt: bool = False
    """Whether a sequence may begin without a prompt."""


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back; only the edges (server, rewards) use it."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str: ...

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class TokenScore:
    """Base-model log-probability of a given token, with the most likely alternatives if they were asked for."""

    token_id: int
    logprob: float
    top: Mapping[int, float] = field(default_factory=dict)


class Engine(Protocol):
    """Owner of live sequences. All methods may be used by several runs at a time."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def tokenizer(self) -> Tokenizer | None: ...

    async def open(self, prompt_token_ids: Sequence[int]) -> LiveSequence:
        """Begin a sequence. Raises EngineRequestError for a prompt that the model cannot take."""
        ...

    def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        """Draw continuations for a whole population; yield ``(index of the request, continuation)`` as they finish.

        A sequence grows by what was drawn when its continuation is yielded. Closing the iterator (or cancelling the
        task that reads it) aborts what has not finished. Raises EngineRequestError for a request that it cannot do,
        before anything is drawn, ValueError for a sequence that is asked for twice, EngineError when the engine is
        down.
        """
        ...

    async def fork(self, sequence: LiveSequence) -> LiveSequence:
        """A new live sequence with the same tokens."""
        ...

    async def rewind(self, sequence: LiveSequence, length: int) -> None:
        """Cut the generated tokens back to their first ``length``."""
        ...

    async def close(self, sequence: LiveSequence) -> None:
        """Let go of a sequence. Closing twice is harmless."""
        ...

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        """Base log-probabilities (temperature 1, no shaping) of ``token_ids[start:]`` given what precedes each.

        The very first token of a sequence has nothing before it: its ``logprob`` is 0.0. Raises EngineRequestError
        where the info does not say ``scores``.
        """
        ...

    async def label_logprobs(
        self, token_id_lists: Sequence[Sequence[int]], label_ids: Sequence[int]
    ) -> list[dict[int, float]]:
        """Base log-probability of each of ``label_ids`` as the next token after each of the lists.

        For generative verifiers. Raises EngineRequestError where the info does not say ``labels``.
        """
        ...

    async def health(self) -> None:
        """Return when the engine can serve; raise EngineError when it cannot."""
        ...

    async def shutdown(self) -> None:
        """Release everything. Idempotent."""
        ...

    async def metrics_text(self) -> str:
        """Metrics of the engine's own in Prometheus' text format; empty where it keeps none."""
        ...

    @property
    def counters(self) -> Any:
        """What the engine counts since its start: an instance of a dataclass of numbers, or None."""
        ...

    @property
    def replicas(self) -> Sequence[tuple[str, bool]]:
        """Addresses of the servers behind the engine, and which are in use; empty where it is one by itself."""
        ...
