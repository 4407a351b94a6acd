"""first_pass_size: a population drawn in passes of growing size, and a search that sets aside what cannot succeed."""

import math

import numpy as np
import pytest

from smc_decode import AllParticlesDead, SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential
from smc_decode.potentials.base import Reward, RewardPotential

HELPED = 0.25
"""The reward of an answer with a one and without a three."""


class Threes:
    """1 for a three in the first four tokens, which decides; of others a one is worth HELPED. A source that says what
    prefixes can still come to if ``bounded``."""

    name = "threes"
    prefixes = True
    cacheable = True
    needs_logprobs = False

    def __init__(self, bounded=True):
        self.bounded = bounded

    async def rewards(self, batch):
        return [self._reward(prefix) for prefix in batch]

    def _reward(self, prefix):
        if 3 in prefix.token_ids[:4]:
            return Reward(1.0)
        decided = prefix.finished or len(prefix.token_ids) >= 4
        value = HELPED * (1 in prefix.token_ids) if decided else 0.5
        return Reward(value, at_most=value if decided and self.bounded else 1.0)


def engine(three=0.05):
    rest = (1.0 - three) / 2.0
    return TableEngine(lambda tokens: np.log([1e-9, rest, rest, three]), vocab_size=4, eos_token_id=0)


def config(**settings):
    return SMCConfig.model_validate(
        {
            "n_particles": 16,
            "first_pass_size": 1,
            "block_size": 2,
            "max_tokens": 12,
            "selection": "best",
            "stop_at_reward": 1.0,
        }
        | settings
    )


async def run(seed, *, three=0.05, bounded=True, n_draws=1, **settings):
    potential = RewardPotential(Threes(bounded), 4.0)
    return await sample(engine(three), (), potential, config(**settings), seed=seed, n_draws=n_draws)


@pytest.mark.parametrize(
    ("n", "first", "sizes"),
    [(16, 1, [1, 1, 2, 4, 8]), (6, 1, [1, 1, 2, 2]), (8, 3, [3, 3, 2]), (2, 4, [2]), (5, None, [5])],
)
def test_each_pass_is_as_large_as_all_before_it(n, first, sizes):
    assert SMCConfig(n_particles=n, first_pass_size=first).pass_sizes == sizes


async def test_the_search_ends_with_the_pass_that_succeeds():
    easy = [await run(seed, three=0.8) for seed in range(40)]
    hard = [await run(seed, three=0.05) for seed in range(40)]
    assert all(3 in result.answer.token_ids for result in easy)
    assert np.mean([len(result.particles) for result in easy]) < 2.0
    assert 4.0 < np.mean([len(result.particles) for result in hard]) <= 16.0
    assert all(result.stopped == "reward_reached" for result in easy)


async def test_what_cannot_succeed_any_more_is_not_drawn_to_its_end():
    told = [await run(seed) for seed in range(60)]
    blind = [await run(seed, bounded=False, ess_threshold=0.0) for seed in range(60)]
    assert sum(r.usage.sampled for r in told) < 0.6 * sum(r.usage.sampled for r in blind)
    found = [sum(r.answer.reward == 1.0 for r in results) for results in (told, blind)]
    assert found[0] >= found[1]


async def test_where_nothing_succeeds_the_best_of_all_passes_is_brought_to_its_end():
    results = [await run(seed, three=1e-9) for seed in range(30)]
    for result in results:
        assert result.stopped == "complete"
        assert result.answer.finished
        assert len(result.answer.token_ids) == 12
        assert len(result.particles) == 16
        assert result.answer in result.particles
        assert sum(particle.finished for particle in result.particles) == 1
        assert result.log_z is None
        assert not result.exact
        # 16 particles of four tokens each, and the answer's other eight
        assert result.usage.sampled + result.usage.drafted == 16 * 4 + 8
        assert result.usage.answer == 12
    assert all(result.answer.reward == HELPED for result in results)


async def test_every_answer_that_is_returned_is_whole():
    for seed in range(20):
        result = await run(seed, n_draws=3)
        assert all(draw.finished for draw in result.draws)


async def test_a_budget_that_ends_within_a_later_pass_leaves_the_answer_of_the_earlier():
    first = await run(3, three=1e-9, bounded=False, n_particles=1)
    result = await run(3, three=1e-9, bounded=False, max_total_tokens=20)
    assert result.stopped == "max_total_tokens"
    assert result.answer.token_ids == first.answer.token_ids
    assert result.usage.sampled <= 20


async def test_moves_and_lookahead_work_within_passes():
    result = await run(0, lookahead={"rollouts": 1}, rejuvenation={"steps": 1})
    assert result.answer.finished


async def test_a_dead_pass_is_no_dead_run():
    potential = FunctionPotential(
        lambda tokens, finished: 0.0 if 3 in tokens or not finished else -math.inf, "terminal"
    )
    plain = {"stop_at_reward": None, "selection": "sample", "max_tokens": 4}
    results = [await sample(engine(0.3), (), potential, config(**plain), seed=seed) for seed in range(20)]
    assert all(3 in result.answer.token_ids for result in results)
    assert any(result.particles[0].weight == 0.0 for result in results)
    with pytest.raises(AllParticlesDead):
        await sample(engine(1e-12), (), potential, config(**plain), seed=0)


def test_passes_cannot_be_swept_or_bridged():
    with pytest.raises(ValueError, match="first_pass_size and n_sweeps"):
        config(n_sweeps=2)
    with pytest.raises(ValueError, match="first_pass_size and bridge"):
        config(bridge={"reward": True})
