"""Toy models whose Z and posterior are known, for the study of efficiency (``benchmarks/efficiency.py``).

Four are Markov chains of sixteen tokens, each with a reward that is hard in another way; their sums run over the last
token, the first, and what is counted. The others are the models that the tests enumerate.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smc_decode.engines import TableEngine
from smc_decode.engines.base import Continuation, Extend
from smc_decode.potentials import FunctionPotential
from smc_decode.potentials.base import PotentialKind

Tokens = tuple[int, ...]
LENGTH, VOCABULARY, BLOCK, ALPHA = 16, 4, 4, 2.0
WANTED = 1
"""The token that the rewards of the chains count."""


class CountingEngine(TableEngine):
    """A table engine that adds up the rows of a forward pass that its draws cost. ``memory``: the law depends on so
    many last tokens."""

    def __init__(
        self,
        next_logprobs: Callable[[Tokens], NDArray[np.float64]],
        vocab_size: int,
        eos_token_id: int | None = None,
        *,
        memory: int | None = None,
    ) -> None:
        super().__init__(next_logprobs, vocab_size, eos_token_id)
        self._memory = memory
        self.rows = 0

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        async for index, continuation in super().extend(requests):
            self.rows += continuation.computed or 0
            yield index, continuation

    def _law(self, prefix: Any, temperature: float, shaping: Any) -> Any:
        known = prefix if self._memory is None else prefix[-self._memory :]
        return super()._law(known, temperature, shaping)


@dataclass(frozen=True)
class Toy:
    """A model, its target, and what is asked of its posterior.

    ``blocks_matter``: the potential is one of the blocks, so that another block size is another target.
    """

    name: str
    engine: Callable[[], CountingEngine]
    potential: Callable[[], FunctionPotential | None]
    settings: Mapping[str, Any]
    log_z: float
    good: Callable[[Tokens], bool] = field(repr=False)
    posterior: float = 0.0
    blocks_matter: bool = False


# ---- four chains --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reward:
    """log R of the end and of a prefix, from the first token, how often the wanted one came, and the parity of the
    sum; ``good`` of the same."""

    log_r: Callable[[int, int, int], float]
    good: Callable[[int, int, int], bool]
    scale: float = 6.0
    prefix: Callable[[Tokens], float] = lambda tokens: 0.0


def _if_good(good: Callable[[int, int, int], bool], scale: float = 6.0) -> Callable[[int, int, int], float]:
    return lambda first, count, parity: scale if good(first, count, parity) else 0.0


def _many(first: int, count: int, parity: int) -> bool:
    return count >= 9


def _few(first: int, count: int, parity: int) -> bool:
    return count <= 1


def _key(first: int, count: int, parity: int) -> bool:
    return first == WANTED and parity == 0


CHAINS: Mapping[str, Reward] = {
    "reward at the end only": Reward(_if_good(_many), _many),
    "misleading prefixes": Reward(_if_good(_few), _few, prefix=lambda t: 6.0 * t.count(WANTED) / len(t)),
    "one key token": Reward(_if_good(_key), _key),
    "smooth": Reward(lambda first, count, parity: 12.0 * count / LENGTH, lambda f, count, p: count >= 8, 12.0),
}


def _chain_law(keyed: bool) -> Callable[[Tokens], NDArray[np.float64]]:
    table = np.random.default_rng(3).normal(size=(VOCABULARY + 1, VOCABULARY)) * 0.7
    if keyed:  # the first token is the wanted one in two of a hundred draws
        table[VOCABULARY] = np.log([0.94, 0.02, 0.02, 0.02]) / ALPHA
    table -= np.logaddexp.reduce(table, axis=1)[:, None]
    return lambda tokens: table[tokens[-1] if tokens else VOCABULARY]


def _counted(tokens: Tokens) -> tuple[int, int, int]:
    return tokens[0], tokens.count(WANTED), sum(tokens) % 2


def _chain_sums(law: Callable[[Tokens], NDArray[np.float64]], reward: Reward) -> tuple[float, float]:
    """log Z and the posterior of what is good, by summing over (last, first, count, parity)."""
    states: dict[tuple[int, int, int, int], float] = {}
    for step in range(LENGTH):
        following: dict[tuple[int, int, int, int], float] = defaultdict(float)
        for last, first, count, parity, mass in _before(states, step):
            powered = ALPHA * law(() if step == 0 else (last,))
            for token, q in enumerate(np.exp(powered - np.logaddexp.reduce(powered))):
                head = token if step == 0 else first
                following[token, head, count + (token == WANTED), (parity + token) % 2] += mass * float(q)
        states = following
    gamma = {key[1:]: 0.0 for key in states}
    for key, mass in states.items():
        gamma[key[1:]] += mass * math.exp(reward.log_r(*key[1:]))
    z = sum(gamma.values())
    return math.log(z), sum(mass for key, mass in gamma.items() if reward.good(*key)) / z


def _before(states: Mapping[tuple[int, int, int, int], float], step: int) -> list[tuple[int, int, int, int, float]]:
    return [(0, 0, 0, 0, 1.0)] if step == 0 else [(*key, mass) for key, mass in states.items()]


def chain(name: str) -> Toy:
    """One of :data:`CHAINS`."""
    reward, law = CHAINS[name], _chain_law(name == "one key token")
    log_z, posterior = _chain_sums(law, reward)

    def log_r(tokens: Tokens, finished: bool) -> float:
        return reward.log_r(*_counted(tokens)) if finished else reward.prefix(tokens)

    return Toy(
        name,
        lambda: CountingEngine(law, VOCABULARY, memory=1),
        lambda: FunctionPotential(log_r, "telescoping", log_scale=reward.scale),
        {"alpha": ALPHA, "max_tokens": LENGTH, "block_size": BLOCK},
        log_z,
        lambda tokens: reward.good(*_counted(tokens)),
        posterior,
    )


# ---- what the tests enumerate -------------------------------------------------------------------------------------


def enumerated() -> list[Toy]:
    """The models of ``tests/enumeration.py``; good is their likeliest answer. None where there is no checkout."""
    try:
        from tests.enumeration import MODELS
    except ImportError:
        return []
    return [_enumerated(model) for model in MODELS.values()]


def _enumerated(model: Any) -> Toy:
    best = max(model.log_gamma, key=lambda tokens: model.log_gamma[tokens])
    kind: PotentialKind = model.kind
    top = max(model.log_potential(tokens) for tokens in model.log_gamma)
    return Toy(
        model.name,
        lambda: CountingEngine(model.logprobs, model.vocab_size, model.eos),
        lambda: None if model.log_psi is None else FunctionPotential(model.log_psi, kind, log_scale=top),
        {
            "alpha": model.alpha,
            "max_tokens": model.max_tokens,
            "block_size": model.block_size,
            "target": model.target,
            **model.settings,
        },
        model.log_z,
        lambda tokens: tokens == best,
        model.posterior[best],
        blocks_matter=kind == "product",
    )


def toys() -> list[Toy]:
    """All of them, the chains first."""
    return [*map(chain, CHAINS), *enumerated()]
