"""The target of one run: which numbers it needs of the engine, and log gamma / q of a trajectory."""

from __future__ import annotations

import math

from smc_decode.config import SMCConfig
from smc_decode.laws.targets import TARGETS, log_ratio
from smc_decode.sampler.trajectory import Trajectory


class TargetLaw:
    """The configured target against the proposal that it is drawn with.

    ``level`` in [0, 1] softens it: alpha is raised from 1 and the potential's exponent from 0, as configured
    (docs/method.md, "Bridging" and "Replica exchange"); at 1 it is the requested target. ``tempered_proposal``: the
    engine draws from p^(1/tau), as all of ours do; another law is corrected by its log q. ``any_log_z``: it
    tells log z_t at any temperature.
    """

    def __init__(self, config: SMCConfig, *, tempered_proposal: bool = True, any_log_z: bool = True) -> None:
        self._config = config
        self._greedy = config.temperature == 0.0
        self._raises_alpha = config.bridge.alpha or (config.exchanges and config.target == "powered")
        self._tempered_proposal = tempered_proposal
        self._matched = self.matches(config.temperature)
        law = TARGETS[config.target]
        moves = config.rejuvenation
        powered_moves = moves.steps > 0 and moves.mode in ("corrected", "paper")
        weighs_futures = tempered_proposal and not law.normalised and config.lookahead.rollouts > 0
        self._rollouts_matched = config.lookahead.rollouts == 0 or self.matches(config.rollout_temperature)
        self.weighs_rollouts = self._rollouts_matched or any_log_z
        unmatched = not self._matched or (self.weighs_rollouts and not self._rollouts_matched)
        trivial = config.alpha == 1.0 and not config.shaping.truncates  # z_t = sum_v p(v) = 1
        self.needs_log_z = not self._greedy and (
            (law.needs_log_z and unmatched and not trivial) or powered_moves or weighs_futures
        )
        self.needs_logprobs = not self._greedy and (not law.normalised or self.needs_log_z or not self._matched)

    def matches(self, temperature: float) -> bool:
        """Whether draws at this temperature have the law p^alpha, normalised."""
        return self._tempered_proposal and self._config.matches(temperature)

    def alpha(self, level: float = 1.0) -> float:
        """The exponent of p at this level."""
        alpha = self._config.alpha
        return 1.0 + level * (alpha - 1.0) if self._raises_alpha else alpha

    def exponent(self, level: float = 1.0) -> float:
        """The exponent of the potential at this level."""
        return level if self._config.bridge.reward or self._config.exchanges else 1.0

    def temperature(self, level: float = 1.0) -> float:
        """The proposal temperature at this level: 1/alpha follows alpha."""
        if self._config.bridge.alpha and self._config.proposal_temperature is None:
            return 1.0 / self.alpha(level)
        return self._config.temperature

    def log_over_proposal(self, trajectory: Trajectory, level: float = 1.0, *, target: str | None = None) -> float:
        """log gamma(x) / q(x) without lookahead: sum_t [log m_t - log q_t] + log prod_k psi_k."""
        potential = trajectory.log_potential
        if potential is None:
            raise ValueError("the trajectory has not been scored")
        if potential == -math.inf:
            return -math.inf
        potential *= self.exponent(level)
        if self._greedy:
            return potential
        return potential + log_ratio(
            target or self._config.target,
            self.alpha(level),
            trajectory.logprobs,
            trajectory.proposal_logprobs,
            trajectory.log_z,
            matched=self._matched,
        )

    def log_rollout_weight(self, rollout: Trajectory, length: int) -> float:
        """sum of log m_t / q_t over the tokens after the first ``length``, which were drawn at the rollouts'
        temperature."""
        law = TARGETS[self._config.target]
        if self._greedy or (law.normalised and self._rollouts_matched):
            return 0.0
        log_m = law.log_m(self._config.alpha, rollout.logprobs[length:], rollout.log_z[length:])
        return log_m - sum(rollout.proposal_logprobs[length:])

    def log_future(self, future: Trajectory, length: int) -> float:
        """log zeta: sum of log m_t / q_t over the tokens after the first ``length``, as if drawn at 1/alpha.

        0 for a normalised target, the sum of log z_t for the powered one. Under a proposal of another law: what the
        rollout weighs.
        """
        if not self._tempered_proposal:
            return self.log_rollout_weight(future, length)
        return 0.0 if TARGETS[self._config.target].normalised else sum(future.log_z[length:])
