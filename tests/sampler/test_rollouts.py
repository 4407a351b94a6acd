"""Rollouts and lookahead by themselves: how many are drawn and how far, and what they are worth in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest

from smc_decode.engines.base import LiveSequence
from smc_decode.sampler import lookahead as parts
from smc_decode.sampler.budget import BudgetSpent
from smc_decode.sampler.lookahead import Rollouts, TakeRollouts
from smc_decode.sampler.state import Extension, LiveParticle, Rollout, State
from smc_decode.sampler.trajectory import Trajectory
from tests.enumeration import MODELS
from tests.harness import context_of
from tests.sampler.test_weigh import Limits

TEMPERED, POWERED = MODELS["tempered-eos-product"], MODELS["powered-eos-product"]
LONG = MODELS["powered-no-eos-psi-1"]
"""No end of sequence, so that lengths are what is asked for: five tokens at most, in blocks of one."""
FLOOR = 0.1
HELD = LiveSequence([])


def rollouts_of(model, *, potential=None, settings=None, **lookahead):
    context = context_of(model, potential, **{**(settings or {}), "lookahead": {"rollouts": 2, **lookahead}})
    return context, Rollouts(context)


async def drawn(context, model, tokens, **changed):
    """An extension to ``tokens``, scored, as the engine has it."""
    sequence = await context.proposal.open(())
    sequence.token_ids.extend(tokens)
    ones = (0.0,) * len(tokens)
    boundaries = [end for end in model.boundaries(tokens) if end <= len(tokens)]
    known = tuple(model.log_potential(tokens[:end]) for end in boundaries) if model.log_psi else ()
    path = Trajectory(tokens, ones, ones, ones, None, model.log_potential(tokens), known)
    return Extension(path, sequence, **changed)


def log_zeta(model, tokens, start):
    """The sum of log z over the tokens from ``start`` on, for a target that is not normalised."""
    if model.target == "tempered":
        return 0.0
    return sum(math.log(np.exp(model.alpha * model.logprobs(tokens[:t])).sum()) for t in range(start, len(tokens)))


# ---- what a rollout is worth --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [TEMPERED, POWERED], ids=lambda model: model.name)
async def test_lookahead_is_the_mean_of_what_the_rollouts_future_is_worth_with_the_floor(model):
    context, rollouts = rollouts_of(model, rollouts=3, floor=FLOOR)
    prefixes = [(1, 2), (2, 3)]
    extensions = [await drawn(context, model, tokens) for tokens in prefixes]
    estimated = await rollouts.look_ahead(extensions, [0, 1])
    scale = max(model.log_potential(r.trajectory.token_ids) for each in estimated for r in each.rollouts)
    for tokens, each in zip(prefixes, estimated, strict=True):
        assert len(each.rollouts) == 3
        values = []
        for rollout in each.rollouts:
            whole = rollout.trajectory.token_ids
            assert whole[:2] == tokens == each.trajectory.token_ids
            assert model.complete(whole)
            total = np.logaddexp(model.log_potential(whole), math.log(FLOOR) + scale)
            values.append(log_zeta(model, whole, 2) + total - model.log_potential(tokens))
            assert rollout.log_value == pytest.approx(values[-1])
        assert each.log_value == pytest.approx(np.logaddexp.reduce(values) - math.log(3))
    lengths = [len(r.trajectory) - 2 for each in estimated for r in each.rollouts]
    assert context.usage.rollout + context.usage.drafted == sum(lengths)


async def test_the_same_slot_is_drawn_with_the_same_noise_and_another_with_another():
    found = []
    for slot in (0, 0, 1, 2):
        context, rollouts = rollouts_of(LONG)
        [each] = await rollouts.look_ahead([await drawn(context, LONG, (1,))], [slot])
        found.append(tuple(rollout.trajectory.token_ids for rollout in each.rollouts))
    assert found[0] == found[1]
    assert len(set(found)) > 1


@pytest.mark.parametrize(("agreement", "number"), [(0.0, 5), (100.0, 2)])
async def test_more_rollouts_are_drawn_where_the_first_disagree(agreement, number):
    context, rollouts = rollouts_of(POWERED, rollouts=5, min_rollouts=2, agreement=agreement)
    assert rollouts.always_drawn == 2
    [each] = await rollouts.look_ahead([await drawn(context, POWERED, (1, 2))], [0])
    assert len(each.rollouts) == number
    values = [rollout.log_value for rollout in each.rollouts]
    assert each.log_value == pytest.approx(np.logaddexp.reduce(values) - math.log(number))
    assert all(value != 0.0 for value in values)


@pytest.mark.parametrize(("horizon", "length"), [(None, 5), (2, 3), (3, 4), (9, 5)])
async def test_a_rollout_ends_at_its_horizon_or_with_the_longest_answer(horizon, length):
    context, rollouts = rollouts_of(LONG, horizon=horizon)
    [each] = await rollouts.look_ahead([await drawn(context, LONG, (1,))], [0])
    assert [len(rollout.trajectory) for rollout in each.rollouts] == [length] * 2
    assert [rollout.trajectory.finished for rollout in each.rollouts] == [length == 5] * 2


async def test_what_is_left_of_a_taken_rollout_counts_and_is_drawn_as_far_as_a_fresh_one():
    """Of three that are carried one is shorter than the horizon, one as long, one complete."""
    context, rollouts = rollouts_of(LONG, rollouts=4, horizon=2)
    paths = [(1, 2, 0), (1, 2, 0, 1)]
    carried = [Rollout((e := await drawn(context, LONG, tokens)).trajectory, e.sequence) for tokens in paths]
    ended = replace(carried[0].trajectory, finish_reason="stop")
    carried.append(Rollout(ended, carried[0].sequence))
    extension = await drawn(context, LONG, (1, 2), carried=tuple(carried))
    [each] = await rollouts.look_ahead([extension], [0])
    lengths = [len(rollout.trajectory) for rollout in each.rollouts]
    assert lengths == [4, 4, 3, 4]
    assert each.rollouts[0].trajectory.token_ids[:3] == (1, 2, 0)
    assert each.rollouts[1].trajectory is carried[1].trajectory
    assert each.rollouts[2].trajectory is ended


async def test_without_a_horizon_what_is_carried_stays_as_it_is():
    context, rollouts = rollouts_of(LONG)
    short = (await drawn(context, LONG, (1, 2, 0))).trajectory
    [each] = await rollouts.look_ahead([await drawn(context, LONG, (1, 2), carried=(Rollout(short, HELD),))], [0])
    assert [len(rollout.trajectory) for rollout in each.rollouts] == [3, 5]


async def test_a_rollout_of_potential_one_is_seen_as_such():
    """The largest product of potentials so far is 1, the floor a tenth of that."""
    model = replace(LONG, log_psi=lambda tokens, finished: 0.0 if finished else -2.0, kind="terminal")
    context, rollouts = rollouts_of(model, floor=FLOOR)
    await rollouts.look_ahead([await drawn(context, model, (1,))], [0])
    assert rollouts.floor.log_floor == pytest.approx(math.log(FLOOR))


@pytest.mark.parametrize(("steps", "settled"), [(0, False), (1, True), (2, True)])
def test_the_floor_is_fixed_in_a_block_where_particles_move(steps, settled):
    _, rollouts = rollouts_of(TEMPERED, settings={"rejuvenation": {"steps": steps}})
    rollouts.floor.begin(1)
    assert rollouts.floor.settled is settled


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [({}, True), ({"finish_reason": "eos"}, False), ({"log_potential": -math.inf}, False)],
)
def test_a_future_is_estimated_of_what_has_one(changed, wanted):
    _, rollouts = rollouts_of(LONG)
    assert rollouts.wanted(Trajectory((1,), **{"log_potential": 0.0, **changed})) is wanted


@pytest.mark.parametrize(
    ("lookahead", "reusable"),
    [({}, True), ({"temperature": 0.5}, True), ({"temperature": 0.7}, False), ({"reuse": False}, False)],
)
def test_rollouts_become_blocks_where_they_are_drawn_as_blocks_are(lookahead, reusable):
    assert rollouts_of(TEMPERED, **lookahead)[1].reusable is reusable


# ---- futures: properly weighted answers ---------------------------------------------------------------------------


def ended(*tokens, log_potential=0.0, **changed):
    ones = (0.0,) * len(tokens)
    return Trajectory(tokens, ones, ones, ones, "eos", log_potential, **changed)


def test_a_rollout_stands_for_its_particle_and_a_complete_or_dead_one_for_itself():
    """w / L^ times the rollout's m/q and psi beyond the particle, by J; log m/q of its second token is -2 + 0.25."""
    _, rollouts = rollouts_of(POWERED)
    future = Trajectory((1, 2), (-9.0, -1.0), (-7.0, -0.25), (0.0, 0.0), "eos", 0.9)
    even = replace(future, token_ids=(5, 2), log_potential=0.0)
    particles = (
        LiveParticle(Trajectory((1,), log_potential=0.4), HELD, 1.5, 0.0, 0.7, (Rollout(future, HELD, 5.0),) * 2),
        LiveParticle(ended(3), HELD, -2.0),
        LiveParticle(ended(4), HELD, -math.inf),
        LiveParticle(Trajectory((5,), log_potential=0.0), HELD, 0.0, 0.0, 0.0, (Rollout(even, HELD, 5.0),)),
    )
    found = rollouts.futures(particles)
    weight = 1.5 - 0.7 + (0.9 - 0.4) + (2.0 * -1.0 + 0.25) - math.log(2.0)
    assert [tokens.token_ids for tokens, _ in found] == [(1, 2), (1, 2), (3,), (5, 2)]
    assert [value for _, value in found] == pytest.approx([weight, weight, -2.0, -1.75])


def test_only_rollouts_that_are_drawn_in_any_case_stand_for_a_particle():
    _, rollouts = rollouts_of(TEMPERED, rollouts=4, min_rollouts=2)
    held = tuple(Rollout(ended(1, number), HELD) for number in range(3))
    particles = (LiveParticle(Trajectory((1,)), HELD, rollouts=held),)
    assert [tokens.token_ids for tokens, _ in rollouts.futures(particles)] == [(1, 0), (1, 1)]


def test_there_are_no_answers_where_a_rollout_is_cut_short_or_cannot_be_weighed():
    _, rollouts = rollouts_of(TEMPERED)
    short = Rollout(Trajectory((1, 2)), HELD)
    assert rollouts.futures((LiveParticle(Trajectory((1,)), HELD, rollouts=(short,)),)) == []
    rollouts._context.target.weighs_rollouts = False
    assert rollouts.futures((LiveParticle(ended(1), HELD),)) == []


# ---- a rollout becomes the next block -----------------------------------------------------------------------------


async def taken(state, *, end=2, settings=None, **lookahead):
    context, rollouts = rollouts_of(LONG, settings=settings, **lookahead)
    sequence = await context.proposal.open(())
    sequence.token_ids.extend((1, 1, 1, 1, 1))
    particles = tuple(
        replace(p, rollouts=RUN[p.trajectory.token_ids](sequence) if p.rollouts else ()) for p in state.particles
    )
    return context, particles, await TakeRollouts(context, rollouts)(replace(state, particles=particles), end)


def two_of(sequence):
    return Rollout(ended(1, 2, 0, 1, 2), sequence, 0.0), Rollout(ended(1, 0, 0), sequence, math.log(3.0))


def one_that_ends(sequence):
    return (Rollout(ended(2, 0), sequence, 0.0),)


RUN = {(1,): two_of, (2,): one_that_ends}


def holding(*tokens, **changed):
    return LiveParticle(Trajectory(tokens), HELD, rollouts=(Rollout(ended(0), HELD),), **changed)


async def test_a_block_is_the_head_of_a_rollout_and_what_is_beyond_it_stays_one():
    state = State((holding(1), LiveParticle(Trajectory((3,)), HELD), holding(2)))
    context, particles, [first, second, third] = await taken(state, choice="weighted")
    [source] = [r for r in particles[0].rollouts if r.trajectory.token_ids[:2] == first.trajectory.token_ids]
    assert [rollout.trajectory for rollout in first.carried] == [source.trajectory]
    assert first.carried[0].reused
    # drawn with probability 1/4 or 3/4 of two: log 1 / (J pi)
    assert first.log_correction == pytest.approx(-math.log(2 * math.exp(source.log_value) / 4.0))
    assert len(first.sequence.token_ids) == 2
    assert (second.trajectory, second.carried, second.moved) == (particles[1].trajectory, (), True)
    assert (third.trajectory.token_ids, third.trajectory.finished, third.carried) == ((2, 0), True, ())
    assert context.usage.reused == len(source.trajectory) - 1 + 1


async def test_copies_share_rollouts_evenly_and_each_rollouts_tokens_count_once():
    parent = holding(1)
    context, rollouts = rollouts_of(LONG)
    shared = two_of((await drawn(context, LONG, (1,) * 5)).sequence)
    state = State(tuple(replace(parent, rollouts=shared) for _ in range(4)))
    found = await TakeRollouts(context, rollouts)(state, 2)
    assert sorted(each.trajectory.token_ids for each in found) == [(1, 0), (1, 0), (1, 2), (1, 2)]
    assert all(each.log_correction == 0.0 for each in found)
    assert context.usage.reused == 4 + 2
    again = State(tuple(replace(parent, rollouts=tuple(each.carried)) for each in found[:1]))
    await TakeRollouts(context, rollouts)(again, 2)
    assert context.usage.reused == 4 + 2  # what is carried counts already


async def test_only_rollouts_that_are_drawn_in_any_case_may_become_a_block():
    context, rollouts = rollouts_of(LONG, rollouts=4, min_rollouts=1)
    sequence = (await drawn(context, LONG, (1,) * 5)).sequence
    held = Rollout(ended(1, 2, 0), sequence, -50.0), Rollout(ended(1, 0, 0), sequence, 50.0)
    for _ in range(8):
        [each] = await TakeRollouts(context, rollouts)(State((replace(holding(1), rollouts=held),)), 2)
        assert each.trajectory.token_ids == (1, 2)


async def test_a_dead_or_complete_particle_takes_nothing():
    dead, complete = holding(1, log_weight=-math.inf), replace(holding(1), trajectory=ended(1))
    context, rollouts = rollouts_of(LONG)
    found = await TakeRollouts(context, rollouts)(State((dead, complete)), 2)
    assert [each.trajectory for each in found] == [dead.trajectory, complete.trajectory]
    assert not any(each.moved for each in found)
    assert context.usage.reused == 0


# ---- the step -----------------------------------------------------------------------------------------------------


def never(trajectory):
    return False


async def stepped(extensions, particles=None, hopeless=never, settings=None, model=LONG, budget=None, **changed):
    context, _ = rollouts_of(model, settings=settings)
    context = context if budget is None else replace(context, budget=budget)
    rollouts = Rollouts(context)
    made = tuple([await drawn(context, model, **each) for each in extensions])
    particles = particles or tuple(LiveParticle(Trajectory(), HELD, log_value=0.25) for _ in made)
    context.usage.rollout, context.usage.reused = 100, 10
    before = replace(context.usage, rollout=98, reused=7)
    state = State(particles, extensions=made, before=before, **changed)
    return context, state, await parts.LookAhead(context, rollouts, hopeless)(state)


async def test_what_has_a_future_gets_its_estimate_and_all_values_are_told():
    extensions = [{"tokens": (1,)}, {"tokens": (2,), "dropped": True}, {"tokens": (0,), "moved": False}]
    context, before, (state, told) = await stepped(extensions, block=1)
    first, second, third = state.extensions
    assert len(first.rollouts) == 2
    assert first.log_value != 0.0
    assert (second, third) == before.extensions[1:]
    assert (told.block, told.reused) == (1, 3)
    assert told.tokens == context.usage.rollout - 98
    assert told.log_values == pytest.approx([first.log_value, 0.0, 0.25])


async def test_what_a_search_has_no_hope_for_gets_no_estimate():
    extensions = [{"tokens": (1,)}, {"tokens": (2,)}]
    _, _, (state, _) = await stepped(extensions, hopeless=lambda path: path.token_ids == (1,))
    assert [len(each.rollouts) for each in state.extensions] == [0, 2]


async def test_after_the_last_block_and_without_extensions_there_is_nothing_to_estimate():
    for extensions, last in [([{"tokens": (1,)}], True), ([], False)]:
        _, before, (state, told) = await stepped(extensions, last=last)
        assert state is before
        assert told is None


async def test_where_all_is_lost_there_is_nothing_to_tell():
    dead = (LiveParticle(Trajectory(), HELD, -math.inf),)
    assert (await stepped([{"tokens": (1,), "moved": False}], particles=dead))[2][1] is None
    assert (await stepped([{"tokens": (1,), "dropped": True}]))[2][1] is None
    assert (await stepped([{"tokens": (1,), "moved": True}]))[2][1] is not None
    lost = replace(LONG, log_psi=lambda tokens, finished: -math.inf)
    assert (await stepped([{"tokens": (1,)}], model=lost))[2][1] is None


@pytest.mark.parametrize(("cut", "grace"), [("deadline", True), ("max_total_tokens", False), (None, False)])
async def test_after_a_deadline_the_estimates_have_the_grace_and_at_no_other_time(cut, grace):
    limits = Limits()
    await stepped([{"tokens": (1,)}], budget=limits, cut=cut)
    assert limits.graces == [grace]


async def test_a_budget_that_ends_in_it_makes_the_block_the_last():
    _, before, (state, told) = await stepped([{"tokens": (1,)}], settings={"max_total_tokens": 100})
    assert (state.last, state.cut) == (True, "max_total_tokens")
    assert state.extensions == before.extensions
    assert told.tokens == 2


# ---- why a run with rollouts is not exact -------------------------------------------------------------------------


async def test_rollouts_that_a_budget_shortened_are_no_draws():
    context, rollouts = rollouts_of(LONG, settings={"max_total_tokens": 6})
    assert rollouts.inexact is None
    await rollouts.look_ahead([await drawn(context, LONG, (1,))], [0])
    assert rollouts.shortened
    assert rollouts.inexact == "max_total_tokens shortened rollouts"
    with pytest.raises(BudgetSpent):
        await rollouts.look_ahead([await drawn(context, LONG, (1,))], [0])


async def test_a_later_call_that_is_whole_does_not_undo_one_that_was_not():
    context, rollouts = rollouts_of(LONG, settings={"max_total_tokens": 8})
    await rollouts.look_ahead([await drawn(context, LONG, (1,)), await drawn(context, LONG, (2,))], [0, 1])
    assert rollouts.shortened
    context.usage.rollout = 0
    await rollouts.look_ahead([await drawn(context, LONG, (1, 1, 1, 1))], [0])
    assert rollouts.shortened


def test_a_floor_of_zero_loses_particles():
    assert "E[Z^] < Z" in rollouts_of(LONG, floor=0)[1].inexact
    assert rollouts_of(LONG, floor=0.1)[1].inexact is None


async def test_a_floor_that_follows_a_run_whose_particles_move_biases_it():
    for steps, inexact in [(0, False), (1, True), (2, True)]:
        context, rollouts = rollouts_of(TEMPERED, settings={"rejuvenation": {"steps": steps}})
        assert rollouts.inexact is None
        await rollouts.look_ahead([await drawn(context, TEMPERED, (1, 2))], [0])
        assert (rollouts.inexact is not None) is inexact
    declared, rollouts = rollouts_of(LONG, settings={"rejuvenation": {"steps": 1}})
    await rollouts.look_ahead([await drawn(declared, LONG, (1,))], [0])
    assert rollouts.inexact is None
