"""Confidence and agreement: what the population and the model say of an answer."""

from __future__ import annotations

import math

import pytest

from smc_decode.potentials import PotentialError
from smc_decode.potentials.mixtures.self_consistency import SelfConsistency, SelfConsistencyOptions
from smc_decode.potentials.models.confidence import Confidence, ConfidenceOptions, mean_logprob
from tests.potentials.answers import answer


async def confidence(logprobs, **options):
    source = Confidence(ConfidenceOptions(**options))
    return (await source.rewards([answer("x", logprobs=logprobs)]))[0].value


async def test_confidence_is_the_geometric_mean_of_the_probabilities():
    assert await confidence([math.log(0.5), math.log(0.125)]) == pytest.approx(0.25)
    assert await confidence([]) == 1.0


async def test_the_tail_and_the_least_sure_run_look_at_a_window():
    logprobs = [-3.0, -3.0, -1.0, -1.0, 0.0, 0.0]
    assert await confidence(logprobs, statistic="tail", window=2) == pytest.approx(1.0)
    assert await confidence(logprobs, statistic="lowest", window=2) == pytest.approx(math.exp(-3))
    assert mean_logprob(logprobs, "lowest", 100) == pytest.approx(-8 / 6)


async def test_confidence_without_log_probabilities_is_an_error():
    with pytest.raises(PotentialError, match="log-probabilities"):
        await Confidence().rewards([answer("x")])


async def test_agreement_counts_the_others_with_the_same_answer():
    source = SelfConsistency()
    texts = ["so \\boxed{1/2}", "\\boxed{0.5}", "\\boxed{3}", "no answer"]
    values = [reward.value for reward in await source.rewards([answer(text) for text in texts])]
    assert values == [1.5 / 4, 1.5 / 4, 0.5 / 4, 0.0]


async def test_answers_that_were_seen_before_count_too():
    source = SelfConsistency(SelfConsistencyOptions(extractor="text"))
    first = await source.rewards([answer("yes")])
    second = await source.rewards([answer("Yes ")])
    assert first[0].value == 0.5
    assert second[0].value == 0.75


def test_agreement_depends_on_the_population_and_is_not_cached():
    assert not SelfConsistency().cacheable
    assert not SelfConsistency().prefixes
