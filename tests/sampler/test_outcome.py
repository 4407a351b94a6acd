"""What a run gives back, by itself: weights and the estimate of Z, who is chosen from, and what is not exact."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest

from smc_decode.answers.extractors import EXTRACTORS
from smc_decode.answers.selection import SELECTIONS
from smc_decode.engines import TableEngine
from smc_decode.laws.weights import log_mean_exp
from smc_decode.potentials import FunctionPotential
from smc_decode.potentials.base import Reward, RewardPotential
from smc_decode.sampler.assemble import Parts
from smc_decode.sampler.outcome import outcome
from smc_decode.sampler.passes import Harvest
from smc_decode.sampler.state import BlockRecord, LiveParticle, Rollout, State
from smc_decode.sampler.trajectory import Trajectory
from tests.enumeration import MODELS
from tests.harness import context_of
from tests.sampler.test_stop_strings import Letters
from tests.sampler.test_weigh import Limits

MODEL = MODELS["tempered-eos-product"]


def path(*tokens, reason="eos", **changed):
    ones = (0.0,) * len(tokens)
    return Trajectory(tokens, ones, ones, ones, reason, 0.0, **changed)


class Ended:
    """A run's parts and a population whose sequences its engine has."""

    def __init__(self, *, model=MODEL, potential=None, engine=None, budget=None, **settings):
        self.context = context_of(model, potential, engine, **settings)
        if budget is not None:
            self.context = replace(self.context, budget=budget)
        self.parts = Parts.of(self.context)

    async def particle(self, trajectory, weight=1.0, **changed):
        sequence = await self.context.proposal.open(())
        sequence.token_ids.extend(trajectory.token_ids)
        return LiveParticle(trajectory, sequence, math.log(weight) if weight else -math.inf, **changed)

    async def population(self, *pairs):
        return tuple([await self.particle(*pair) for pair in pairs])

    async def result(self, population, *, n_draws=1, **harvest):
        values = {"population": population, "passes": (population,), "size": len(population), "log_z": 0.75, **harvest}
        return await outcome(self.parts, Harvest(**{"state": State(population), **values}), n_draws)


BOTH = (path(1, 2, reward=0.25, detail={"why": "so"}), 1.0), (path(3, reason="length", reward=0.5), 3.0)


# ---- the population and its weights -------------------------------------------------------------------------------


async def test_a_result_has_the_particles_with_their_weights_and_what_was_said_of_them():
    ended = Ended(selection="best")
    result = await ended.result(await ended.population(*BOTH), n_draws=2)
    first, second = result.particles
    assert (first.token_ids, first.reward, first.finish_reason, first.finished) == ((1, 2), 0.25, "eos", True)
    assert (first.logprobs, first.detail, first.text) == ((0.0, 0.0), {"why": "so"}, None)
    assert (second.token_ids, second.reward, second.finish_reason) == ((3,), 0.5, "length")
    assert [particle.weight for particle in result.particles] == pytest.approx([0.25, 0.75])
    assert [particle.log_weight for particle in result.particles] == pytest.approx([0.0, math.log(3.0)])
    assert list(result.draws) == [second, first]
    assert result.answer is result.draws[0]
    assert result.usage.answer == 3
    assert (result.log_z, result.stopped, result.exact, list(result.warnings)) == (0.75, "complete", True, [])
    assert result.acceptance_rate is None


async def test_the_mean_weight_of_a_recycled_population_is_z_whatever_its_size():
    """Three answers that eight particles brought."""
    ended = Ended(lookahead={"rollouts": 2})
    population = await ended.population(*BOTH, (path(2), 4.0))
    result = await ended.result(population, size=8)
    assert log_mean_exp([p.log_weight for p in result.particles]) == pytest.approx(math.log((1.0 + 3.0 + 4.0) / 8))
    kept = Ended(lookahead={"rollouts": 2, "recycle": False})
    result = await kept.result(await kept.population(*BOTH), size=8)
    assert [particle.log_weight for particle in result.particles] == pytest.approx([0.0, math.log(3.0)])


async def test_the_blocks_of_the_last_pass_are_told():
    ended = Ended()
    records = (BlockRecord(1.5, np.array([0, 0]), True), BlockRecord(2.0, np.array([0, 1])))
    population = await ended.population(*BOTH)
    result = await ended.result(population, state=State(population, history=records), proposed=8, accepted=2)
    assert (result.blocks, result.ess, result.resampled) == (2, [1.5, 2.0], [True, False])
    assert [each.tolist() for each in result.ancestors] == [[0, 0], [0, 1]]
    assert result.acceptance_rate == 0.25


async def test_answers_have_a_text_where_there_is_a_tokenizer():
    engine = TableEngine(MODEL.logprobs, 4, 0, tokenizer=Letters())
    ended = Ended(engine=engine, selection="best")
    result = await ended.result(await ended.population(*BOTH), n_draws=2)
    assert [draw.text for draw in result.draws] == ["ab", "ab"]
    assert result.answer.text == "ab"
    assert [particle.text for particle in result.particles] == [None, None]


async def test_a_vote_and_a_draw_choose_by_their_rules():
    for selection, answer in [("vote", (3,)), ("best", (1, 2))]:
        ended = Ended(selection=selection)
        better = path(1, 2, reward=0.9), 1.0
        assert (await ended.result(await ended.population(better, BOTH[1]))).answer.token_ids == answer


async def test_a_vote_is_held_beside_the_event_loop_and_other_rules_are_followed_in_it():
    """Extractors may take their time over hostile text."""
    threads = []

    def note(found):
        threads.append(threading.get_ident())
        return found

    here, population = threading.get_ident(), BOTH
    engine = TableEngine(MODEL.logprobs, 4, 0, tokenizer=Letters())
    EXTRACTORS.register("noted")(note)
    for name in ("a rule", "zebra"):
        SELECTIONS.register(name)(lambda electorate, n: note([0]))
    try:
        for name in ("a rule", "zebra"):
            ended = Ended(selection=name)
            await ended.result(await ended.population(*population))
        assert threads == [here, here]
        ended = Ended(selection="vote", extractor="noted", engine=engine)
        await ended.result(await ended.population(*population))
        assert len(threads) == 4
        assert here not in threads[2:]
    finally:
        EXTRACTORS.remove("noted")
        for name in ("a rule", "zebra"):
            SELECTIONS.remove(name)


@pytest.mark.parametrize(
    ("settings", "whole"),
    [
        ({"n_sweeps": 2, "selection": "sample"}, False),
        ({"n_sweeps": 2, "selection": "vote"}, True),
        ({"n_sweeps": 2, "selection": "best"}, True),
        ({"first_pass_size": 1, "selection": "sample"}, True),
    ],
)
async def test_a_search_looks_at_all_passes_and_a_draw_at_the_last_of_conditional_ones(settings, whole):
    ended = Ended(**settings)
    first, second = await ended.population(*BOTH), await ended.population((path(2), 1.0))
    result = await ended.result(second, passes=(first, second))
    assert [particle.token_ids for particle in result.particles] == ([(1, 2), (3,), (2,)] if whole else [(2,)])


async def test_of_one_pass_the_population_is_what_it_left():
    ended = Ended(first_pass_size=1)
    first, left = await ended.population(*BOTH), await ended.population((path(2), 1.0))
    assert [particle.token_ids for particle in (await ended.result(left, passes=(first,))).particles] == [(2,)]


@pytest.mark.parametrize(("stopped", "taken"), [("deadline", True), ("max_total_tokens", True), ("complete", False)])
async def test_where_a_budget_ended_the_run_rollouts_stand_for_particles_that_have_not(stopped, taken):
    """Rollouts of potential 1 and 3 of one particle whose L^ is 2: a quarter and three quarters of its weight."""
    ended = Ended(lookahead={"rollouts": 2, "recycle": False})
    rollouts = [
        Rollout(replace(path(1, 2, number), log_potential=math.log(psi)), (await ended.particle(path())).sequence)
        for number, psi in [(0, 1.0), (3, 3.0)]
    ]
    unfinished = await ended.particle(path(1, 2, reason=None), log_value=math.log(2.0), rollouts=tuple(rollouts))
    result = await ended.result((unfinished,), stopped=stopped)
    assert [particle.token_ids for particle in result.particles] == ([(1, 2, 0), (1, 2, 3)] if taken else [(1, 2)])
    assert [p.weight for p in result.particles] == pytest.approx([0.25, 0.75] if taken else [1.0])
    assert log_mean_exp([p.log_weight for p in result.particles]) == pytest.approx(0.0)


async def test_where_no_unfinished_particle_has_rollouts_nothing_stands_for_it():
    ended = Ended(lookahead={"rollouts": 2, "recycle": False})
    unfinished, complete = await ended.population((path(1, 2, reason=None), 1.0), BOTH[1])
    complete = replace(complete, rollouts=(Rollout(path(3, 0), complete.sequence),))
    result = await ended.result((unfinished, complete), stopped="deadline")
    assert [particle.token_ids for particle in result.particles] == [(1, 2), (3,)]


async def test_a_budget_that_ended_a_run_without_lookahead_leaves_what_there_is():
    ended = Ended()
    result = await ended.result(await ended.population((path(1, 2, reason=None), 1.0)), stopped="deadline")
    assert [particle.token_ids for particle in result.particles] == [(1, 2)]
    assert list(result.warnings) == ["deadline ran out: this is the best current estimate"]
    assert result.inexact == ("deadline ended the run: what is there is the best current estimate",)


# ---- answers that were set aside are brought to their end ---------------------------------------------------------

SEARCH = {"stop_at_reward": 1.0, "first_pass_size": 1}


async def set_aside(ended, *, stopped="complete", n_draws=1):
    pairs = (path(1, 2, reason=None, reward=0.9), 3.0), (path(3, 3, reason=None, reward=0.1), 1.0)
    return await ended.result(await ended.population(*pairs), stopped=stopped, n_draws=n_draws)


@pytest.mark.parametrize("n_draws", [1, 2])
async def test_what_is_chosen_is_drawn_to_its_end_and_scored_and_the_others_stay(n_draws):
    potential = FunctionPotential(lambda tokens, finished: 0.125, "telescoping")
    ended = Ended(potential=potential, **SEARCH, selection="best")
    result = await set_aside(ended, n_draws=n_draws)
    assert [particle.finished for particle in result.particles] == [True, n_draws == 2]
    assert [particle.token_ids[:2] for particle in result.particles] == [(1, 2), (3, 3)]
    assert [particle.weight for particle in result.particles] == pytest.approx([0.75, 0.25])
    assert all(draw is particle for draw, particle in zip(result.draws, result.particles, strict=False))
    assert all(MODEL.complete(draw.token_ids) for draw in result.draws)
    assert result.usage.answer == sum(len(draw.token_ids) for draw in result.draws)
    assert result.usage.sampled == sum(len(draw.token_ids) - 2 for draw in result.draws)
    assert result.answer.reward == pytest.approx(0.125)
    assert result.stopped == "complete"


async def test_nothing_is_drawn_to_its_end_where_nothing_is_set_aside_or_a_budget_has_ended():
    for settings, stopped in [({}, "complete"), ({"first_pass_size": 1}, "complete"), (SEARCH, "deadline")]:
        result = await set_aside(Ended(selection="best", **settings), stopped=stopped)
        assert not result.answer.finished
        assert result.usage.sampled == 0


@pytest.mark.parametrize(("tokens", "drawn"), [(3, 3), (1, 1)])
async def test_a_budget_that_ends_in_it_says_so_and_leaves_what_was_drawn(tokens, drawn):
    long = MODELS["powered-no-eos-psi-1"]
    ended = Ended(model=long, **SEARCH, max_total_tokens=tokens, selection="best", max_tokens=9)
    result = await set_aside(ended)
    assert len(result.answer.token_ids) == 2 + drawn
    assert result.stopped == "max_total_tokens"


async def test_where_nothing_is_left_to_draw_with_the_answers_stay_as_they_are():
    ended = Ended(**SEARCH, max_total_tokens=4, selection="best")
    ended.context.usage.sampled = 4
    result = await set_aside(ended)
    assert result.answer.token_ids == (1, 2)
    assert result.stopped == "max_total_tokens"
    assert list(result.warnings) == ["max_total_tokens ran out: this is the best current estimate"]


async def test_rewards_of_what_was_drawn_to_its_end_have_the_grace_of_a_deadline():
    limits = Limits()
    await set_aside(Ended(**SEARCH, selection="best", budget=limits))
    assert limits.graces == [False, True]


async def test_an_answer_that_is_complete_is_not_drawn_further():
    ended = Ended(**SEARCH, selection="best")
    result = await ended.result(await ended.population(*BOTH))
    assert result.usage.sampled == 0
    assert result.answer.token_ids == (3,)


# ---- what is exact ------------------------------------------------------------------------------------------------


class Never:
    """No answer has a reward, and none can come to one."""

    name = "never"
    prefixes = True
    cacheable = True
    needs_logprobs = False

    async def rewards(self, batch):
        return [Reward(0.0, at_most=0.0) for _ in batch]


@pytest.mark.parametrize(
    ("settings", "harvest", "estimates"),
    [
        ({}, {}, True),
        ({"rejuvenation": {"steps": 1}}, {}, True),
        ({"rejuvenation": {"steps": 1, "mode": "corrected"}}, {}, True),
        ({"rejuvenation": {"steps": 0, "mode": "paper"}}, {}, True),
        ({"rejuvenation": {"steps": 1, "mode": "paper"}}, {}, False),
        ({"rejuvenation": {"steps": 2, "mode": "paper"}}, {}, False),
        ({}, {"stopped": "deadline"}, False),
        ({}, {"stopped": "early_stop"}, True),
        ({}, {"stopped": "reward_reached"}, False),
        ({"proposal_temperature": 0.0, "n_particles": 1}, {}, False),
        (SEARCH, {}, False),
        ({"stop_at_reward": 1.0}, {}, True),
    ],
)
async def test_there_is_an_estimate_of_z_where_the_weights_have_one(settings, harvest, estimates):
    ended = Ended(potential=RewardPotential(Never(), 1.0), **settings)
    unreachable = path(1, 2, reward=0.0, at_most=0.0), path(3, reward=0.0, at_most=0.0)
    population = await ended.population((unreachable[0], 1.0), (unreachable[1], 0.0))
    assert (await ended.result(population, **harvest)).log_z == (0.75 if estimates else None)


REASONS = [
    ({}, {}, []),
    ({"n_sweeps": 2}, {}, []),
    ({"lookahead": {"rollouts": 2}}, {}, []),
    ({"n_sweeps": 2, "selection": "vote"}, {}, ["looks at the particles of all sweeps"]),
    ({"n_sweeps": 2, "selection": "best"}, {}, ["looks at the particles of all sweeps"]),
    ({"selection": "vote"}, {}, []),
    ({"lookahead": {"rollouts": 2, "floor": 0}}, {}, ["lookahead.floor is 0"]),
    ({"bridge": {"reward": True}}, {}, ["bridge raises the target"]),
    ({"rejuvenation": {"steps": 3, "mode": "paper"}}, {}, ["rejuvenation.mode 'paper'"]),
    ({"lookahead": {"rollouts": 2, "early_stop": 0.5}}, {}, ["lookahead.early_stop ends runs"]),
    ({"stop_at_reward": 1.0}, {}, ["stop_at_reward ends the run"]),
    ({}, {"stopped": "max_total_tokens"}, ["max_total_tokens ended the run"]),
    ({"proposal_temperature": 0.0, "n_particles": 1}, {}, ["greedy decoding, not a draw"]),
]


@pytest.mark.parametrize(("settings", "harvest", "reasons"), REASONS)
async def test_each_part_that_biases_z_says_so_once(settings, harvest, reasons):
    ended = Ended(**settings)
    result = await ended.result(await ended.population((path(1, 2), 1.0)), **harvest)
    assert len(result.inexact) == len(reasons)
    assert all(reason in said for reason, said in zip(reasons, result.inexact, strict=True))
