"""Target I and Target II as sums over tokens. docs/method.md, sections 2 and 3.

With q_t the proposal at temperature tau and z_t = sum_v p(v)^alpha:

    Target I  ("tempered"):  m_t = p^alpha / z_t
    Target II ("powered"):   m_t = p^alpha

The functions give log prod_t m_t / q_t over the tokens of a path. At tau = 1/alpha ("matched") Target I's is exactly
0 and log z_t = alpha log p - log q needs no second pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from smc_decode.config import SMCConfig, Target
from smc_decode.sampler.trajectory import Path


def log_ratio(
    target: Target,
    alpha: float,
    logprobs: Sequence[float],
    proposal_logprobs: Sequence[float],
    log_z: Sequence[float],
    *,
    matched: bool,
) -> float:
    """sum_t [log m_t - log q_t] (docs/method.md, equation 3).

    Args:
        logprobs: log p of each token, raw. proposal_logprobs: log q of each. log_z: log z_t of each (Target I only).
        matched: tau = 1/alpha.
    """
    if target == "tempered" and matched:
        return 0.0
    total = alpha * sum(logprobs) - sum(proposal_logprobs)
    return total - sum(log_z) if target == "tempered" else total


def matched_log_z(alpha: float, logprobs: Sequence[float], proposal_logprobs: Sequence[float]) -> tuple[float, ...]:
    """log z_t = alpha log p(x_t) - log q(x_t), where q is the proposal at temperature 1/alpha."""
    return tuple(alpha * p - q for p, q in zip(logprobs, proposal_logprobs, strict=True))


class TargetLaw:
    """The target of one run: which numbers it needs of the engine, and log gamma(x) / q(x) of a path.

    ``bridge`` in [0, 1] softens it: alpha is raised from 1 and the potential's exponent from 0, as configured
    (docs/method.md, "Bridging"); at 1 it is the requested target.
    """

    def __init__(self, config: SMCConfig) -> None:
        self._config = config
        self._greedy = config.temperature == 0.0
        rejuvenating = config.rejuvenation.steps > 0
        powered_moves = rejuvenating and config.rejuvenation.mode in ("corrected", "paper")
        powered_lookahead = config.target == "powered" and config.lookahead.rollouts > 0
        unmatched = config.target == "tempered" and not config.locally_matched
        self.needs_log_z = not self._greedy and (unmatched or powered_moves or powered_lookahead)
        self.needs_logprobs = not self._greedy and (config.target == "powered" or self.needs_log_z)

    def alpha(self, bridge: float = 1.0) -> float:
        """The exponent of p at this point of the bridge."""
        alpha = self._config.alpha
        return 1.0 + bridge * (alpha - 1.0) if self._config.bridge.alpha else alpha

    def exponent(self, bridge: float = 1.0) -> float:
        """The exponent of the potential at this point of the bridge."""
        return bridge if self._config.bridge.reward else 1.0

    def log_over_proposal(self, path: Path, bridge: float = 1.0, *, target: Target | None = None) -> float:
        """log gamma(x) / q(x) without lookahead: sum_t [log m_t - log q_t] + log prod_k psi_k."""
        potential = path.log_potential
        if potential is None:
            raise ValueError("the path has not been scored")
        if potential == -math.inf:
            return -math.inf
        potential *= self.exponent(bridge)
        if self._greedy:
            return potential
        config = self._config
        return potential + log_ratio(
            target or config.target,
            self.alpha(bridge),
            path.logprobs,
            path.proposal_logprobs,
            path.log_z,
            matched=config.locally_matched,
        )


def log_increment(log_target: float, previous: float) -> float:
    """log w_k = log gamma_k L_k / q - log gamma_{k-1} L_{k-1} / q; -inf once dead, never NaN."""
    return -math.inf if -math.inf in (log_target, previous) else log_target - previous
