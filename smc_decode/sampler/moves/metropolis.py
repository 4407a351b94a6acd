"""Metropolis-Hastings moves over the population: one engine call a step. The formula is in rejuvenation.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from smc_decode.config import SMCConfig
from smc_decode.events import Rejuvenated
from smc_decode.laws.metropolis import accepts, draw_cut, is_low_reward_duplicate, log_acceptance
from smc_decode.laws.targets import TargetLaw
from smc_decode.sampler.bridging import Bridge
from smc_decode.sampler.budget import Budget, BudgetSpent
from smc_decode.sampler.proposal import Job, Proposer
from smc_decode.sampler.rollouts import Holder, Lookout
from smc_decode.sampler.scoring import Scorer
from smc_decode.sampler.state import LiveParticle, Population


class Mover:
    """The moves of one run. ``streams``: a Generator per particle slot; ``seed``: a fresh engine seed from one."""

    def __init__(
        self,
        config: SMCConfig,
        law: TargetLaw,
        bridge: Bridge,
        proposer: Proposer,
        scorer: Scorer,
        lookout: Lookout,
        budget: Budget,
        streams: list[np.random.Generator],
        seed: Callable[[int], int],
    ) -> None:
        self._config = config
        self._law = law
        self._bridge = bridge
        self._proposer = proposer
        self._scorer = scorer
        self._lookout = lookout
        self._budget = budget
        self._streams = streams
        self._seed = seed
        self.proposed = 0
        self.accepted = 0

    @property
    def acceptance_rate(self) -> float | None:
        """Accepted over proposed moves so far; None before the first."""
        return self.accepted / self.proposed if self.proposed else None

    async def step(
        self, population: Population, block: int, step: int, end: int, *, last: bool
    ) -> tuple[Population, Rejuvenated]:
        """Propose a new suffix for every particle that may move, up to ``end`` tokens, and accept or not.

        ``last``: the stage is the final one, where L^ = 1.

        Raises BudgetSpent where the token budget does not hold a whole proposal for everyone: a proposal that is cut
        short would not be a draw from q.
        """
        movers = [i for i, particle in enumerate(population) if self._may_move(particle)]
        cuts = [draw_cut(len(population[i].path), self._streams[i]) for i in movers]
        if not self._budget.allows(sum(end - cut for cut in cuts)):
            raise BudgetSpent("max_total_tokens")
        jobs = []
        for i, cut in zip(movers, cuts, strict=True):
            head = population[i].path.head(cut, self._config.block_size)
            sequence = await self._proposer.fork(population[i].sequence, cut)
            jobs.append(Job(head, sequence, end, self._seed(i), self._bridge.temperature))
        async with self._budget.limit():
            drawn = await self._proposer.extend(jobs, account="mh", arrived=self._scorer.arrived)
            proposals = await self._scorer.score(drawn)
            ahead = [j for j, path in enumerate(proposals) if self._lookout.wanted(path) and not last]
            holders = [Holder(proposals[j], jobs[j].sequence, (), movers[j]) for j in ahead]
            estimates = dict(zip(ahead, await self._lookout.look_ahead(holders), strict=True))
        moved = list(population)
        proposed = np.zeros(len(population), dtype=bool)
        accepted = np.zeros(len(population), dtype=bool)
        for j, i in enumerate(movers):
            old = population[i]
            log_value, rollouts = estimates.get(j, (0.0, ()))
            log_target = self._law.log_over_proposal(proposals[j], self._bridge.value) + log_value
            new = replace(
                old,
                path=proposals[j],
                sequence=jobs[j].sequence,
                log_target=log_target,
                log_value=log_value,
                rollouts=rollouts,
            )
            proposed[i] = True
            accepted[i] = accepts(self._log_acceptance(new, old), self._streams[i])
            if accepted[i]:
                moved[i] = self._corrected(new, old)
        self.proposed += int(proposed.sum())
        self.accepted += int(accepted.sum())
        return moved, Rejuvenated(block, step, proposed, accepted)

    def _may_move(self, particle: LiveParticle) -> bool:
        rejuvenation = self._config.rejuvenation
        if not particle.alive or len(particle.path) == 0:
            return False
        if rejuvenation.mode != "paper":
            return True
        return is_low_reward_duplicate(particle.is_copy, particle.path.reward, rejuvenation.reward_threshold)

    def _log_acceptance(self, new: LiveParticle, old: LiveParticle) -> float:
        log_new, log_old = self._log_move_target(new), self._log_move_target(old)
        return log_acceptance(log_new, log_old, len(new.path), len(old.path))

    def _log_move_target(self, particle: LiveParticle) -> float:
        """log eta / q, where eta is what the moves leave invariant: gamma_k L^ of the run, or of Target II."""
        if self._config.rejuvenation.mode == "exact":
            return particle.log_target
        log_powered = self._law.log_over_proposal(particle.path, self._bridge.value, target="powered")
        return log_powered + particle.log_value

    def _corrected(self, new: LiveParticle, old: LiveParticle) -> LiveParticle:
        """An accepted particle; in ``corrected`` mode its weight takes the ratio of Target I to Target II along."""
        if self._config.rejuvenation.mode != "corrected":
            return new
        log_new = new.log_target - self._log_move_target(new)
        log_old = old.log_target - self._log_move_target(old)
        return replace(new, log_weight=old.log_weight + log_new - log_old)
