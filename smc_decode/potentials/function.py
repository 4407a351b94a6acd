"""A potential from a plain function of the generated tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from smc_decode.potentials.base import Evaluation, PotentialError, PotentialKind, Prefix

_KINDS = ("product", "telescoping", "terminal")


class FunctionPotential:
    """``f(tokens, finished) -> float`` as a potential, used as it is (no reward_scale).

    ``f`` returns log psi for ``product`` and ``terminal`` and log R for ``telescoping``; -inf is a dead
    particle, NaN and +inf raise PotentialError. ``f`` None is psi = 1.
    """

    def __init__(
        self,
        f: Callable[[tuple[int, ...], bool], float] | None,
        kind: PotentialKind = "product",
        *,
        name: str = "function",
        log_scale: float | None = None,
        cacheable: bool = True,
    ) -> None:
        if kind not in _KINDS:
            raise PotentialError(f"kind must be one of {', '.join(_KINDS)}, got {kind!r}")
        self._f = f
        self.kind: PotentialKind = kind
        self.name = name
        self.log_scale = log_scale
        self.cacheable = cacheable
        self.needs_logprobs = False

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        if self._f is None:
            return [Evaluation(0.0)] * len(batch)
        return [self._evaluation(self._f(prefix.token_ids, prefix.finished)) for prefix in batch]

    def _evaluation(self, value: float) -> Evaluation:
        try:
            log_value = float(value)
        except (TypeError, ValueError) as error:
            raise PotentialError(f"potential {self.name!r} returned {value!r}, not a number") from error
        if math.isnan(log_value) or log_value == math.inf:
            raise PotentialError(f"potential {self.name!r} returned {log_value}: log-values must be finite or -inf")
        return Evaluation(log_value)
