from collections import Counter

import numpy as np
import pytest

from smc_decode.answers import selection as rules
from smc_decode.answers.extractors import EXTRACTORS
from smc_decode.answers.selection import answer_key, groups, select
from smc_decode.config import SMCConfig
from smc_decode.errors import ExtractorFault
from smc_decode.result import Particle


def particle(token_ids, weight, reward=None, finished=True, **detail):
    log_weight = np.log(weight) if weight else -np.inf
    return Particle(tuple(token_ids), log_weight, weight, finished, reward, detail=detail)


POPULATION = [
    particle([1], 0.4, 0.2),
    particle([2], 0.25, 0.9),
    particle([3], 0.05, 0.9),
    particle([2], 0.3, 0.9),
    particle([4], 0.0, 1.0),
]


def chosen(selection, n=1, seed=0, population=POPULATION, decode=None, **settings):
    config = SMCConfig(selection=selection, **settings)
    return [p.token_ids for p in select(population, config, n, np.random.default_rng(seed), decode)]


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


# ---- whom a search may choose -------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", ["best", "vote"])
def test_a_search_prefers_the_living_and_complete_then_the_living_then_anybody(selection):
    dead, unfinished = particle([1], 0.0, 1.0), particle([2], 0.9, 1.0, finished=False)
    complete = particle([3], 0.1, 0.0)
    assert chosen(selection, n=3, population=[dead, unfinished, complete]) == [(3,)] * 3
    assert chosen(selection, n=2, population=[dead, unfinished]) == [(2,)] * 2
    assert chosen(selection, population=[dead]) == [(1,)]


def test_an_electorate_is_one_of_complete_answers_unless_it_says_otherwise():
    population = [particle([1], 0.5, finished=False), particle([2], 0.5)]
    assert rules.Electorate(population, np.random.default_rng(0)).eligible == [1]


@pytest.mark.parametrize("selection", ["best", "vote"])
def test_where_what_is_chosen_will_be_brought_to_its_end_it_need_not_be_there_yet(selection):
    population = [particle([1], 0.0, 1.0), particle([2], 0.9, 1.0, finished=False), particle([3], 0.1, 0.0)]
    assert chosen(selection, population=population, first_pass_size=1, stop_at_reward=1.0) == [(2,)]


def test_an_answer_that_nobody_brings_to_its_end_is_not_preferred():
    population = [particle([2], 0.9, 1.0, finished=False), particle([3], 0.1, 0.0)]
    for settings in ({"first_pass_size": 1}, {"stop_at_reward": 1.0}):
        assert chosen("best", population=population, **settings) == [(3,)]


def test_among_equal_rewards_the_heavier_comes_first_and_no_reward_is_the_least():
    population = [particle([1], 0.5), particle([2], 0.1, -5.0), particle([3], 0.15, -5.0), particle([4], 0.25, -9.0)]
    assert chosen("best", n=4, population=population) == [(3,), (2,), (4,), (1,)]


def by_the_first_token(token_ids):
    """A text that is no program."""
    return f"number {token_ids[0]}!"


@pytest.mark.parametrize("name", ["a word", "words"])
def test_a_vote_gives_each_groups_heaviest_first_and_then_the_others_in_rounds(name):
    """Groups of one, three and two answers, by their first token: 0.3, 0.36 and 0.34."""
    members = [([1], 0.3), ([2, 1], 0.05), ([2, 2], 0.19), ([2, 3], 0.12), ([3, 1], 0.08), ([3, 2], 0.26)]
    EXTRACTORS.register(name)(lambda text: text)
    try:
        population = [particle(ids, weight) for ids, weight in members]
        settings = {"population": population, "decode": by_the_first_token, "extractor": name}
        order = [(2, 2), (3, 2), (1,), (2, 3), (3, 1), (2, 1)]
        assert chosen("vote", n=7, **settings) == [*order, (2, 2)]
    finally:
        EXTRACTORS.remove(name)


# ---- programs that do the same ------------------------------------------------------------------------------------

PROGRAMS = [
    particle([1], 0.3),
    particle([2], 0.2, behaviour="adds"),
    particle([3], 0.2, behaviour="adds"),
    particle([4], 0.3, behaviour="multiplies"),
]


def test_programs_that_do_the_same_are_one_answer():
    assert chosen("vote", population=PROGRAMS, extractor="behaviour") == [(2,)]


def test_without_a_text_what_was_not_seen_to_do_anything_is_an_answer_of_its_own():
    population = [particle([1], 0.3), particle([5], 0.3), particle([2], 0.4, behaviour="adds")]
    assert chosen("vote", population=population, extractor="behaviour") == [(2,)]


def test_programs_that_were_not_seen_are_the_same_where_their_syntax_is():
    sources = {1: "x = 1", 5: "x = (1)  # one", 2: "x = 2"}
    population = [particle([1], 0.3), particle([5], 0.3), particle([2], 0.4, behaviour="adds")]

    def decode(ids):
        return f"```python\n{sources[ids[0]]}\n```"

    assert chosen("vote", population=population, extractor="behaviour", decode=decode) == [(1,)]
