import math

import pytest

from smc_decode.potentials import FunctionPotential, PotentialError, Prefix, RewardFailure, RewardPotential
from smc_decode.potentials.base import Reward


class Half:
    """A reward source that likes everything by half."""

    name, prefixes, cacheable, needs_logprobs = "half", True, True, False

    async def rewards(self, batch):
        return [Reward(0.5, {"why": "always"})] * len(batch)


async def test_a_function_is_asked_with_tokens_and_whether_they_are_complete():
    potential = FunctionPotential(lambda tokens, finished: len(tokens) + (10 if finished else 0))
    values = await potential.evaluate([Prefix((1, 2), False), Prefix((1,), True)])
    assert [value.log_value for value in values] == [2.0, 11.0]


async def test_no_function_is_psi_one():
    assert (await FunctionPotential(None).evaluate([Prefix((1,), True)]))[0].log_value == 0.0


async def test_minus_infinity_is_allowed():
    assert (await FunctionPotential(lambda t, f: -math.inf).evaluate([Prefix((), True)]))[0].log_value == -math.inf


def test_an_unknown_kind_is_refused_with_the_names_of_the_known():
    with pytest.raises(PotentialError, match="product, telescoping, terminal"):
        FunctionPotential(None, kind="sum")


async def test_a_reward_enters_as_exp_of_scale_times_reward():
    potential = RewardPotential(Half(), 4.0)
    evaluation = (await potential.evaluate([Prefix((1,), True)]))[0]
    assert (evaluation.log_value, evaluation.reward) == (2.0, 0.5)
    assert (potential.kind, potential.log_scale) == ("telescoping", 4.0)


async def test_a_source_that_answers_for_too_few_prefixes_has_failed():
    class Short(Half):
        async def rewards(self, batch):
            return []

    with pytest.raises(RewardFailure, match="0 rewards for 1"):
        await RewardPotential(Short(), 1.0).evaluate([Prefix((1,), True)])


def test_text_is_decoded_only_when_asked_for():
    asked = []
    prefix = Prefix((1, 2), True, decode=lambda ids: asked.append(ids) or "text")
    assert not asked
    assert prefix.text == prefix.text == "text"
    assert len(asked) == 1
    with pytest.raises(PotentialError, match="no tokenizer"):
        _ = Prefix((1,), True).text
