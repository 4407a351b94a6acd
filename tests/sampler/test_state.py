"""The state of a pass by itself: what a population weighs, and what resampling leaves of it."""

import math

import numpy as np
import pytest

from smc_decode.engines.base import LiveSequence
from smc_decode.laws.resampling import Offspring
from smc_decode.sampler import resample as resampling
from smc_decode.sampler.resample import Resample, ResampleConditionally
from smc_decode.sampler.state import BlockRecord, Extension, LiveParticle, Rollout, State, common_prefix
from smc_decode.sampler.trajectory import Trajectory
from tests.enumeration import MODELS
from tests.harness import context_of

MODEL = MODELS["tempered-eos-product"]
HELD = LiveSequence([])


def population(*weights):
    """One particle of each weight, its number as its only token."""
    values = [math.log(weight) if weight else -math.inf for weight in weights]
    return tuple(LiveParticle(Trajectory((i,)), HELD, value) for i, value in enumerate(values))


# ---- particles ----------------------------------------------------------------------------------------------------


def test_a_particle_is_alive_with_a_weight_and_active_until_it_is_complete():
    [alive, dead] = population(1e-300, 0.0)
    complete = LiveParticle(Trajectory((1,), finish_reason="eos"), HELD)
    assert [(each.alive, each.active) for each in (alive, dead, complete)] == [
        (True, True),
        (False, False),
        (True, False),
    ]
    assert not alive.dead().alive
    assert alive.dead().trajectory is alive.trajectory


def test_an_extension_that_goes_on_keeps_what_it_carries_and_loses_its_estimate():
    rollout = (Rollout(Trajectory((1, 2)), HELD),)
    other = LiveSequence([])
    extension = Extension(Trajectory((1,)), HELD, rollout, 0.5, 0.7, rollout, moved=False)
    longer = extension.to(Trajectory((1, 2)))
    assert longer == Extension(Trajectory((1, 2)), HELD, rollout, 0.5, moved=False)
    assert extension.to(Trajectory((1, 2)), other).sequence is other


# ---- the population -----------------------------------------------------------------------------------------------


def test_the_mean_the_shares_and_the_effective_size_follow_from_the_weights():
    state = State(population(1.0, 3.0, 0.0, 4.0))
    assert state.log_mean == pytest.approx(math.log(2.0))
    assert state.weights == pytest.approx([0.125, 0.375, 0.0, 0.5])
    assert state.ess == pytest.approx(64.0 / 26.0)
    assert not state.dead
    assert not state.over


def test_a_pass_is_over_where_it_was_stopped_or_has_died():
    assert State(population(0.0, 0.0)).dead
    assert State(population(0.0, 0.0)).over
    assert State(population(1.0), stopped="complete").over
    assert not State(population(1.0), stopped="complete").dead


def test_only_the_whole_level_is_the_target():
    assert State(population(1.0)).at_target
    assert not State(population(1.0), level=0.5).at_target


LATER = tuple(BlockRecord(0.0, np.array([0, 1]), resampled) for resampled in (False, False, True))


def test_each_block_has_a_record_and_a_block_that_is_weighed_anew_keeps_its_own():
    once = State(population(1.0, 1.0)).recorded()
    assert [(record.ess, record.ancestors.tolist(), record.resampled) for record in once.history] == [
        (pytest.approx(2.0), [0, 1], False)
    ]
    twice = State(population(1.0, 3.0), history=once.history).recorded()
    assert [record.ess for record in twice.history] == pytest.approx([2.0, 1.6])
    thrice = State(population(1.0, 7.0), history=twice.history).recorded()
    anew = State(population(1.0, 0.0), history=thrice.history).recorded(anew=True)
    assert [record.ess for record in anew.history] == pytest.approx([2.0, 1.6, 1.0])
    later = State(population(1.0, 0.0), history=LATER).recorded(anew=True)
    assert [record.resampled for record in later.history] == [False, False, True]


def test_offspring_share_the_evidence_and_copies_know_that_they_are_copies():
    """Weights 1 and 3: each child has the mean, 2, times what its scheme says."""
    state = State(population(1.0, 3.0), history=LATER[:2]).recorded()
    log_weights = np.log([1.5, 0.5, 1.0])
    children = state.resampled(Offspring(np.array([1, 0, 1]), log_weights))
    assert [child.trajectory.token_ids for child in children.particles] == [(1,), (0,), (1,)]
    assert [math.exp(child.log_weight) for child in children.particles] == pytest.approx([3.0, 1.0, 2.0])
    assert [child.is_copy for child in children.particles] == [False, False, True]
    first, second, last = children.history
    assert (first is LATER[0], second is LATER[1]) == (True, True)
    assert (last.ancestors.tolist(), last.resampled) == ([1, 0, 1], True)
    assert last.ess == pytest.approx(1.6)


def test_the_sequences_of_a_state_are_all_that_its_next_blocks_may_need():
    sequences = [LiveSequence([]) for _ in range(4)]
    rollouts = tuple(Rollout(Trajectory(), each) for each in sequences[1:3])
    state = State(
        (LiveParticle(Trajectory(), sequences[0], rollouts=rollouts),),
        set_aside=(LiveParticle(Trajectory(), sequences[3]),),
    )
    assert [id(each) for each in state.sequences()] == [id(each) for each in sequences]


@pytest.mark.parametrize(
    ("paths", "shared"),
    [
        ([(1, 2, 3)], (1, 2, 3)),
        ([(1, 2, 3), (1, 2)], (1, 2)),
        ([(1, 2), (1, 2, 3), (1, 2, 0)], (1, 2)),
        ([(1, 2, 3), (1, 0, 3), (1, 2, 4)], (1,)),
        ([(1,), (2,)], ()),
        ([(), (2,)], ()),
    ],
)
def test_the_common_prefix_is_the_longest_that_all_begin_with(paths, shared):
    assert common_prefix([Trajectory(path) for path in paths]) == shared


# ---- when a population is resampled -------------------------------------------------------------------------------

HALF = (1.0, 1.0, 0.0, 0.0)
"""The effective size is exactly half of the number."""


@pytest.mark.parametrize(
    ("weights", "threshold", "due"),
    [
        (HALF, 0.5, False),
        (HALF, 0.51, True),
        ((1.0, 1.0, 1.0, 0.0), 0.51, False),
        ((1.0, 0.0, 0.0, 0.0), 0.51, True),
        ((1.0, 1.0, 1.0, 1.0), 1.0, True),
        ((1.0, 0.0, 0.0, 0.0), 0.0, False),
    ],
)
def test_resampling_is_due_where_the_effective_size_is_below_its_share(weights, threshold, due):
    state = State(population(*weights), block=2).recorded().recorded()
    resampled, told = Resample(context_of(MODEL, n_particles=4, ess_threshold=threshold))(state)
    assert (told is not None) is due
    if not due:
        assert resampled is state
        return
    assert told.block == 2
    assert told.ancestors.tolist() == [p.trajectory.token_ids[0] for p in resampled.particles]
    assert resampled.log_mean == pytest.approx(state.log_mean)
    assert all(weights[ancestor] > 0.0 for ancestor in told.ancestors)


@pytest.mark.parametrize(("block", "due"), [(0, False), (1, False), (2, True), (3, True)])
def test_it_may_be_that_nothing_is_resampled_before_some_block(block, due):
    context = context_of(MODEL, n_particles=4, ess_threshold=1.0)
    assert (Resample(context, 2)(State(population(*HALF), block=block).recorded())[1] is not None) is due
    assert resampling.Resample(context)(State(population(*HALF), block=0).recorded())[1] is not None


@pytest.mark.parametrize(
    ("changed", "due"), [({}, False), ({"level": 0.5}, True), ({"level": 0.5, "cut": "deadline"}, False)]
)
def test_after_the_last_block_it_is_due_only_while_the_target_is_raised(changed, due):
    state = State(population(*HALF), last=True, **changed).recorded()
    assert (Resample(context_of(MODEL, n_particles=4, ess_threshold=1.0))(state)[1] is not None) is due


def test_of_a_conditional_pass_the_reference_stays_and_the_others_are_drawn_by_weight():
    state = State(population(0.0, 1.0, 0.0, 0.0)).recorded()
    resampled, told = ResampleConditionally(context_of(MODEL, n_particles=4, ess_threshold=1.0))(state)
    assert told.ancestors.tolist() == [0, 1, 1, 1]
    assert [math.exp(each.log_weight) for each in resampled.particles] == pytest.approx([0.25] * 4)


# ---- trajectories -------------------------------------------------------------------------------------------------

PATH = Trajectory((1, 2, 3, 4, 0), (-1.0,) * 5, (-2.0,) * 5, (-3.0,) * 5, "eos", 0.6, (0.1, 0.3, 0.6), 0.75)


@pytest.mark.parametrize(("length", "known"), [(1, ()), (2, (0.1,)), (3, (0.1,)), (4, (0.1, 0.3))])
def test_a_head_has_the_numbers_of_its_tokens_and_of_the_blocks_that_it_contains(length, known):
    head = PATH.head(length, 2)
    assert len(head) == len(head.logprobs) == len(head.proposal_logprobs) == len(head.log_z) == length
    assert head.token_ids == PATH.token_ids[:length]
    assert head.log_potentials == known
    assert (head.log_potential, head.reward, head.finished) == (None, None, False)


def test_nothing_has_a_potential_of_one_and_the_whole_is_its_own_head():
    assert PATH.head(0, 2).log_potential == 0.0
    assert PATH.head(5, 2) is PATH
    assert PATH.head(6, 2) is PATH


def test_a_reward_can_be_reached_that_is_there_or_may_still_come():
    assert PATH.can_reach(0.75)
    assert PATH.can_reach(0.5)
    assert not PATH.can_reach(0.76)
    assert not Trajectory((0,), finish_reason="eos").can_reach(0.0)
    open_ended, bounded = Trajectory((1,)), Trajectory((1,), at_most=0.5)
    assert open_ended.can_reach(1e9)
    assert bounded.can_reach(0.5)
    assert not bounded.can_reach(0.6)


def test_scoring_changes_only_what_the_potential_says():
    scored = PATH.scored(1.0, (0.5, 1.0), 2.0, {"why": "so"}, 3.0)
    assert scored == Trajectory(*(getattr(PATH, name) for name in FIXED), 1.0, (0.5, 1.0), 2.0, {"why": "so"}, 3.0)
    assert PATH.scored(1.0) == Trajectory(*(getattr(PATH, name) for name in FIXED), 1.0)


FIXED = ("token_ids", "logprobs", "proposal_logprobs", "log_z", "finish_reason")
