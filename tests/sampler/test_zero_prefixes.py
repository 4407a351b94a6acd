"""A telescoping potential that is 0 at the end of a block: nothing that begins so has any weight, whatever follows."""

import math

import pytest

from smc_decode import sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential
from tests.enumeration import Model, mod_logits
from tests.harness import config_of

MODEL = Model("any", mod_logits(3, eos=False), 3, 4, 2, eos=None, kind="telescoping", alpha=1.0)


def zero_for_now(tokens, finished):
    """R = 0 after two tokens that begin with 2, and 1 again after four."""
    return -math.inf if len(tokens) == 2 and tokens[0] == 2 else 0.0


WAYS = [
    {},
    {"rejuvenation": {"steps": 4}},
    {"lookahead": {"rollouts": 2}},
    {"lookahead": {"rollouts": 2}, "rejuvenation": {"steps": 2}},
]


@pytest.mark.parametrize("settings", WAYS, ids=str)
async def test_no_move_and_no_rollout_brings_back_what_was_zero(settings):
    engine = TableEngine(MODEL.logprobs, 3, None)
    potential = FunctionPotential(zero_for_now, kind="telescoping", log_scale=0.0)
    for seed in range(20):
        result = await sample(engine, (), potential, config_of(MODEL, n_particles=8, **settings), seed=seed)
        assert not [p for p in result.particles if p.token_ids[0] == 2 and p.weight > 0]


async def test_a_potential_that_is_never_zero_is_asked_at_the_end_only():
    """Rollouts of two blocks: one question each where zeros cannot be, one a block where they can."""

    async def asked(positive):
        potential = FunctionPotential(lambda tokens, finished: 0.0, kind="telescoping", log_scale=0.0)
        potential.positive = positive
        engine = TableEngine(MODEL.logprobs, 3, None)
        config = config_of(MODEL, n_particles=4, block_size=1, lookahead={"rollouts": 2})
        return (await sample(engine, (), potential, config, seed=0)).usage.reward_calls

    assert await asked(True) < await asked(False)
