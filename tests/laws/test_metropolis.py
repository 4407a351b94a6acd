"""Transition matrices of the move, built exactly from the acceptance function on models that can be enumerated."""

import math

import numpy as np
import pytest

from smc_decode.laws.metropolis import accepts, draw_cut, is_low_reward_duplicate, log_acceptance
from tests.enumeration import MODELS

BLOCK = 1


def proposal_logprobs(model, tokens):
    """log q of each token at the model's proposal temperature."""
    tau = model.settings.get("proposal_temperature", 1.0 / model.alpha)
    out = []
    for t, token in enumerate(tokens):
        log_p = model.logprobs(tokens[:t])
        tempered = log_p / tau
        if model.top_k:
            tempered = np.where(log_p >= np.sort(log_p)[-model.top_k], tempered, -np.inf)
        out.append(float((tempered - math.log(np.exp(tempered).sum()))[token]))
    return out


def transition_matrix(model, block, acceptance=log_acceptance, lookahead=lambda x: 0.0, start=0, counted_from=None):
    """The move's kernel on all prefixes at the end of ``block``, and log gamma_k L of each. ``start``: of the tokens
    that may be cut; ``counted_from``: where lengths begin, if elsewhere."""
    counted_from = start if counted_from is None else counted_from
    log_gamma = {x: value + lookahead(x) for x, value in model.log_intermediate(block).items() if value > -math.inf}
    states = list(log_gamma)
    log_q = {x: proposal_logprobs(model, x) for x in states}
    log_target = {x: log_gamma[x] - sum(log_q[x]) for x in states}
    kernel = np.zeros((len(states), len(states)))
    for i, x in enumerate(states):
        for j, y in enumerate(states):
            for cut in range(start, len(x)):
                if y[:cut] != x[:cut] or len(y) <= cut:
                    continue
                draw = math.exp(sum(log_q[y][cut:])) / (len(x) - start)
                lengths = len(y) - counted_from, len(x) - counted_from
                kernel[i, j] += draw * math.exp(acceptance(log_target[y], log_target[x], *lengths))
        kernel[i, i] += 1.0 - kernel[i].sum()
    weights = np.array([log_gamma[x] for x in states])
    weights = np.exp(weights - weights.max())
    return kernel, weights / weights.sum()


def test_a_move_to_weight_zero_is_never_accepted_and_out_of_it_always():
    assert log_acceptance(-math.inf, 0.0, 3, 3) == -math.inf
    assert log_acceptance(0.0, -math.inf, 3, 3) == 0.0
    rng = np.random.default_rng(0)
    assert not any(accepts(-math.inf, rng) for _ in range(100))
    assert all(accepts(0.0, rng) for _ in range(100))


def test_acceptance_happens_as_often_as_it_should():
    rng = np.random.default_rng(0)
    share = np.mean([accepts(math.log(0.3), rng) for _ in range(20_000)])
    assert share == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 20_000))


def test_the_papers_rule_moves_copies_of_low_reward_only():
    assert is_low_reward_duplicate(True, 0.2, 0.5)
    assert not is_low_reward_duplicate(True, 0.5, 0.5)
    assert not is_low_reward_duplicate(True, 0.7, 0.5)
    assert not is_low_reward_duplicate(False, 0.2, 0.5)
    assert is_low_reward_duplicate(True, None, 0.5)


def test_every_number_of_tokens_but_all_is_as_likely_to_be_kept():
    rng = np.random.default_rng(0)
    counts = np.bincount([draw_cut(4, rng) for _ in range(8000)], minlength=4)
    assert counts / 8000 == pytest.approx([0.25] * 4, abs=0.02)
    assert draw_cut(1, rng) == 0
    assert {draw_cut(5, rng, 3) for _ in range(100)} == {3, 4}


def test_acceptance_is_the_ratio_of_the_targets_times_that_of_the_lengths():
    assert log_acceptance(-3.0, -1.0, 5, 2) == pytest.approx(-2.0 + math.log(2 / 5))
    assert log_acceptance(-1.0, -1.5, 4, 2) == pytest.approx(0.5 + math.log(2 / 4))
    assert log_acceptance(-1.0, -3.0, 2, 4) == 0.0
    assert log_acceptance(-math.inf, -math.inf, 2, 2) == -math.inf


CASES = [name for name in MODELS if name != "tempered-600-nats"]


@pytest.mark.parametrize("name", CASES)
def test_the_move_leaves_the_intermediate_target_invariant(name):
    kernel, target = transition_matrix(MODELS[name], BLOCK)
    assert np.all(kernel >= -1e-12)
    assert np.abs(target @ kernel - target).max() < 1e-10


@pytest.mark.parametrize("start", [1, 2, 3])
@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-eos-product", "tempered-hard-zeros"])
def test_a_move_that_cuts_from_some_token_on_leaves_it_invariant_too(name, start):
    kernel, target = transition_matrix(MODELS[name], BLOCK, start=start)
    assert np.abs(target @ kernel - target).max() < 1e-10


def test_in_a_window_lengths_count_from_its_start():
    kernel, target = transition_matrix(MODELS["powered-eos-product"], BLOCK, start=2, counted_from=0)
    assert 0.5 * np.abs(target @ kernel - target).sum() > 1e-4


@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-eos-product"])
def test_the_move_leaves_the_target_with_lookahead_invariant(name):
    model = MODELS[name]
    kernel, target = transition_matrix(model, 0, lookahead=model.log_future)
    assert np.abs(target @ kernel - target).max() < 1e-10


def test_without_the_length_factor_the_target_is_not_invariant():
    def no_length(new, old, length_new, length_old):
        return min(0.0, new - old)

    kernel, target = transition_matrix(MODELS["tempered-eos-product"], BLOCK, acceptance=no_length)
    assert 0.5 * np.abs(target @ kernel - target).sum() > 1e-3


def test_a_ratio_of_a_cut_down_suffix_does_not_leave_the_target_invariant():
    """The slip of comparing only as many tokens of one suffix as the other has."""
    model = MODELS["powered-eos-product"]
    kernel, target = transition_matrix(model, BLOCK)
    states = [x for x, value in model.log_intermediate(BLOCK).items() if value > -math.inf]
    log_q = {x: proposal_logprobs(model, x) for x in states}

    wrong = np.zeros_like(kernel)
    for i, x in enumerate(states):
        for j, y in enumerate(states):
            for cut in range(len(x)):
                if y[:cut] != x[:cut] or len(y) <= cut:
                    continue
                shared = min(len(x), len(y))
                new = model.alpha * sum(float(model.logprobs(y[:t])[y[t]]) for t in range(cut, shared))
                old = model.alpha * sum(float(model.logprobs(x[:t])[x[t]]) for t in range(cut, shared))
                new += model.log_potential(y) - sum(log_q[y][cut:shared])
                old += model.log_potential(x) - sum(log_q[x][cut:shared])
                wrong[i, j] += math.exp(sum(log_q[y][cut:])) / len(x) * math.exp(min(0.0, new - old))
        wrong[i, i] += 1.0 - wrong[i].sum()
    assert 0.5 * np.abs(target @ wrong - target).sum() > 1e-3
