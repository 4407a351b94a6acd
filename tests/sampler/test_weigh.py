"""One step of Algorithm 1 by itself: what a particle weighs, in closed form, and whom the potential is asked about."""

import math
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from smc_decode.engines.base import LiveSequence
from smc_decode.potentials import FunctionPotential
from smc_decode.result import Usage
from smc_decode.sampler.budget import Budget
from smc_decode.sampler.state import Extension, LiveParticle, Rollout, State
from smc_decode.sampler.tempering import Tempering
from smc_decode.sampler.trajectory import Trajectory
from smc_decode.sampler.weigh import Score, Weigh
from tests.enumeration import MODELS
from tests.harness import context_of

MODEL = MODELS["powered-eos-product"]
HELD, NEW = LiveSequence([]), LiveSequence([])
BEFORE = LiveParticle(Trajectory((1,)), HELD, log_weight=1.5, log_importance=-0.4, log_value=0.1)
DRAWN = Trajectory((1, 2), (-1.0, -0.5), (-0.25, -0.75), log_potential=0.3, reward=0.25)
ROLLOUTS = (Rollout(DRAWN, NEW),)


def of(*extensions, particles=(BEFORE,), **changed):
    return State(particles, extensions=extensions, **changed)


async def test_the_weight_is_multiplied_by_gamma_l_over_q_and_divided_by_what_it_was_before():
    extension = Extension(DRAWN, NEW, log_correction=0.2, log_value=0.7, rollouts=ROLLOUTS)
    state, told = await Weigh(context_of(MODEL))(of(extension, block=3))
    [particle] = state.particles
    assert particle.log_importance == pytest.approx(2.0 * -1.5 + 1.0 + 0.3 + 0.7)
    assert particle.log_weight == pytest.approx(1.5 + 0.2 + (-1.0 - -0.4))
    assert (particle.log_value, particle.rollouts) == (0.7, ROLLOUTS)
    assert (particle.trajectory, particle.sequence) == (DRAWN, NEW)
    assert state.extensions == ()
    assert len(state.history) == 1
    assert (told.block, told.rewards, told.ess, told.bridge) == (3, [0.25], pytest.approx(1.0), 1.0)
    assert told.log_z == pytest.approx(particle.log_weight)


async def test_what_was_dropped_weighs_nothing_and_what_did_not_move_weighs_what_it_did():
    particles = (BEFORE, BEFORE)
    extensions = (Extension(DRAWN, NEW, dropped=True), Extension(DRAWN, NEW, log_value=0.7, moved=False))
    state, _ = await Weigh(context_of(MODEL))(of(*extensions, particles=particles))
    assert not state.particles[0].alive
    assert state.particles[1] is BEFORE


async def test_a_population_that_weighs_nothing_is_dead_and_there_is_nothing_to_tell():
    state, told = await Weigh(context_of(MODEL))(of(Extension(DRAWN, NEW, dropped=True)))
    assert state.dead
    assert told is None
    assert state.history == ()


async def test_without_extensions_and_at_its_target_a_population_is_left_as_it_is():
    state = of()
    assert await Weigh(context_of(MODEL))(state) == (state, None)


async def test_a_target_that_is_raised_after_the_last_block_weighs_that_block_anew():
    """At half of the potential's exponent log gamma / q is -2 + 0.15; the whole of it is 0.15 more."""
    context = context_of(MODEL, bridge={"reward": True}, n_particles=1)
    half = LiveParticle(DRAWN, HELD, log_weight=1.5, log_importance=-1.85)
    state = State((half,), level=0.5).recorded()
    raised, told = await Weigh(context, Tempering(context))(state)
    assert (raised.level, told.bridge) == (1.0, 1.0)
    assert raised.particles[0].log_weight == pytest.approx(1.65)
    assert len(raised.history) == 1


async def test_what_did_not_move_is_weighed_anew_where_the_target_is_raised():
    context = context_of(MODEL, bridge={"reward": True}, n_particles=1)
    half = LiveParticle(DRAWN, HELD, log_weight=1.5, log_importance=-1.85)
    state = State((half,), extensions=(Extension(DRAWN, HELD, moved=False),), level=0.5)
    raised, _ = await Weigh(context, Tempering(context))(state)
    assert raised.level == 1.0
    assert raised.particles[0].log_weight == pytest.approx(1.65)


# ---- scores -------------------------------------------------------------------------------------------------------


class Limits(Budget):
    """Without any budget: notes which limits it was asked for."""

    def __init__(self):
        super().__init__(Usage(), None, None)
        self.graces = []

    @asynccontextmanager
    async def limit(self, *, grace=False):
        self.graces.append(grace)
        yield


async def test_the_potential_is_asked_about_what_moved_and_was_not_dropped():
    asked = []
    potential = FunctionPotential(lambda tokens, finished: asked.append(tokens) or 0.5, "product")
    paths = [Trajectory((number, 1), (-1.0,) * 2, (-1.0,) * 2, log_potential=None) for number in range(3)]
    extensions = Extension(paths[0], NEW), Extension(paths[1], NEW, moved=False), Extension(paths[2], NEW, dropped=True)
    state, told = await Score(context_of(MODEL, potential))(of(*extensions, particles=(BEFORE,) * 3))
    assert asked == [(0, 1)]
    assert [each.trajectory.log_potential for each in state.extensions] == [0.5, None, None]
    assert told is None


@pytest.mark.parametrize(("cut", "grace"), [("deadline", True), ("max_total_tokens", False), (None, False)])
async def test_after_a_deadline_the_potential_has_the_grace_and_at_no_other_time(cut, grace):
    limits = Limits()
    await Score(replace(context_of(MODEL), budget=limits))(of(Extension(DRAWN, NEW), cut=cut))
    assert limits.graces == [grace]


def test_no_increment_is_a_number_where_the_potential_is_zero():
    context = context_of(MODEL)
    assert context.target.log_over_proposal(replace(DRAWN, log_potential=-math.inf)) == -math.inf
