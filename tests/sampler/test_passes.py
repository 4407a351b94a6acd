"""The schedule of passes by itself: what each leaves to the next, and what the run is told of them."""

import math
from collections import Counter
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from smc_decode import AllParticlesDead, events, run, sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import LiveSequence
from smc_decode.laws.weights import log_mean_exp
from smc_decode.potentials import FunctionPotential
from smc_decode.potentials.base import RewardPotential
from smc_decode.sampler import passes as schedule
from smc_decode.sampler.passes import Harvest
from smc_decode.sampler.state import LiveParticle, State
from smc_decode.sampler.trajectory import Trajectory
from tests.enumeration import MODELS
from tests.harness import config_of, engine_of, potential_of
from tests.sampler.test_growing_passes import Threes
from tests.sampler.test_growing_passes import config as search

MODEL = MODELS["tempered-eos-product"]


# ---- what the passes have brought ---------------------------------------------------------------------------------


def test_moves_are_counted_over_all_passes():
    harvest = Harvest(State(()), proposed=3, accepted=1)
    told = events.Rejuvenated(0, 0, np.array([True, True, False]), np.array([True, False, False]))
    assert (harvest.moved(told).proposed, harvest.moved(told).accepted) == (5, 2)
    assert harvest.moved(None) is harvest
    assert harvest.moved(events.Committed(0, ())) is harvest


@pytest.mark.parametrize(
    ("stopped", "cut_short"),
    [
        ("complete", False),
        ("early_stop", False),
        ("reward_reached", False),
        ("max_total_tokens", True),
        ("deadline", True),
    ],
)
def test_only_a_budget_cuts_a_run_short(stopped, cut_short):
    assert Harvest(State(()), stopped=stopped).cut_short is cut_short


def test_all_passes_together_are_what_was_drawn():
    one, two, three = (LiveParticle(Trajectory((i,)), LiveSequence([])) for i in range(3))
    assert Harvest(State(()), passes=((one,), (two, three))).drawn == (one, two, three)


def test_answers_are_as_long_as_the_median_of_those_that_are_complete():
    def particle(length, finished=True, log_weight=0.0):
        path = Trajectory((1,) * length, finish_reason="eos" if finished else None)
        return LiveParticle(path, LiveSequence([]), log_weight)

    lost, short = particle(9, log_weight=-math.inf), particle(1, finished=False)
    one, two = (particle(5), particle(3), lost), (particle(8), short, particle(7), particle(4))
    assert Harvest(State(()), passes=(one, two)).answer_length == 5
    assert Harvest(State(()), passes=((particle(2), particle(6)),)).answer_length == 6
    assert Harvest(State(()), passes=((lost, short),)).answer_length is None


# ---- which passes there are ---------------------------------------------------------------------------------------


async def told_of(config, *, engine=None, potential=None, seed=0):
    stream = run(engine or engine_of(MODEL), (), potential or potential_of(MODEL), config, seed=seed)
    return [event async for event in stream]


def sizes(told):
    """How many particles each pass had."""
    return [len(event.token_ids) for event in told if isinstance(event, events.BlockExtended) and event.block == 0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, [8]), ({"n_sweeps": 3}, [8, 8, 8]), ({"first_pass_size": 3}, [3, 3, 2])],
)
async def test_there_are_as_many_passes_as_the_configuration_says(settings, expected):
    told = await told_of(config_of(MODEL, **settings))
    assert sizes(told) == expected
    assert isinstance(told[-1], events.Finished)


class Remembering(TableEngine):
    """Fails where it is asked to go on with a sequence that was closed."""

    def __init__(self, *model):
        super().__init__(*model)
        self.closed = set()
        self.kept = []

    def _check(self, sequence):
        self.kept.append(sequence)  # so that no other takes its identity
        assert id(sequence) not in self.closed

    async def open(self, prompt_token_ids):
        self.kept.append(await super().open(prompt_token_ids))
        return self.kept[-1]

    async def fork(self, sequence):
        self._check(sequence)
        copy = await super().fork(sequence)
        self.kept.append(copy)
        return copy

    async def rewind(self, sequence, length):
        self._check(sequence)
        await super().rewind(sequence, length)

    async def close(self, sequence):
        self.kept.append(sequence)
        self.closed.add(id(sequence))

    async def extend(self, requests):
        for request in requests:
            self._check(request.sequence)
        async for answer in super().extend(requests):
            yield answer


WAYS = {
    "sweeps": {"n_sweeps": 3},
    "sweeps with rollouts": {"n_sweeps": 3, "lookahead": {"rollouts": 2}},
    "passes": {"first_pass_size": 1},
    "passes with rollouts": {"first_pass_size": 2, "lookahead": {"rollouts": 2}, "rejuvenation": {"steps": 1}},
}


@pytest.mark.parametrize("way", WAYS)
async def test_no_pass_needs_a_sequence_that_an_earlier_one_gave_up(way):
    for seed in range(5):
        engine = Remembering(MODEL.logprobs, MODEL.vocab_size, MODEL.eos)
        told = await told_of(config_of(MODEL, draft_draws=False, **WAYS[way]), engine=engine, seed=seed)
        assert isinstance(told[-1], events.Finished)
        assert engine.closed


@pytest.mark.parametrize(("settings", "held"), [({}, False), ({"n_sweeps": 2}, True), ({"first_pass_size": 4}, True)])
async def test_the_prompts_sequence_is_let_go_where_no_other_pass_needs_it(settings, held):
    engine = Remembering(MODEL.logprobs, MODEL.vocab_size, MODEL.eos)
    stream = run(engine, (), potential_of(MODEL), config_of(MODEL, **settings), seed=0)
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, events.Progress):
                break
        assert (id(engine.kept[0]) not in engine.closed) is held


@pytest.mark.parametrize("further", [{"first_pass_size": 4}, {"first_pass_size": None, "n_sweeps": 3}])
async def test_no_pass_follows_one_that_reached_the_reward(further):
    threes = TableEngine(lambda tokens: np.log([0.3, 0.05, 0.05, 0.6]), 4, 0)
    told = await told_of(search(n_particles=8, **further), engine=threes, potential=RewardPotential(Threes(), 4.0))
    assert told[-1].result.stopped == "reward_reached"
    assert len(sizes(told)) == 1


async def test_what_was_set_aside_unfinished_can_still_be_brought_to_its_end():
    rest = 0.5 - 1e-9
    engine = Remembering(lambda tokens: np.log([1e-9, rest, rest, 1e-9]), 4, 0)
    for seed in range(5):
        result = await sample(engine, (), RewardPotential(Threes(), 4.0), search(draft_draws=False), seed=seed)
        assert result.answer.finished
        assert sum(particle.finished for particle in result.particles) == 1


# ---- what a pass that ends early leaves ---------------------------------------------------------------------------


def early(tokens, finished):
    """Zero for what begins with a one, at once."""
    return -math.inf if tokens[:1] == (1,) else 0.0


def engine(one=0.5):
    """No sequence ends before its fourth token."""
    rest = (1.0 - one) / 2.0
    return TableEngine(lambda tokens: np.log([one, rest, rest]) if tokens else np.log([rest, one, rest]), 3, None)


SHORT = {"block_size": 2, "max_tokens": 4, "alpha": 1.0}


def plain(**settings):
    return config_of(MODEL, **{"n_particles": 4, **SHORT, **settings})


async def test_equal_sequences_are_one_particle_where_they_were_pooled_and_as_many_as_were_drawn_elsewhere():
    short = replace(MODEL, max_tokens=1)
    drawn = await sample(engine_of(short), (), potential_of(short), config_of(short), seed=0)
    assert len(drawn.particles) == 8
    pooled = await sample(engine_of(MODEL), (), None, config_of(MODEL, lookahead={"rollouts": 4}), seed=0)
    assert len(pooled.particles) == len({particle.token_ids for particle in pooled.particles})


@pytest.mark.parametrize(("first_pass_size", "seeds"), [(None, 8), (1, 8)])
async def test_a_run_dies_only_where_no_pass_has_anything_left(first_pass_size, seeds):
    with pytest.raises(AllParticlesDead) as lost:
        await sample(
            engine(1.0 - 1e-12), (), FunctionPotential(early, "product"), plain(first_pass_size=first_pass_size)
        )
    assert lost.value.block == 0
    found = Counter()
    for seed in range(seeds):
        config = plain(first_pass_size=first_pass_size, n_particles=8)
        result = await sample(engine(0.7), (), FunctionPotential(early, "product"), config, seed=seed)
        assert result.answer.token_ids[0] != 1
        assert len(result.particles) == 8
        assert result.log_z == pytest.approx(log_mean_exp([p.log_weight for p in result.particles]))
        found[result.stopped] += 1
    assert found == {"complete": seeds}


async def test_a_large_population_dies_as_a_small_one():
    nothing = FunctionPotential(lambda tokens, finished: -math.inf, "product")
    with pytest.raises(AllParticlesDead, match="300"):
        await sample(engine(), (), nothing, plain(n_particles=300))


def test_before_the_first_pass_nothing_is_known_of_z():
    assert schedule.Harvest(State(())).log_z == -math.inf


async def test_a_budget_that_ends_in_the_first_pass_leaves_what_that_has():
    result = await sample(engine(), (), None, plain(first_pass_size=4, max_total_tokens=9), seed=0)
    assert result.stopped == "max_total_tokens"
    assert len(result.particles) == 4
    assert all(len(particle.token_ids) == 2 for particle in result.particles)


async def test_a_budget_that_ends_in_a_later_pass_leaves_the_pass_before_it():
    """One particle of four tokens, then another, then two, for whose second block nothing is left."""
    config = plain(first_pass_size=1, max_total_tokens=4 + 4 + 5, draft_draws=False)
    told = await told_of(config, engine=engine(), potential=FunctionPotential(lambda t, f: 0.0, "product"))
    assert sizes(told) == [1, 1, 2]
    result = told[-1].result
    assert result.stopped == "max_total_tokens"
    assert len(result.particles) == 2
    assert all(particle.finished for particle in result.particles)


async def test_no_sweep_follows_a_budget_that_has_ended():
    config = plain(n_sweeps=4, max_total_tokens=16 + 9, draft_draws=False)
    told = await told_of(config, engine=engine(), potential=FunctionPotential(lambda t, f: 0.0, "product"))
    assert sizes(told) == [4, 4]
    result = told[-1].result
    assert result.stopped == "max_total_tokens"
    # the first pass's particles: the second was not complete
    first = [event.token_ids for event in told if isinstance(event, events.BlockExtended)][1]
    assert [particle.token_ids for particle in result.particles] == list(first)
    assert result.acceptance_rate is None


async def test_what_conditional_passes_drew_is_kept_but_for_their_references():
    """Voted on is what the first pass drew and what the sweeps after it did, each sequence that was drawn once."""
    config = config_of(MODEL, n_sweeps=3, selection="vote", n_particles=4)
    told = await told_of(config)
    extended = [event for event in told if isinstance(event, events.BlockExtended)]
    starts = [number for number, event in enumerate(extended) if event.block == 0] + [len(extended)]
    last = [extended[end - 1].token_ids for end in starts[1:]]
    drawn = [*last[0], *last[1][1:], *last[2][1:]]
    assert [particle.token_ids for particle in told[-1].result.particles] == drawn


async def test_the_reference_of_a_conditional_pass_is_drawn_by_weight():
    """Its place among eight particles is on average what the weights say: over 600 runs, by 4 standard errors."""
    model = replace(MODEL, max_tokens=4, block_size=4)
    config = config_of(model, n_particles=8, n_sweeps=2)
    surplus = []
    for seed in range(600):
        told = await told_of(config, seed=seed)
        weights = np.exp(next(event.log_weights for event in told if isinstance(event, events.Weighted)))
        first, second = [list(event.token_ids) for event in told if isinstance(event, events.BlockExtended)]
        expected = sum(weight * first.index(tokens) for weight, tokens in zip(weights, first, strict=True))
        surplus.append(first.index(second[0]) - expected / weights.sum())
    assert abs(np.mean(surplus)) < 4 * np.std(surplus) / math.sqrt(len(surplus))


@pytest.mark.parametrize("steps", [1, 2])
async def test_the_share_of_accepted_moves_is_of_all_passes(steps):
    told = await told_of(config_of(MODEL, first_pass_size=2, rejuvenation={"steps": steps}))
    moves = [event for event in told if isinstance(event, events.Rejuvenated)]
    share = sum(event.accepted.sum() for event in moves) / sum(event.proposed.sum() for event in moves)
    assert told[-1].result.acceptance_rate == pytest.approx(share)
    assert 0.0 < share < 1.0
