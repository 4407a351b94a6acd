import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from smc_decode.laws.weights import effective_sample_size, log_mean_exp, log_sum_exp, normalise

LOG_WEIGHTS = st.lists(st.floats(-800, 800) | st.just(-math.inf), min_size=1, max_size=30)


@given(LOG_WEIGHTS)
def test_log_sum_exp_agrees_with_scipy_over_1600_nats(values):
    assert log_sum_exp(values) == pytest.approx(float(logsumexp(values)), rel=1e-12, abs=1e-12)


@given(LOG_WEIGHTS)
def test_ess_lies_between_one_and_the_number_of_particles(values):
    ess = effective_sample_size(values)
    if log_sum_exp(values) == -math.inf:
        assert ess == 0.0
    else:
        assert 1.0 - 1e-9 <= ess <= len(values) + 1e-9


def test_equal_weights_have_full_ess_and_one_survivor_has_one():
    assert effective_sample_size(np.full(16, -700.0)) == pytest.approx(16)
    assert effective_sample_size([0.0, -math.inf, -math.inf]) == pytest.approx(1)


def test_ess_is_one_over_the_sum_of_squared_weights():
    assert effective_sample_size(np.log([2.0, 1.0, 1.0])) == pytest.approx(1 / (0.5**2 + 2 * 0.25**2))
    assert effective_sample_size([]) == 0.0


def test_log_mean_exp_of_equal_weights_is_their_value():
    assert log_mean_exp([3.5] * 7) == pytest.approx(3.5)


@pytest.mark.parametrize("value", [-900.0, 900.0])
def test_weights_that_are_all_tiny_or_huge_are_summed_like_others(value):
    assert log_sum_exp([value, value]) == pytest.approx(value + math.log(2.0), abs=1e-12)


def test_log_mean_exp_is_the_log_of_the_mean_weight():
    assert log_mean_exp(np.log([1.0, 2.0, 6.0])) == pytest.approx(math.log(3.0))


def test_normalised_weights_sum_to_one_and_keep_ratios():
    weights = normalise([600.0, 600.0 + math.log(3), -math.inf])
    assert weights == pytest.approx([0.25, 0.75, 0.0])


@pytest.mark.parametrize("bad", [[-math.inf, -math.inf], [math.nan, 0.0], [math.inf, 0.0]])
def test_weights_that_have_no_sum_are_refused(bad):
    with pytest.raises(ValueError, match="cannot be normalised"):
        normalise(bad)
