from collections import Counter

import numpy as np
import pytest

from smc_decode.answers.extractors import EXTRACTORS
from smc_decode.answers.selection import answer_key, groups, select
from smc_decode.config import SMCConfig
from smc_decode.errors import ExtractorFault
from smc_decode.result import Particle


def particle(token_ids, weight, reward=None):
    return Particle(tuple(token_ids), np.log(weight) if weight else -np.inf, weight, True, reward)


POPULATION = [
    particle([1], 0.4, 0.2),
    particle([2], 0.25, 0.9),
    particle([3], 0.05, 0.9),
    particle([2], 0.3, 0.9),
    particle([4], 0.0, 1.0),
]


def chosen(selection, n=1, seed=0, **settings):
    config = SMCConfig(selection=selection, **settings)
    return [p.token_ids for p in select(POPULATION, config, n, np.random.default_rng(seed), None)]


def test_sample_draws_in_proportion_to_the_weights():
    counts = Counter(chosen("sample", seed=seed)[0] for seed in range(4000))
    assert counts[(1,)] / 4000 == pytest.approx(0.4, abs=0.03)
    assert counts[(2,)] / 4000 == pytest.approx(0.55, abs=0.03)
    assert (4,) not in counts


def test_each_of_several_draws_has_the_same_law():
    third = Counter(chosen("sample", n=3, seed=seed)[2] for seed in range(4000))
    assert third[(1,)] / 4000 == pytest.approx(0.4, abs=0.03)


def test_best_takes_distinct_answers_by_reward_and_then_by_weight_among_the_living():
    assert chosen("best", n=3) == [(2,), (3,), (1,)]


def test_vote_merges_equal_answers_by_summed_weight():
    assert chosen("vote", n=2) == [(2,), (1,)]


def test_vote_counts_unextractable_answers_each_for_itself():
    def key(token_ids):
        return "found" if token_ids in ((3,), (4,)) else None

    merged = groups([(1,), (2,), (3,), (4,)], [0.3, 0.3, 0.25, 0.15], key)
    assert merged[0] == (pytest.approx(0.4), [2, 3])


def test_an_extractor_runs_once_for_identical_sequences():
    asked = []
    groups([(1,), (1,), (2,)], [0.3, 0.3, 0.4], lambda tokens: asked.append(tokens) or tokens)
    assert asked == [(1,), (2,)]


def test_a_text_extractor_without_a_tokenizer_is_refused():
    with pytest.raises(ValueError, match="no tokenizer"):
        answer_key("boxed", None)


@pytest.mark.parametrize("wrong", [lambda text: 1 / 0, lambda text: [text], lambda text: exit()])
def test_an_extractor_that_raises_is_named(wrong, monkeypatch):
    monkeypatch.setitem(EXTRACTORS._things, "mine", wrong)
    with pytest.raises(ExtractorFault, match="extractor 'mine' raised"):
        answer_key("mine", lambda token_ids: "text")((1, 2))
