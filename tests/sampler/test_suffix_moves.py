"""The suffix move by itself: when it is made, of whom, and what an accepted particle weighs."""

import math
from dataclasses import replace

import numpy as np
import pytest

from smc_decode import events, run
from smc_decode.engines.base import LiveSequence
from smc_decode.laws.resampling import Offspring
from smc_decode.sampler.budget import BudgetSpent
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.moves.suffix import suffix_moves
from smc_decode.sampler.state import LiveParticle, State
from smc_decode.sampler.trajectory import Trajectory
from tests.choices import Choices, EnumeratedEngine, EnumeratedGenerator
from tests.enumeration import MODELS, Model, soft
from tests.harness import config_of, context_of, engine_of, potential_of

LONG = MODELS["powered-no-eos-psi-1"]
"""No end of sequence: five tokens at most, in blocks of one."""


def move_of(model=LONG, *, lookahead=False, settings=None, **rejuvenation):
    settings = {**(settings or {}), "lookahead": {"rollouts": 2}} if lookahead else settings or {}
    context = context_of(model, rejuvenation={"steps": 1, **rejuvenation}, **settings)
    rollouts = Rollouts(context) if lookahead else None
    [move] = suffix_moves(context, rollouts)
    return context, rollouts, move


# ---- when ---------------------------------------------------------------------------------------------------------


def state_of(*, resampled=False, **changed):
    state = State((LiveParticle(Trajectory((1,)), LiveSequence([])),), **changed).recorded().recorded().recorded()
    return state.resampled(Offspring(np.array([0]), np.zeros(1))) if resampled else state


@pytest.mark.parametrize(
    ("settings", "block", "changed", "due"),
    [
        ({}, 0, {}, True),
        ({"every": 2}, 0, {}, False),
        ({"every": 2}, 1, {}, True),
        ({"every": 2}, 0, {"resampled": True}, False),
        ({}, 0, {"cut": "deadline"}, False),
        ({}, 0, {"last": True}, True),
        ({"every": 2}, 0, {"last": True}, False),
        ({"every": 2}, 0, {"last": True, "level": 0.5}, True),
        ({"every": 2}, 0, {"level": 0.5}, False),
        ({"when": "resampled"}, 0, {}, False),
        ({"when": "resampled"}, 0, {"resampled": True}, True),
        ({"when": "resampled"}, 0, {"resampled": True, "last": True}, False),
    ],
)
def test_a_move_is_made_by_schedule_or_where_the_block_was_resampled(settings, block, changed, due):
    assert move_of(**settings)[2].due(block, state_of(**changed)) is due


def test_no_particle_moves_while_its_lookahead_depends_on_the_others():
    _, rollouts, move = move_of(MODELS["tempered-eos-product"], lookahead=True)
    rollouts.floor.begin(0)
    assert not move.due(0, state_of())
    assert move.due(0, state_of(last=True))  # there is no lookahead in the last block
    rollouts.floor.begin(1)
    assert move.due(1, state_of())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, None),
        ({"mode": "corrected"}, None),
        ({"mode": "paper"}, "a heuristic"),
        ({"when": "resampled"}, "depends on the particles that are moved"),
    ],
)
def test_a_move_says_what_of_it_biases_z(settings, reason):
    inexact = move_of(MODELS["tempered-eos-product"], **settings)[2].inexact
    assert inexact is None if reason is None else reason in inexact


def test_there_are_as_many_moves_as_steps():
    context = context_of(LONG, rejuvenation={"steps": 3})
    assert len(suffix_moves(context, None)) == 3


@pytest.mark.parametrize(("mode", "estimates"), [("exact", True), ("corrected", True), ("paper", False)])
def test_there_is_an_estimate_of_z_where_the_move_is_towards_the_target_of_the_weights(mode, estimates):
    assert move_of(MODELS["tempered-eos-product"], mode=mode)[2].estimates_z is estimates


# ---- of whom ------------------------------------------------------------------------------------------------------


async def moved(context, move, *particles, **changed):
    """The state after the move, whose particles' sequences are the engine's."""
    made = []
    for particle in particles:
        sequence = await context.proposal.open(())
        sequence.token_ids.extend(particle.trajectory.token_ids)
        made.append(replace(particle, sequence=sequence))
    return await move(State(tuple(made), **changed))


def at(*tokens, **changed):
    path = Trajectory(tokens, (0.0,) * len(tokens), (0.0,) * len(tokens), (0.0,) * len(tokens), log_potential=0.0)
    return LiveParticle(path, LiveSequence([]), **changed)


async def test_the_living_move_if_they_have_a_token():
    context, _, move = move_of()
    state, told = await moved(context, move, at(1), at(1, log_weight=-math.inf), at(), block=2)
    assert told.proposed.tolist() == [True, False, False]
    assert (told.block, told.step) == (2, 0)
    assert context.usage.mh > 0
    assert not state.particles[1].alive


async def test_a_proposal_goes_to_the_blocks_end_and_has_a_lookahead_but_in_the_last_block():
    for last, number in [(False, 2), (True, 0)]:
        context, _, move = move_of(lookahead=True)
        # gamma L / q of almost nothing: whatever is proposed is accepted
        state, told = await moved(context, move, at(1, 1, log_importance=-1e6), block=2, last=last)
        assert told.accepted.tolist() == [True]
        [particle] = state.particles
        assert len(particle.trajectory) == len(particle.sequence.token_ids) == 3
        assert len(particle.rollouts) == number
        value = np.logaddexp.reduce([each.log_value for each in particle.rollouts]) - math.log(2) if number else 0.0
        assert particle.log_value == pytest.approx(value)
        importance = context.target.log_over_proposal(particle.trajectory) + particle.log_value
        assert particle.log_importance == pytest.approx(importance)
        assert particle.log_weight == 0.0


async def test_what_is_complete_at_the_end_of_its_block_has_no_future():
    context, _, move = move_of(lookahead=True)
    state, _ = await moved(context, move, at(1, 1, log_importance=-1e6), block=4)
    assert state.particles[0].trajectory.finished
    assert state.particles[0].rollouts == ()


async def test_a_proposal_that_a_budget_would_cut_short_is_not_begun():
    """Three particles of one token, moved to the end of the third block: nine tokens."""
    for tokens, enough in [(8, False), (9, True)]:
        context, _, move = move_of(settings={"max_total_tokens": tokens})
        particles = [at(1)] * 3
        if enough:
            assert (await moved(context, move, *particles, block=2))[1].proposed.all()
        else:
            with pytest.raises(BudgetSpent):
                await moved(context, move, *particles, block=2)


async def test_a_proposal_costs_what_is_drawn_anew_and_not_what_is_kept():
    """Eight particles of two tokens, moved to the end of the third block, need at most three tokens each."""
    context, _, move = move_of(settings={"max_total_tokens": 24})
    assert (await moved(context, move, *[at(1, 1)] * 8, block=2))[1].proposed.all()
    assert context.usage.mh < 24


@pytest.mark.parametrize(("log_value", "accepted"), [(-1e6, True), (1e6, False)])
async def test_a_corrected_move_is_towards_target_ii_times_the_stored_lookahead(log_value, accepted):
    model = replace(SMALL, max_tokens=4)
    context, _, move = move_of(model, lookahead=True, mode="corrected")
    _, told = await moved(context, move, at(1, 1, log_value=log_value), block=0)
    assert told.accepted.tolist() == [accepted]


@pytest.mark.parametrize(
    ("changed", "recycle", "shares"),
    [({"last": True}, True, [1 / 3, 2 / 3, 1.0]), ({}, True, [0.0] * 3), ({"last": True}, False, [0.0] * 3)],
)
async def test_both_ends_of_the_last_moves_are_answers_each_step_having_an_equal_share(changed, recycle, shares):
    context = context_of(LONG, rejuvenation={"steps": 3, "recycle": recycle})
    state, found = State((at(1, 1), at(1, 1)), block=4, **changed), []
    for move in suffix_moves(context, None):
        state, _ = await moved(context, move, *state.particles, block=4, pool=state.pool, **changed)
        found.append(state.pool.share)
    assert found == pytest.approx(shares)
    assert len(state.pool.answers) == (2 * 2 * 3 if shares[-1] else 0)


# ---- what an accepted particle weighs -----------------------------------------------------------------------------


class Accepting(EnumeratedGenerator):
    """The whole sequence is drawn anew, and whatever is drawn is accepted."""

    def __init__(self):
        super().__init__(Choices())

    def integers(self, low, *args, **kwargs):
        return 0

    def random(self, size=None, *args, **kwargs):
        return 1.0 - 2.0**-53 if size is None else np.full(size, 0.25)


def uneven(tokens):
    """A law whose z is another after every token."""
    return np.array([0.0, 0.5, -0.25]) * (1.0 + sum(tokens))


SMALL = Model("tempered", uneven, 3, 2, 2, log_psi=soft)


def log_zeta(tokens):
    return sum(math.log(np.exp(SMALL.alpha * SMALL.logprobs(tokens[:t])).sum()) for t in range(len(tokens)))


@pytest.mark.parametrize("mode", ["exact", "corrected", "paper"])
async def test_a_corrected_move_multiplies_the_weight_by_the_ratio_of_the_two_targets(mode):
    """In a tempered run a particle at x weighs psi(x); Target II has the product of z(x) besides."""
    x, y = (1, 2), (2, 2)
    engine, config = EnumeratedEngine(SMALL, Choices()), config_of(SMALL, n_particles=1, draft_draws=False)
    config = replace_rejuvenation(config, mode)
    engine.forced = x
    async for event in run(engine, (), potential_of(SMALL), config, seed=Accepting()):
        if isinstance(event, events.Weighted):
            before, engine.forced = event.log_weights[0], y
        elif isinstance(event, events.Rejuvenated):
            accepted = bool(event.accepted[0])
        elif isinstance(event, events.Finished):
            [particle] = event.result.particles
    assert before == pytest.approx(SMALL.log_potential(x))
    if mode == "paper":  # it is no copy
        assert (accepted, particle.token_ids, particle.log_weight) == (False, x, before)
        return
    shift = log_zeta(x) - log_zeta(y)
    assert abs(shift) > 0.1
    assert (accepted, particle.token_ids) == (True, y)
    assert particle.log_weight == pytest.approx(before + (shift if mode == "corrected" else 0.0))


@pytest.mark.parametrize("mode", ["exact", "paper"])
async def test_no_other_move_changes_a_weight(mode):
    context, _, move = move_of(replace(SMALL, max_tokens=4), lookahead=True, mode=mode, reward_threshold=1e9)
    low = at(1, 1, is_copy=True, log_weight=0.5, log_value=-1e6, log_importance=-1e6)
    state, told = await moved(context, move, low, block=0)
    assert told.accepted.tolist() == [True]
    assert state.particles[0].log_weight == 0.5


def replace_rejuvenation(config, mode):
    return config.model_validate({**config.model_dump(), "rejuvenation": {"steps": 1, "mode": mode}})


async def test_steps_are_told_one_after_the_other():
    model = MODELS["tempered-eos-product"]
    config = config_of(model, rejuvenation={"steps": 3})
    told = [each async for each in run(engine_of(model), (), potential_of(model), config, seed=0)]
    steps = [each.step for each in told if isinstance(each, events.Rejuvenated) and each.block == 0]
    assert steps == [0, 1, 2]


# ---- windows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "block", "first"), [(None, 5, 0), (1, 0, 0), (1, 1, 2), (1, 3, 6), (2, 1, 0), (2, 3, 4), (5, 3, 0)]
)
def test_a_window_of_blocks_ends_with_the_block_that_the_move_follows(window, block, first):
    """Blocks of two tokens."""
    _, _, move = move_of(MODELS["tempered-eos-product"], window=window)
    assert move.first_cut(block) == first


def test_the_cuts_that_there_are_lie_within_the_window():
    """Of seven and four tokens behind three that stay, a cut is one of four or of one."""
    _, _, move = move_of()
    old, new = at(*[1] * 7, log_importance=3.0), at(*[1] * 4, log_importance=2.0)
    assert move._log_acceptance(old, new, 1.0, 3) == pytest.approx(min(0.0, 1.0 + math.log(1 / 4)))
    assert move._log_acceptance(new, old, 1.0, 3) == pytest.approx(min(0.0, -1.0 + math.log(4 / 1)))
    low = replace(old, log_importance=0.0)
    assert move._log_acceptance(low, new, 1.0, 3) == pytest.approx(-2.0 + math.log(1 / 4))
    assert move._log_acceptance(new, replace(old, log_importance=9.0), 1.0, 3) == pytest.approx(-7.0 + math.log(4))


async def test_what_ended_before_the_window_stays():
    context, _, move = move_of(window=1)
    _, told = await moved(context, move, at(1), at(1, 1), at(1, 1, 1), block=2)
    assert told.proposed.tolist() == [False, False, True]
