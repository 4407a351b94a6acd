"""stop_at_reward: a search ends at the first complete answer that is good enough, and says that it is a search."""

import math

import numpy as np
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import LiveSequence
from smc_decode.potentials.base import Reward, RewardPotential
from smc_decode.sampler.state import LiveParticle, State
from smc_decode.sampler.stops.reward import RewardReached, SetAside
from smc_decode.sampler.trajectory import Trajectory


class Threes:
    """1 for a complete sequence with a three in it, 0 for others; prefixes have no reward."""

    name = "threes"
    prefixes = False
    cacheable = True
    needs_logprobs = False

    async def rewards(self, batch):
        return [Reward(float(3 in prefix.token_ids)) for prefix in batch]


def engine(ends=0.3):
    rest = (1.0 - ends) / 3.0
    return TableEngine(lambda tokens: np.log([ends, rest, rest, rest]), vocab_size=4, eos_token_id=0)


def config(**settings):
    return SMCConfig(n_particles=2, block_size=2, max_tokens=12, selection="best", **settings)


async def run(seed, **settings):
    return await sample(engine(), (), RewardPotential(Threes(), 4.0), config(**settings), seed=seed)


async def test_the_run_ends_at_the_first_complete_answer_with_that_reward():
    results = [await run(seed, stop_at_reward=1.0) for seed in range(60)]
    stopped = [result for result in results if result.stopped == "reward_reached"]
    assert stopped
    for result in stopped:
        assert result.answer.finished
        assert 3 in result.answer.token_ids
        assert all(particle.finished for particle in result.particles if particle.weight > 0)
        assert not result.exact
        assert result.log_z is None
    assert any(not particle.finished for result in stopped for particle in result.particles)


async def test_sweeps_go_on_until_it_is_reached():
    with_it = [await run(seed, stop_at_reward=1.0, n_sweeps=20) for seed in range(60)]
    assert all(3 in result.answer.token_ids for result in with_it)
    whole = [await run(seed, n_sweeps=20) for seed in range(60)]
    assert sum(r.usage.sampled for r in with_it) < 0.5 * sum(r.usage.sampled for r in whole)


async def test_a_reward_that_nothing_reaches_changes_nothing_but_the_claim():
    aimed, plain = await run(5, stop_at_reward=2.0), await run(5)
    assert [p.token_ids for p in aimed.particles] == [p.token_ids for p in plain.particles]
    assert aimed.log_z == pytest.approx(plain.log_z)
    assert aimed.stopped == "complete"
    assert plain.exact
    assert not aimed.exact


# ---- the rules by themselves --------------------------------------------------------------------------------------


def at(reward, *, weight=1.0, finished=True, at_most=math.inf):
    path = Trajectory((1,), finish_reason="eos" if finished else None, reward=reward, at_most=at_most)
    return LiveParticle(path, LiveSequence([]), math.log(weight) if weight else -math.inf)


@pytest.mark.parametrize(
    ("particle", "reached"),
    [
        (at(1.0), True),
        (at(1.5), True),
        (at(0.5), False),
        (at(None), False),
        (at(1.0, weight=0.0), False),
        (at(1.0, finished=False), False),
    ],
)
async def test_a_complete_and_living_answer_of_at_least_the_reward_ends_the_pass(particle, reached):
    state = State((particle, at(0.0, finished=False), at(0.25)))
    after, told = await RewardReached(1.0).after(state, 0)
    assert told is None
    assert after.stopped == ("reward_reached" if reached else None)
    if reached:
        assert [each.alive for each in after.particles] == [True, False, True]
    else:
        assert after is state


async def test_a_budget_that_ended_the_block_has_the_say():
    state = State((at(1.0),), cut="deadline")
    assert (await RewardReached(1.0).after(state, 0))[0] is state


async def test_what_cannot_reach_the_reward_is_set_aside_and_the_pass_goes_on_without_it():
    before, bounded = at(0.0), at(0.0, finished=False, at_most=0.5)
    state = State((at(1.0), bounded, at(0.0, weight=0.0)), set_aside=(before,)).recorded()
    after, _ = await SetAside(1.0).after(state, 0)
    assert [each.alive for each in after.particles] == [True, False, False]
    assert after.set_aside == (before, bounded)
    assert after.stopped is None
    assert [record.ess for record in after.history] == pytest.approx([1.0])


async def test_with_nothing_left_the_pass_is_over_and_with_nothing_set_aside_it_is_as_it_was():
    lost = State((at(0.0), at(0.5))).recorded()
    assert (await SetAside(1.0).after(lost, 0))[0].stopped == "complete"
    hopeful = State((at(1.0), at(0.0, finished=False))).recorded()
    assert (await SetAside(1.0).after(hopeful, 0))[0] is hopeful
