import math

import numpy as np
import pytest

from smc_decode.laws.lookahead import agree, choose_rollouts, log_lookahead, log_rollout_value


def test_a_rollouts_value_is_its_future_relative_to_the_prefix():
    assert log_rollout_value(3.0, 1.0, 0.0, -math.inf) == pytest.approx(2.0)
    assert log_rollout_value(3.0, 1.0, -0.5, -math.inf) == pytest.approx(1.5)


def test_lookahead_is_the_mean_of_values():
    assert log_lookahead([0.0, math.log(3.0)]) == pytest.approx(math.log(2.0))


def test_rollouts_agree_within_their_relative_spread():
    assert agree([-400.0, -400.0], 0.0)
    assert not agree([0.0, 1.0], 0.1)
    assert agree([-math.inf, -math.inf], 0.1)


@pytest.mark.parametrize("shift", [0.0, 2.0, 900.0, -900.0])
def test_the_spread_is_the_standard_deviation_in_units_of_the_mean_whatever_the_scale(shift):
    """Values 1 and 3: their mean is 2, their standard deviation 1."""
    values = [shift, shift + math.log(3.0)]
    assert agree(values, 0.51)
    assert not agree(values, 0.49)


@pytest.mark.parametrize("copies", [1, 2, 3, 5])
def test_a_uniform_choice_is_uniform_for_every_copy(copies):
    rng = np.random.default_rng(0)
    drawn = np.array([[c.index for c in choose_rollouts([0.0, 1.0, 2.0], copies, "uniform", rng)] for _ in range(6000)])
    for copy in range(copies):
        assert np.bincount(drawn[:, copy], minlength=3) / 6000 == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_uniform_choice_needs_no_correction():
    assert [c.log_correction for c in choose_rollouts([0.0, 5.0], 3, "uniform", np.random.default_rng(0))] == [0.0] * 3


class NearOne(np.random.Generator):
    """Draws the largest number below one."""

    def random(self, *args, **kwargs):
        return 1.0 - 2.0**-53


def test_rounding_never_points_past_the_last_rollout():
    """Ten times 0.1, added up, is less than one."""
    assert np.cumsum([0.1] * 10)[-1] <= 1.0 - 2.0**-53
    [choice] = choose_rollouts([0.0] * 10, 1, "weighted", NearOne(np.random.PCG64(0)))
    assert choice.index == 9


def test_copies_are_spread_over_the_rollouts():
    rng = np.random.default_rng(0)
    assert sorted(c.index for c in choose_rollouts([0.0] * 4, 4, "uniform", rng)) == [0, 1, 2, 3]


@pytest.mark.parametrize("copies", [1, 3])
def test_a_weighted_choice_follows_the_values_and_carries_one_over_j_pi(copies):
    rng = np.random.default_rng(0)
    values = [math.log(v) for v in (1.0, 2.0, 5.0)]
    drawn = [choose_rollouts(values, copies, "weighted", rng) for _ in range(6000)]
    for copy in range(copies):
        counts = np.bincount([choices[copy].index for choices in drawn], minlength=3)
        assert counts / 6000 == pytest.approx([0.125, 0.25, 0.625], abs=0.03)
    choice = drawn[0][0]
    pi = math.exp(values[choice.index]) / 8.0
    assert choice.log_correction == pytest.approx(-math.log(3 * pi))
