from itertools import combinations
from statistics import fmean

import pytest
from scipy.stats import binomtest

from benchmarks.statistics import best_of_k, mcnemar, paired_bootstrap, pass_at_k, wilson


@pytest.mark.parametrize(("passed", "n"), [(0, 20), (1, 41), (10, 20), (41, 41), (144, 164)])
def test_wilson_agrees_with_scipy(passed, n):
    known = binomtest(passed, n).proportion_ci(method="wilson")
    assert wilson(passed, n) == pytest.approx((known.low, known.high), abs=1e-9)


def test_wilson_of_nothing_is_everything():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (2, 11), (13, 3)])
def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_pairs(first, second):
    known = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(known)


def test_a_paired_bootstrap_contains_the_mean_and_keeps_pairs_together():
    first, second = [0, 1, 0, 1, 0, 1] * 5, [1, 1, 0, 1, 0, 1] * 5
    mean, low, high = paired_bootstrap(first, second)
    assert mean == pytest.approx(1 / 6)
    assert 0.0 <= low <= mean <= high < 0.4  # pairs that agree add no spread
    assert paired_bootstrap(first, second) == (mean, low, high)


def test_a_paired_bootstrap_refuses_other_problems():
    with pytest.raises(ValueError, match="same problems"):
        paired_bootstrap([1.0], [1.0, 0.0])


def test_pass_at_k_has_its_known_values():
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(5, 2, 2) == pytest.approx(1 - 3 / 10)
    assert pass_at_k(5, 4, 2) == 1.0
    with pytest.raises(ValueError, match="k <= n"):
        pass_at_k(5, 1, 6)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_best_of_k_is_the_mean_over_all_subsets(k):
    rewards, passed = [0.3, 1.0, 1.0, 0.65, 0.3], [0.0, 1.0, 0.0, 1.0, 0.0]

    def best(subset):
        top = max(rewards[i] for i in subset)
        return fmean(passed[i] for i in subset if rewards[i] == top)

    known = fmean(best(subset) for subset in combinations(range(5), k))
    assert best_of_k(rewards, passed, k) == pytest.approx(known)


def test_best_of_k_without_differences_in_reward_is_a_plain_sample():
    assert best_of_k([0.5] * 4, [1, 0, 0, 0], 3) == pytest.approx(0.25)
