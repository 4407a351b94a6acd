"""What the engine's process and ours say to each other. Plain data, which ``vllm.channel`` carries.

What there is one of for each sequence is not frozen: a frozen dataclass with slots is pickled field by field in Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from smc_decode.shaping import NO_SHAPING, Shaping


@dataclass(slots=True)
class Generate:
    """Draw tokens after ``prompt``. Everything in it is already checked.

    ``columns`` names what is told of each drawn token besides log p: ``q`` (log q), ``z`` (log z for ``alpha``).
    ``labels``: instead, the log p of these tokens at the next position. ``generated`` of the prompt's tokens are
    the answer's: penalties and grammars go on from there, and ``shaping.min_tokens`` counts from there on.
    ``code``: see :class:`~smc_decode.engines.protocol.Extend`. ``call``: the same for requests that one caller sent
    together.
    """

    id: int
    prompt: list[int]
    max_tokens: int
    temperature: float
    seed: int
    stop_token_ids: list[int] = field(default_factory=list)
    logprobs: bool = False
    columns: str = ""
    alpha: float | None = None
    labels: list[int] | None = None
    shaping: Shaping = NO_SHAPING
    generated: int = 0
    excluded: list[int] = field(default_factory=list)
    code: float | None = None
    call: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """Tell log p of ``prompt[start:]``, and of the ``top`` likeliest tokens there."""

    id: int
    prompt: list[int]
    start: int
    top: int
    use_cache: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """Run a reward model over ``prompt``."""

    id: int
    prompt: list[int]
    task: str
    activation: bool


Request = Generate | Score | Pool


@dataclass(frozen=True, slots=True)
class Submit:
    requests: list[Request]


@dataclass(frozen=True, slots=True)
class Abort:
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Ping:
    id: int


@dataclass(frozen=True, slots=True)
class Measure:
    id: int


@dataclass(frozen=True, slots=True)
class Stop:
    pass


@dataclass(slots=True)
class Generated:
    """``values`` has a list for log p and one for each of the request's columns or labels.

    ``computed``: of the tokens, those whose row no earlier request of the same call shared; ``rows``: those whose row
    no other request shared before it, so that over all requests these are the rows that the engine computed.
    """

    id: int
    token_ids: list[int]
    values: list[list[float]]
    stopped: bool
    cached: int
    computed: int
    rows: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Of each position from ``start``: log p, and (token, log p) of the likeliest. ``valid_from``: the first position
    that was computed rather than read from the cache."""

    id: int
    token_ids: list[int]
    logprobs: list[float]
    top: list[list[tuple[int, float]]]
    valid_from: int


@dataclass(frozen=True, slots=True)
class Pooled:
    """``data``: a float32 numpy array."""

    id: int
    data: Any


@dataclass(frozen=True, slots=True)
class Rejected:
    """The engine would not take this request; the message says why."""

    id: int
    message: str


@dataclass(frozen=True, slots=True)
class Pong:
    """``unfinished``: requests that the engine still works on."""

    id: int
    unfinished: int


@dataclass(frozen=True, slots=True)
class Measured:
    """``text``: vLLM's own metrics, in Prometheus' text format."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is loaded. ``seconds`` of each part of the start."""

    vocab_size: int
    max_model_len: int
    block_size: int
    eos_token_ids: tuple[int, ...]
    vllm_version: str
    exact_sampler: bool
    merges: bool
    cache_tokens: int
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine is dead: it could not be loaded, or a step raised."""

    message: str


Reply = Generated | Scored | Pooled | Rejected | Pong | Measured
