"""Exact answers for small models, worked out by listing every sequence. Independent of the code under test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

Tokens = tuple[int, ...]
Psi = Callable[[Tokens, bool], float]


@dataclass(frozen=True)
class Model:
    """A toy model with its target. ``log_psi`` by kind as for FunctionPotential; ``logits`` of the next token."""

    name: str
    logits: Callable[[Tokens], np.ndarray]
    vocab_size: int
    max_tokens: int
    block_size: int
    eos: int | None = 0
    target: str = "tempered"
    alpha: float = 2.0
    kind: str = "product"
    log_psi: Psi | None = None
    top_k: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    _laws: dict[Tokens, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def logprobs(self, tokens: Tokens) -> np.ndarray:
        if tokens not in self._laws:
            logits = np.asarray(self.logits(tokens), dtype=float)
            top = logits.max()
            self._laws[tokens] = logits - top - math.log(np.exp(logits - top).sum())
        return self._laws[tokens]

    def complete(self, tokens: Tokens) -> bool:
        return len(tokens) == self.max_tokens or (self.eos is not None and bool(tokens) and tokens[-1] == self.eos)

    def boundaries(self, tokens: Tokens) -> list[int]:
        return [*range(self.block_size, len(tokens), self.block_size), len(tokens)]

    def log_potential(self, tokens: Tokens) -> float:
        """log of the product of psi over the blocks of ``tokens``."""
        if self.log_psi is None:
            return 0.0
        if self.kind == "product":
            total = 0.0
            for end in self.boundaries(tokens):
                total += self.log_psi(tokens[:end], self.complete(tokens[:end]))
            return total
        if self.kind == "telescoping":
            return self.log_psi(tokens, self.complete(tokens))
        return self.log_psi(tokens, True) if self.complete(tokens) else 0.0

    def log_transition(self, tokens: Tokens, token: int) -> float:
        """log m_t of the target."""
        log_p = self.logprobs(tokens)
        powered = self.alpha * log_p
        if self.top_k:
            powered = np.where(log_p >= np.sort(log_p)[-self.top_k], powered, -np.inf)
        if self.target == "powered":
            return float(powered[token])
        return float(powered[token] - math.log(np.exp(powered).sum()))

    def sequences(
        self, prefix: Tokens = (), log_m: float = 0.0, end: int | None = None
    ) -> Iterator[tuple[Tokens, float]]:
        """(sequence, sum of log m) for every sequence that is complete or has ``end`` tokens."""
        if self.complete(prefix) or len(prefix) == end:
            yield prefix, log_m
            return
        for token in range(self.vocab_size):
            step = self.log_transition(prefix, token)
            if step > -math.inf:
                yield from self.sequences((*prefix, token), log_m + step, end)

    @cached_property
    def log_gamma(self) -> dict[Tokens, float]:
        """log gamma of every complete sequence."""
        return {x: log_m + self.log_potential(x) for x, log_m in self.sequences()}

    @cached_property
    def log_z(self) -> float:
        values = np.array(list(self.log_gamma.values()))
        return float(values.max() + math.log(np.exp(values - values.max()).sum()))

    @cached_property
    def posterior(self) -> dict[Tokens, float]:
        return {x: math.exp(v - self.log_z) for x, v in self.log_gamma.items()}

    def log_intermediate(self, block: int) -> dict[Tokens, float]:
        """log gamma_k of every prefix at the end of ``block`` (counted from 0)."""
        end = min((block + 1) * self.block_size, self.max_tokens)
        return {x: log_m + self.log_potential(x) for x, log_m in self.sequences(end=end)}

    def log_future(self, prefix: Tokens) -> float:
        """The exact L of a prefix: log of the expected product of the future potentials (and z, for Target II)."""
        if self.complete(prefix):
            return 0.0
        here = self.log_potential(prefix)
        values = np.array([m + self.log_potential(x) - here for x, m in self.sequences(prefix)])
        top = values.max()
        return float(top + math.log(np.exp(values - top).sum())) if top > -math.inf else -math.inf


def mod_logits(vocab_size: int, bias: float = 0.0, eos: bool = True) -> Callable[[Tokens], np.ndarray]:
    """A rough, deterministic next-token law."""

    def logits(tokens: Tokens) -> np.ndarray:
        s = sum((i + 1) * x for i, x in enumerate(tokens))
        t = len(tokens)
        values = np.array([((7 * s + 3 * (v + 1) * (t + 1) + 5 * (v + 1) ** 2) % 11) / 4 for v in range(vocab_size)])
        if eos:
            values[0] += bias
        return values

    return logits


def soft(tokens: Tokens, finished: bool) -> float:
    s = sum((i + 1) * x for i, x in enumerate(tokens))
    return ((3 * s + len(tokens)) % 7) / 3 - 1


def sum_is_multiple_of_three(tokens: Tokens, finished: bool) -> float:
    return 0.0 if sum(tokens) % 3 == 0 else -math.inf


def far_apart(tokens: Tokens, finished: bool) -> float:
    """Potentials 620 nats apart: linear arithmetic over- or underflows."""
    return 310.0 if sum(tokens) % 2 == 0 else -310.0


def hard_zero_logits(tokens: Tokens) -> np.ndarray:
    """A token may not follow itself."""
    values = mod_logits(4)(tokens)
    if tokens and tokens[-1] != 0:
        values[tokens[-1]] = -np.inf
    return values


MODELS = {
    model.name: model
    for model in [
        Model("tempered-eos-product", mod_logits(4), 4, 6, 2, log_psi=soft),
        Model("powered-eos-product", mod_logits(4, -1.0), 4, 6, 2, target="powered", log_psi=soft),
        Model("tempered-terminal-01", mod_logits(4), 4, 6, 2, kind="terminal", log_psi=sum_is_multiple_of_three),
        Model(
            "tempered-no-eos-telescoping", mod_logits(3, eos=False), 3, 5, 2, eos=None, kind="telescoping", log_psi=soft
        ),
        Model("powered-no-eos-psi-1", mod_logits(3, eos=False), 3, 5, 1, eos=None, target="powered", alpha=3.0),
        Model("tempered-hard-zeros", hard_zero_logits, 4, 5, 2, log_psi=soft, alpha=1.0),
        Model("tempered-600-nats", mod_logits(3), 3, 5, 2, log_psi=far_apart, alpha=1.5),
        Model(
            "powered-telescoping-uneven",
            mod_logits(3, -0.5),
            3,
            7,
            3,
            target="powered",
            alpha=1.5,
            kind="telescoping",
            log_psi=soft,
        ),
        Model("tempered-tau-unmatched", mod_logits(4), 4, 5, 2, log_psi=soft, settings={"proposal_temperature": 0.8}),
        Model(
            "powered-tau-unmatched",
            mod_logits(4, -1.0),
            4,
            5,
            2,
            target="powered",
            log_psi=soft,
            settings={"proposal_temperature": 0.7},
        ),
        Model("powered-top-k", mod_logits(4), 4, 5, 2, target="powered", log_psi=soft, top_k=2, settings={"top_k": 2}),
        Model(
            "tempered-top-k-unmatched",
            mod_logits(4),
            4,
            5,
            2,
            log_psi=soft,
            top_k=3,
            settings={"top_k": 3, "proposal_temperature": 1.0},
        ),
    ]
}
