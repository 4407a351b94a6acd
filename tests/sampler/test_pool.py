"""The pool of recycled answers by itself: shares and weights in closed form."""

import math

import pytest

from smc_decode.engines.base import LiveSequence
from smc_decode.sampler import recycle as recycling
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.recycle import Recycle, pooled, with_both_ends
from smc_decode.sampler.state import LiveParticle, Pool, Rollout, State
from smc_decode.sampler.trajectory import Trajectory
from tests.enumeration import MODELS
from tests.harness import context_of

MODEL = MODELS["tempered-eos-product"]
HELD = LiveSequence([])


def answer(*tokens, log_potential=0.0):
    return Trajectory(tokens, finish_reason="eos", log_potential=log_potential)


def weights(population):
    return {particle.trajectory.token_ids: particle.log_weight for particle in population}


def test_the_particles_have_what_the_pool_leaves_and_equal_answers_are_one():
    pool = Pool(((answer(1, 0), math.log(0.2)), (answer(2, 0), math.log(0.3)), (answer(3, 0), -math.inf)), share=0.75)
    particles = (
        LiveParticle(answer(1, 0), HELD, log_weight=math.log(4.0)),
        LiveParticle(answer(4, 0), HELD, log_weight=math.log(0.8)),
        LiveParticle(answer(5, 0), HELD, log_weight=-math.inf),
    )
    population = pooled(State(particles, pool=pool))
    assert all(particle.sequence is HELD for particle in population)
    assert weights(population) == pytest.approx(
        {(1, 0): math.log(0.2 + 4.0 / 4), (2, 0): math.log(0.3), (4, 0): math.log(0.8 / 4)}
    )


def test_a_pool_that_has_all_shares_leaves_nothing_to_the_particles():
    pool = Pool(((answer(1, 0), 0.5),), share=1.0)
    population = pooled(State((LiveParticle(answer(2, 0), HELD),), pool=pool))
    assert weights(population) == {(1, 0): 0.5}


def test_where_particles_have_not_ended_the_pool_stands_for_all_of_the_evidence():
    pool = Pool(((answer(1, 0), math.log(0.2)),), share=0.25)
    particles = LiveParticle(answer(2, 0), HELD), LiveParticle(Trajectory((3,)), HELD)
    assert weights(pooled(State(particles, pool=pool))) == pytest.approx({(1, 0): math.log(0.8)})


def test_without_a_pool_particles_that_have_not_ended_are_what_there_is():
    particles = LiveParticle(answer(2, 0), HELD, 0.5), LiveParticle(Trajectory((3,)), HELD, -0.5)
    assert weights(pooled(State(particles))) == {(2, 0): 0.5, (3,): -0.5}


def state_of(**changed):
    """One particle of weight e, half of whose L^ of 2 each of two rollouts is: they were worth 1 and 3."""
    rollouts = tuple(Rollout(answer(1, 1, 0, log_potential=math.log(v)), HELD, math.log(v)) for v in (1.0, 3.0))
    particle = LiveParticle(Trajectory((1, 1), log_potential=0.0), HELD, 1.0, 0.0, math.log(2.0), rollouts)
    return State((particle,), **changed)


def recycle_of(n_blocks=2, first=0, **settings):
    context = context_of(MODEL, lookahead={"rollouts": 2, **settings.pop("lookahead", {})}, **settings)
    return Recycle(context.config, Rollouts(context), n_blocks, first)


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({}, 1.0),  # the block that follows is one of the rollouts
        ({"lookahead": {"reuse": False}}, 0.5),
        ({"rejuvenation": {"steps": 1}}, 0.5),
        ({"rejuvenation": {"steps": 3}}, 0.5),
    ],
)
async def test_after_the_last_block_but_one_the_pool_has_all_or_half_by_whether_anything_new_follows(settings, share):
    recycle = recycle_of(**settings)
    state, told = await recycle(state_of())
    assert told is None
    assert state.pool.share == pytest.approx(share)
    # w / L^ * psi / J: e / 2 * 1 / 2 and e / 2 * 3 / 2
    values = [math.log(share) + 1.0 + math.log(v / 4.0) for v in (1.0, 3.0)]
    assert [weight for _, weight in state.pool.answers] == pytest.approx(values)


async def test_the_pool_grows():
    recycle = recycle_of(lookahead={"reuse": False})
    before = Pool(((answer(2, 0), -3.0),), share=0.25)
    state, _ = await recycle(state_of(pool=before))
    assert state.pool.answers[0] == before.answers[0]
    assert len(state.pool.answers) == 3
    assert state.pool.share == pytest.approx(0.75)


@pytest.mark.parametrize("over", [{"last": True}, {"stopped": "complete"}])
async def test_nothing_is_recycled_of_a_pass_that_is_at_its_end(over):
    recycle = recycle_of()
    state = state_of(**over)
    assert (await recycle(state))[0] is state


async def test_rollouts_that_are_cut_short_are_no_answers():
    recycle = recycle_of()
    short = Rollout(Trajectory((1, 1, 1), log_potential=0.0), HELD)
    state = State((LiveParticle(Trajectory((1, 1), log_potential=0.0), HELD, rollouts=(short, short)),))
    assert (await recycle(state))[0] is state


async def test_shares_are_counted_from_the_block_that_the_first_rollouts_follow():
    """Of four blocks the second is the first with rollouts: half; nothing before it; all that is left at the third."""
    recycle = recycle_of(n_blocks=4, first=1)
    before = state_of()
    assert (await recycle(before))[0] is before
    after, _ = await recycle(state_of(block=1))
    assert after.pool.share == pytest.approx(0.5)
    whole, _ = await recycle(state_of(block=2, pool=after.pool))
    assert whole.pool.share == pytest.approx(1.0)


async def test_unless_it_is_said_the_first_rollouts_follow_the_first_block():
    context = context_of(MODEL, lookahead={"rollouts": 2})
    assert (await recycling.Recycle(context.config, Rollouts(context), 3)(state_of()))[0].pool.share == 0.5


# ---- both ends of a move ------------------------------------------------------------------------------------------

OLD, NEW = LiveParticle(answer(1, 0), HELD, math.log(8.0)), LiveParticle(answer(2, 0), HELD, 5.0)


@pytest.mark.parametrize(
    ("accepted", "weights_of_ends"),
    [(0.25, (6.0, 2.0)), (1.0, (0.0, 8.0)), (0.0, (8.0, 0.0)), (0.75, (2.0, 6.0))],
)
@pytest.mark.parametrize(("steps_left", "share"), [(1, 1.0), (2, 0.7), (4, 0.55)])
def test_of_a_weight_as_much_as_is_accepted_goes_to_what_was_proposed(accepted, weights_of_ends, steps_left, share):
    """Each of the steps that are left has an equal part of the 0.6 that the pool has left."""
    first = (answer(3, 0), -1.0)
    log_acceptance = math.log(accepted) if accepted else -math.inf
    state = State((OLD,), pool=Pool((first,), share=0.4))
    stayed = LiveParticle(answer(4, 0), HELD, math.log(2.0)), LiveParticle(answer(5, 0), HELD, -math.inf)
    after = with_both_ends(state, [(OLD, NEW, log_acceptance)], stayed, steps_left).pool
    assert after.share == pytest.approx(share)
    assert after.answers[0] is first
    assert [trajectory.token_ids for trajectory, _ in after.answers[1:]] == [(4, 0), (1, 0), (2, 0)]
    mass = [math.exp(log_weight) for _, log_weight in after.answers[1:]]
    assert mass == pytest.approx([(share - 0.4) * each for each in (2.0, *weights_of_ends)])


def test_a_pool_that_has_all_shares_takes_nothing_from_a_move():
    state = State((OLD,), pool=Pool((), share=1.0))
    after = with_both_ends(state, [(OLD, NEW, -1.0)], [], 1).pool
    assert [log_weight for _, log_weight in after.answers] == [-math.inf, -math.inf]
