"""Further inputs for programs, and votes by what programs do on them."""

from __future__ import annotations

import numpy as np
import pytest

from smc_decode.answers.selection import select
from smc_decode.config import SMCConfig
from smc_decode.potentials.code.examples import find_examples
from smc_decode.potentials.code.probes import behaviour_of, probes_of
from smc_decode.potentials.code.prompt_examples import PromptExampleOptions, create
from smc_decode.potentials.options import RewardRequest
from smc_decode.result import Particle
from smc_decode.sandbox import Sandbox
from smc_decode.sandbox.results import CallOutcome
from tests.potentials.answers import answer

PROMPT = 'def total(xs):\n    """Sum of the list.\n    >>> total([1, 2])\n    3\n    """\n'


def probes(doc: str, limit: int = 8) -> list[tuple[object, ...]]:
    prompt = f'def f(x):\n    """Does it.\n    {doc}\n    """\n'
    return [call.args for call in probes_of(find_examples(prompt, "f"), limit)]


def test_probes_keep_the_types_of_the_examples_and_are_none_of_them():
    for (value,) in probes("f([1, 2]) == 3\n    f([]) == 0"):
        assert isinstance(value, list)
        assert value not in ([1, 2], [])
    assert all(type(value) is str for (value,) in probes("f('abc') == 'c'"))
    assert all(type(value) is bool for (value,) in probes("f(True) == 1"))


def test_probes_are_the_same_every_time_and_not_more_than_asked_for():
    assert probes("f(3) == 1") == probes("f(3) == 1")
    assert len(probes("f([1, 2, 3]) == 1", limit=3)) == 3
    assert probes("f(3) == 1", limit=0) == []


def test_examples_that_are_no_literals_give_no_probes():
    assert probes("f(g(3)) == 1") == []
    assert probes("") == []


def test_behaviours_differ_by_value_by_exception_and_by_no_answer():
    value = CallOutcome("value", 1, b"1")
    others = [CallOutcome("value", 2, b"2"), CallOutcome("raised", error="KeyError"), CallOutcome("timeout")]
    keys = {behaviour_of([value, each]) for each in [value, *others, CallOutcome("raised", error="ValueError")]}
    assert len(keys) == 5
    assert behaviour_of([value]) == behaviour_of([CallOutcome("value", 1, b"1", (1,))])


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as box:
        yield box


async def test_programs_that_pass_the_examples_are_told_apart_by_what_they_do_elsewhere(sandbox):
    source = create(PromptExampleOptions(), RewardRequest(PROMPT), sandbox)
    bodies = [
        "    return sum(xs)\n",
        "    n = 0\n    for x in xs:\n        n += x\n    return n\n",
        "    return len(xs) + 1\n",
        "    return 7\n",
    ]
    rewards = await source.rewards([answer(body) for body in bodies])
    first, second, third, wrong = (reward.detail.get("behaviour") for reward in rewards)
    assert first is not None
    assert first == second
    assert third not in (None, first)
    assert wrong is None  # it fails the example
    assert [reward.value for reward in rewards[:3]] == [1.0, 1.0, 1.0]


async def test_without_probes_nothing_further_is_run(sandbox):
    source = create(PromptExampleOptions(probes=0), RewardRequest(PROMPT), sandbox)
    (reward,) = await source.rewards([answer("    return sum(xs)\n")])
    assert "behaviour" not in reward.detail


def test_a_vote_by_behaviour_takes_the_heaviest_behaviour():
    def particle(token, weight, behaviour):
        detail = {} if behaviour is None else {"behaviour": behaviour}
        return Particle((token,), float(np.log(weight)), weight, True, 1.0, detail=detail)

    population = [particle(1, 0.34, None), particle(2, 0.3, "a"), particle(3, 0.2, "b"), particle(4, 0.16, "b")]
    config = SMCConfig(selection="vote", extractor="behaviour")
    order = select(population, config, 4, np.random.default_rng(0), None)
    assert [p.token_ids[0] for p in order] == [3, 1, 2, 4]  # the groups, heaviest first, then what else they hold


def test_programs_whose_behaviour_was_not_seen_are_grouped_by_their_syntax():
    texts = {1: "x = 1", 2: "x  =  1", 3: "x = 2"}
    weights = {3: 0.4, 1: 0.3, 2: 0.3}
    particles = [Particle((token,), 0.0, weight, True, None) for token, weight in weights.items()]
    config = SMCConfig(selection="vote", extractor="behaviour")
    chosen = select(particles, config, 1, np.random.default_rng(0), lambda token_ids: texts[token_ids[0]])[0]
    assert chosen.token_ids == (1,)
