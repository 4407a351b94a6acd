"""The Engine protocol: who owns live sequences and samples their continuations.

An engine works in token ids only. It may keep a sequence's KV cache alive, re-submit prefixes or talk to
another machine; the sampler never knows which (docs/method.md, "The seams").
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

FinishReason = Literal["eos", "stop", "length"]
"""``eos``: the end-of-sequence token; ``stop``: one of ``stop_token_ids``; ``length``: ``max_new_tokens`` drawn."""


class EngineError(RuntimeError):
    """The engine failed (died, was unreachable): nothing is known of the request's quality."""


class EngineRequestError(ValueError):
    """The engine cannot do what was asked of it, now or later (context too long, unsupported shaping)."""


@dataclass(frozen=True, slots=True)
class Shaping:
    """What reshapes the model's next-token distribution, in the target and in the proposal alike.

    Truncations (``top_k``, ``top_p``, ``min_p``) act on the tempered distribution, as vLLM's do. ``allowed``
    hooks a grammar: it is called with the generated tokens so far and gives the allowed ids (None: all).
    """

    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    min_tokens: int = 0
    ignore_eos: bool = False
    grammar: Any | None = None
    """An engine-neutral grammar specification (``{"json_schema": ...}`` or ``{"regex": ...}``), or None."""

    @property
    def truncates(self) -> bool:
        """Whether the support is cut (top-k, top-p, min-p or a grammar)."""
        return bool(self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0 or self.grammar is not None)

    @property
    def reweights(self) -> bool:
        """Whether logits are moved (penalties, bias): the raw log-probability is then not the shaped one."""
        return bool(
            self.repetition_penalty != 1.0
            or self.presence_penalty
            or self.frequency_penalty
            or self.logit_bias
            or self.min_tokens > 0
            or self.ignore_eos
        )


NO_SHAPING = Shaping()


class LiveSequence:
    """A sequence that an engine keeps: its prompt and the tokens generated so far.

    Engines subclass it to hang their own state on it. ``token_ids`` excludes the prompt; tokens that were drawn before
    may be appended to it, and the next call of ``extend`` goes on after them.
    """

    __slots__ = ("prompt_token_ids", "token_ids")

    def __init__(self, prompt_token_ids: tuple[int, ...], token_ids: list[int] | None = None) -> None:
        self.prompt_token_ids = prompt_token_ids
        self.token_ids: list[int] = [] if token_ids is None else token_ids


@dataclass(frozen=True, slots=True)
class Extend:
    """A request to draw up to ``max_new_tokens`` more tokens of ``sequence`` from q = softmax(log p / temperature).

    ``temperature`` 0 is greedy. ``alpha``: when given, the continuation carries log z_t = log sum_v p(v)^alpha
    for each token (over the truncated support). ``logprobs`` False says that no log-probability is needed
    (Target I at temperature 1/alpha), so that an engine may skip the work; ``proposal_logprobs`` False that log q is
    not (a reward reads log p, the weights need neither). ``excluded``: the first token is none of these, and its log q
    is among what is left; for engines whose info says ``excludes``, and without truncation.
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


@dataclass(frozen=True, slots=True)
class Continuation:
    """The drawn tokens with, for each, log p (raw, temperature 1), log q (as sampled) and log z (if asked for).

    The lists have the length of ``token_ids``, or are empty when they were not asked for. An ending token
    (EOS or a stop token) is included in ``token_ids``. ``prompt_cached``/``prompt_computed`` count the tokens of
    the re-submitted prefix that came from the cache / were computed.
    """

    token_ids: list[int]
    logprobs: list[float]
    proposal_logprobs: list[float]
    log_z: list[float]
    finish_reason: FinishReason
    prompt_cached: int = 0
    prompt_computed: int = 0


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do."""

    name: str
    """``table``, ``vllm`` or ``remote``."""
    model: str
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    max_model_len: int | None
    cache_block_size: int = 0
    """Tokens of one prefix-cache block; 0 where there is none."""
    exact_log_z: bool = True
    """Whether log z is available for any alpha; False: only where temperature = 1/alpha."""
    excludes: bool = False
    """Whether :attr:`Extend.excluded` is heeded."""
    max_logprobs: int = 0
    """Most alternatives a ``top_logprobs`` request may ask for; 0: none."""


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

        Appends the drawn tokens to each request's sequence. Closing the iterator (or cancelling the task that
        reads it) aborts what has not finished. Raises EngineError when the engine is down.
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

        The very first token of a sequence has nothing before it: its ``logprob`` is 0.0.
        """
        ...

    async def health(self) -> None:
        """Return when the engine can serve; raise EngineError when it cannot."""
        ...

    async def shutdown(self) -> None:
        """Release everything. Idempotent."""
        ...
