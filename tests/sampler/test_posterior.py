"""The anytime posterior by itself: which answers it merges, when it is decided, and what of a run is then left."""

import math

import pytest

from smc_decode.answers.selection import answer_key
from smc_decode.engines.base import LiveSequence
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.state import LiveParticle, Pool, Rollout, State
from smc_decode.sampler.stops.posterior import PosteriorDecided, take_rollouts
from smc_decode.sampler.trajectory import Trajectory
from tests.enumeration import MODELS
from tests.harness import context_of

MODEL = MODELS["tempered-eos-product"]
HELD = LiveSequence([])


def answer(*tokens, psi=1.0):
    return Trajectory(tokens, finish_reason="eos", log_potential=math.log(psi) if psi else -math.inf)


def holding(weight, *answers):
    """A particle with these rollouts, whose L^ is 1."""
    rollouts = tuple(Rollout(each, HELD) for each in answers)
    return LiveParticle(Trajectory((1,)), HELD, math.log(weight), rollouts=rollouts)


# weights 3 * 1/2, 3 * 2/2, 1 * 1/2 and 1 * 0: 1.5 + 0.5 of the first answer, 3 of the second
STATE = State((holding(3.0, answer(1, 0), answer(1, 2, psi=2.0)), holding(1.0, answer(1, 0), answer(1, 3, psi=0.0))))
MASSES = [((1, 2), 0.6), ((1, 0), 0.4), ((1, 3), 0.0)]


def rule(share=None, key=None, *, recycling=False):
    rollouts = Rollouts(context_of(MODEL, lookahead={"rollouts": 2}))
    return PosteriorDecided(rollouts, share, key or answer_key("tokens", None), recycling=recycling)


async def test_it_has_the_share_of_each_answer_the_heaviest_first():
    state, told = await rule().after(STATE, 4)
    assert state is STATE
    assert told.block == 4
    assert [tokens for tokens, _ in told.answers] == [tokens for tokens, _ in MASSES]
    assert [mass for _, mass in told.answers] == pytest.approx([mass for _, mass in MASSES])


async def test_of_a_run_that_recycles_it_is_that_of_all_blocks_so_far():
    pool = Pool(((answer(2), math.log(1.0)), (answer(3), math.log(3.0))), share=0.5)
    state = State(STATE.particles, pool=pool)
    left, told = await rule(0.7, recycling=True).after(state, 0)
    assert [(tokens, pytest.approx(mass)) for tokens, mass in told.answers] == [((3,), 0.75), ((2,), 0.25)]
    assert (left.stopped, left.particles) == ("early_stop", state.particles)


@pytest.mark.parametrize(("share", "decided"), [(0.59, True), (0.61, False), (None, False)])
async def test_it_is_decided_where_one_answer_has_the_share(share, decided):
    state, told = await rule(share).after(STATE, 0)
    assert told is not None
    assert state.stopped == ("early_stop" if decided else None)
    if decided:
        assert [p.trajectory.token_ids for p in state.particles] == [(1, 0), (1, 2), (1, 0), (1, 3)]
        assert state.log_mean == pytest.approx(math.log(5.0 / 2))


async def test_the_share_itself_is_enough():
    state = State((holding(1.0, answer(1, 0), answer(1, 2)),))
    assert (await rule(0.5).after(state, 0))[0].stopped == "early_stop"


async def test_answers_are_the_same_where_the_extractor_says_so():
    state, told = await rule(0.99, key=lambda tokens: tokens[0]).after(STATE, 0)
    assert state.stopped == "early_stop"
    assert len(told.answers) == 3


async def test_there_is_none_in_the_last_block_and_where_nothing_has_a_weight():
    last = State(STATE.particles, last=True)
    assert await rule(0.1).after(last, 0) == (last, None)
    lost = State((holding(1.0, answer(1, 0, psi=0.0)),))
    assert await rule(0.1).after(lost, 0) == (lost, None)


def test_only_a_share_that_ends_runs_biases_them():
    assert rule().inexact is None
    assert "early_stop" in rule(0.5).inexact


def test_rollouts_that_become_the_population_carry_its_evidence():
    taken = take_rollouts(STATE, rule()._rollouts)
    weights = [math.exp(particle.log_weight) for particle in taken.particles]
    # four answers in place of two particles: their mean is the evidence, and so they are twice as heavy
    assert weights == pytest.approx([3.0, 6.0, 1.0, 0.0])
    assert all(particle.trajectory.finished for particle in taken.particles)
    assert all(particle.sequence is HELD for particle in taken.particles)


def test_where_no_rollout_has_a_weight_the_population_stays():
    lost = State((holding(1.0, answer(1, 0, psi=0.0)),))
    assert take_rollouts(lost, rule()._rollouts) is lost
