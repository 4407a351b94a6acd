"""Drafts: draws that begin like earlier ones have the law q all the same, independent of what was drawn before."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter
from functools import cache

import numpy as np
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import Extend
from smc_decode.potentials import FunctionPotential
from smc_decode.result import Usage
from smc_decode.sampler import draw_tree
from smc_decode.sampler.draw_tree import DrawTree

TAU = 0.5
RUNS = 6000
LENGTH = 3


def next_logprobs(tokens):
    return np.log([0.15, 0.5, 0.35] if sum(tokens) % 2 else [0.1, 0.2, 0.7])


def engine():
    return TableEngine(next_logprobs, vocab_size=3, eos_token_id=0)


@cache
def q_of(tokens):
    """log q of a sequence at temperature TAU, token by token."""
    log_q = []
    for i, token in enumerate(tokens):
        law = next_logprobs(tokens[:i]) / TAU
        log_q.append(float(law[token] - np.log(np.exp(law).sum())))
    return log_q


@cache
def p_of(tokens):
    """log p of a sequence, token by token."""
    return [float(next_logprobs(tokens[:i])[token]) for i, token in enumerate(tokens)]


def close(given, expected):
    """As pytest.approx with an absolute tolerance, which would be half of the time here."""
    return len(given) == len(expected) and all(abs(a - b) < 1e-9 for a, b in zip(given, expected, strict=True))


SEQUENCES = [
    tokens
    for length in range(1, LENGTH + 1)
    for tokens in itertools.product(range(3), repeat=length)
    if 0 not in tokens[:-1] and (tokens[-1] == 0 or length == LENGTH)
]


async def draw(table, tree, prefix, seed):
    """One draw, and how many tokens the engine drew for it."""
    draft = tree.draft(prefix, LENGTH - len(prefix), seed)
    if draft.complete:
        return draft.continued(None), 0
    sequence = await table.open(())
    sequence.token_ids.extend((*prefix, *draft.token_ids))
    request = Extend(sequence, LENGTH - len(sequence.token_ids), TAU, seed, excluded=draft.excluded)
    [(_, drawn)] = [each async for each in table.extend([request])]
    whole = draft.continued(drawn)
    tree.add(prefix, whole)
    return whole, len(drawn.token_ids)


async def triples(runs=RUNS):
    """Three draws from one tree, over and over: the joint counts, and tokens drawn for the first and for the others."""
    table, counts, tokens = engine(), Counter(), [0, 0]
    for run in range(runs):
        tree, drawn = DrawTree(), []
        for number in range(3):
            whole, new = await draw(table, tree, (), 3 * run + number)
            assert close(whole.proposal_logprobs, q_of(tuple(whole.token_ids)))
            assert close(whole.logprobs, p_of(tuple(whole.token_ids)))
            drawn.append(tuple(whole.token_ids))
            tokens[number > 0] += new
        counts[tuple(drawn)] += 1
    return counts, tokens


def chi_square(counts):
    """Pearson's statistic per degree of freedom, of the triples against three independent draws from q."""
    q = {tokens: math.exp(sum(q_of(tokens))) for tokens in SEQUENCES}
    assert sum(q.values()) == pytest.approx(1.0)
    total, statistic, cells = counts.total(), 0.0, 0
    rest_expected = rest_seen = 0.0
    for triple in itertools.product(SEQUENCES, repeat=3):
        expected = total * math.prod(q[tokens] for tokens in triple)
        if expected >= 5:
            statistic += (counts[triple] - expected) ** 2 / expected
            cells += 1
        else:
            rest_expected += expected
            rest_seen += counts[triple]
    statistic += (rest_seen - rest_expected) ** 2 / rest_expected
    return (statistic - cells) / math.sqrt(2 * cells)  # in standard deviations of its law


async def test_draws_from_a_tree_are_independent_and_have_the_law_q():
    counts, tokens = await triples()
    assert abs(chi_square(counts)) < 4
    assert tokens[1] < 0.6 * 2 * tokens[0]  # which is what it is for


async def test_trap_a_token_that_was_drawn_may_not_come_again_after_the_draft_was_left(monkeypatch):
    honest = draw_tree.Draft

    def forgetful(*args, **fields):
        made = honest(*args, **fields)
        return honest(made.token_ids, made.logprobs, made.proposal_logprobs, ends=made.ends, complete=made.complete)

    monkeypatch.setattr(draw_tree, "Draft", forgetful)
    counts, _ = await triples(2000)
    assert abs(chi_square(counts)) > 10


async def test_a_prefix_of_another_law_is_no_draft_but_what_follows_is():
    tree = DrawTree()
    table = engine()
    first, _ = await draw(table, tree, (1,), 5)
    assert tree.draft((), LENGTH, 1) == draw_tree.Draft()  # nothing is known of how often the 1 comes
    follows = [tree.draft((1,), LENGTH - 1, seed) for seed in range(20)]
    assert any(draft.token_ids[:1] == (first.token_ids[0],) for draft in follows)
    assert all(draft.excluded or draft.token_ids for draft in follows)


async def test_a_tree_forgets_rather_than_grow_without_end():
    tree, table = DrawTree(max_tokens=7), engine()
    for seed in range(50):
        await draw(table, tree, (), seed)
    assert 1 <= size(tree._root) <= 7


def size(node):
    return sum(1 + size(child) for child in node.after.values())


def run(seed, **settings):
    config = SMCConfig.model_validate(
        {"n_particles": 4, "alpha": 4.0, "block_size": 2, "max_tokens": 8, "selection": "best"} | settings
    )
    potential = FunctionPotential(lambda tokens, finished: float(tokens.count(1)), "telescoping")
    return asyncio.run(sample(engine(), (), potential, config, seed=seed))


@pytest.mark.parametrize(
    "settings",
    [
        {"first_pass_size": 1},
        {"n_sweeps": 3},
        {"lookahead": {"rollouts": 2}},
        {"rejuvenation": {"steps": 2}},
        {"target": "powered", "rejuvenation": {"steps": 2}},
    ],
)
def test_a_run_draws_fewer_tokens_and_says_how_many_it_did_not_draw(settings):
    with_drafts = [run(seed, **settings).usage for seed in range(20)]
    without = [run(seed, draft_draws=False, **settings).usage for seed in range(20)]
    assert sum(usage.drawn for usage in with_drafts) < 0.9 * sum(usage.drawn for usage in without)
    assert all(usage.drafted == 0 for usage in without)
    assert sum(usage.drafted for usage in with_drafts) > 0
    assert isinstance(with_drafts[0], Usage)


@pytest.mark.parametrize(
    "settings", [{}, {"first_pass_size": 1, "top_k": 2}, {"lookahead": {"rollouts": 1, "temperature": 0.9}}]
)
def test_nothing_is_drafted_where_it_would_not_be_exact_or_of_no_use(settings):
    assert run(0, alpha=1.0, **settings).usage.drafted == 0
