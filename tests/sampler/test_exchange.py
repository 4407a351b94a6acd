"""Replica exchange: the kernels of the sampler's own moves, enumerated, leave the ladder's targets invariant."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from smc_decode import sample
from smc_decode.engines.base import LiveSequence
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.moves.exchange import LadderMove, Swap
from smc_decode.sampler.state import LiveParticle, State
from smc_decode.sampler.trajectory import Trajectory
from tests.choices import Choices, EnumeratedEngine
from tests.enumeration import MODELS, Model, mod_logits, soft
from tests.harness import config_of, engine_of, potential_of

LOWEST = 0.3
TINY = {
    model.name: model
    for model in [
        Model("powered", mod_logits(3), 3, 2, 2, target="powered", log_psi=soft),
        Model("tempered", mod_logits(3), 3, 2, 2, log_psi=soft),
        Model("powered-unmatched", mod_logits(3), 3, 2, 2, target="powered", log_psi=soft,
              settings={"proposal_temperature": 0.8}),
    ]
}  # fmt: skip


def ladder_config(model, **settings):
    moves = {"steps": 2, "move": "exchange", "rungs": 2, "lowest": LOWEST, **settings}
    return config_of(model, n_particles=2, ess_threshold=0.0, draft_draws=False, rejuvenation=moves)


def at_level(model: Model, level: float) -> dict:
    """The posterior of a rung's target, by enumeration: alpha nearer to 1 (Target II), psi to the level."""
    alpha = 1.0 + level * (model.alpha - 1.0) if model.target == "powered" else model.alpha
    return replace(model, alpha=alpha, log_psi=lambda x, f: level * model.log_psi(x, f)).posterior


def as_particle(model, x):
    tau = model.settings.get("proposal_temperature", 1.0 / model.alpha)
    log_p = [model.logprobs(x[:t]) for t in range(len(x))]
    log_q = [row / tau - np.logaddexp.reduce(row / tau) for row in log_p]
    log_z = [float(np.logaddexp.reduce(model.alpha * row)) for row in log_p]
    trajectory = Trajectory(
        x,
        tuple(float(row[v]) for row, v in zip(log_p, x, strict=True)),
        tuple(float(row[v]) for row, v in zip(log_q, x, strict=True)),
        tuple(log_z),
        finish_reason="eos" if x[-1] == model.eos else "length",
        log_potential=model.log_potential(x),
    )
    return LiveParticle(trajectory, LiveSequence((), list(x)))


class Scripted:
    """A generator that gives this cut and this uniform number."""

    def __init__(self, uniform, cut=0):
        self.uniform, self.cut = uniform, cut

    def integers(self, low, *args, **kwargs):
        return 0 if low > 2**31 else self.cut

    def random(self, *args, **kwargs):
        return self.uniform


class Round:
    """One step of the sampler on states of our choice."""

    def __init__(self, model, make):
        self.model = model
        self.engine = EnumeratedEngine(model, Choices())
        self.context = RunContext.of(self.engine, (), potential_of(model), ladder_config(model), seed=0, prompt_text="")
        self.step = make(self.context)

    async def after(self, states, generator):
        self.context.noise.streams = [generator] * len(states)
        particles = tuple(as_particle(self.model, x) for x in states)
        state, _ = await self.step(State(particles, last=False))
        return tuple(particle.trajectory.token_ids for particle in state.particles)

    async def acceptance(self, states, changed):
        """Which share of uniform numbers leads from ``states`` to ``changed``."""

        async def accepted(uniform):
            return await self.after(states, Scripted(uniform)) == changed

        return await share(accepted)


async def share(accepted):
    """The share of uniform numbers that are accepted, which are those above some number, found by bisection."""
    low, high = 1e-12, 1.0 - 2.0**-53
    if not await accepted(high):
        return 0.0
    if await accepted(low):
        return 1.0
    while high - low > 1e-12:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if await accepted(middle) else (middle, high)
    return 1.0 - high


@pytest.mark.parametrize("name", TINY)
async def test_a_swap_leaves_the_product_of_two_rungs_invariant(name):
    """Enumerated: detailed balance for every pair of states, at acceptances found by bisection."""
    model = TINY[name]
    cold, hot = at_level(model, 1.0), at_level(model, LOWEST)
    swap = Round(model, lambda context: Swap(context, 0))
    flows = {}
    for x in cold:
        for y in cold:
            if x != y:
                # a uniform number u accepts where log(1 - u) is below the log acceptance: large ones do
                flows[x, y] = cold[x] * hot[y] * await swap.acceptance((x, y), (y, x))
    assert all(flows[x, y] == pytest.approx(flows[y, x], abs=1e-10) for x, y in flows)
    assert min(flows.values()) > 0.0
    wrong = at_level(model, 0.5 * (1.0 + LOWEST))
    unbalanced = [cold[x] * wrong[y] / (cold[y] * wrong[x]) - cold[x] * hot[y] / (cold[y] * hot[x]) for x, y in flows]
    assert max(map(abs, unbalanced)) > 1e-3  # another rung's target would be told from this one's


@pytest.mark.parametrize("name", TINY)
async def test_a_move_on_each_rung_leaves_its_own_target_invariant(name):
    model = TINY[name]
    states = list(model.posterior)
    tau = model.settings.get("proposal_temperature", 1.0 / model.alpha)
    move = Round(model, lambda context: LadderMove(context, None, 0))
    for slot, level in enumerate((1.0, LOWEST)):
        matrix = np.zeros((len(states), len(states)))
        for i, x in enumerate(states):
            for j, y in enumerate(states):
                for cut in range(min(len(x), len(y))) if x != y else ():
                    if y[:cut] != x[:cut]:
                        continue
                    move.engine.forced = y
                    other = states[0]
                    before = (x, other) if slot == 0 else (other, x)
                    accepted = await moved_share(move, before, slot, y, cut)
                    log_q = 0.0
                    for t in range(cut, len(y)):
                        row = model.logprobs(y[:t]) / tau
                        log_q += float((row - np.logaddexp.reduce(row))[y[t]])
                    matrix[i, j] += math.exp(log_q) / len(x) * accepted
            matrix[i, i] += 1.0 - matrix[i].sum()
        law = np.array([at_level(model, level)[x] for x in states])
        assert np.abs(law @ matrix - law).max() < 1e-9
        other_law = np.array([at_level(model, 1.3 - level)[x] for x in states])
        assert np.abs(other_law @ matrix - other_law).max() > 1e-4


async def moved_share(move, before, slot, y, cut):
    """The share of uniform numbers for which the chain in ``slot`` comes to ``y``; the other is cut at 0."""

    async def accepted(uniform):
        move.context.noise.streams = [Scripted(1.0 - 2.0**-53, 0)] * 2
        move.context.noise.streams[slot] = Scripted(uniform, cut)
        particles = tuple(as_particle(move.model, x) for x in before)
        state, _ = await move.step(State(particles, last=False))
        return state.particles[slot].trajectory.token_ids == y

    return await share(accepted)


@pytest.mark.parametrize("name", ["powered-no-eos-psi-1", "tempered-no-eos-telescoping"])
async def test_the_chains_on_the_first_rung_come_to_the_posterior(name):
    model = MODELS[name]
    moves = {"steps": 60, "move": "exchange", "rungs": 3, "lowest": 0.25}
    config = config_of(model, n_particles=6, ess_threshold=0.0, rejuvenation=moves)
    masses = defaultdict(float)
    for seed in range(25):
        result = await sample(engine_of(model), (), potential_of(model), config, seed=seed)
        assert result.log_z is None
        assert sum(p.weight for p in result.particles) == pytest.approx(1.0)
        for particle in result.particles:
            masses[particle.token_ids] += particle.weight / 25
    distance = 0.5 * sum(abs(masses.get(x, 0.0) - mass) for x, mass in model.posterior.items())
    assert distance < 0.1


async def test_a_run_of_chains_says_that_it_is_none_of_the_exact_ones():
    model = MODELS["powered-eos-product"]
    result = await sample(engine_of(model), (), potential_of(model), ladder_config(model), seed=0)
    assert any("replica exchange" in reason for reason in result.inexact)


@pytest.mark.parametrize(
    "settings",
    [{"ess_threshold": 0.5}, {"lookahead": {"rollouts": 1}}, {"n_sweeps": 2}, {"first_pass_size": 1},
     {"rejuvenation": {"steps": 1, "move": "exchange", "every": 2}}, {"proposal_temperature": 0, "n_particles": 1}],
)  # fmt: skip
def test_what_chains_cannot_be_combined_with_is_refused(settings):
    model = MODELS["powered-eos-product"]
    values = {"ess_threshold": 0.0, "rejuvenation": {"steps": 1, "move": "exchange"}, **settings}
    with pytest.raises(ValueError, match="exchange"):
        config_of(model, **values)
