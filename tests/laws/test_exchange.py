import math

import pytest

from smc_decode.laws.exchange import ladder, log_swap, neighbours


def test_the_ladder_goes_from_the_requested_target_down_in_equal_steps():
    assert ladder(1, 0.2) == (1.0,)
    assert ladder(4, 0.25) == pytest.approx((1.0, 0.75, 0.5, 0.25))
    assert ladder(2, 0.0) == (1.0, 0.0)


def test_a_swap_is_accepted_by_the_ratio_of_both_targets_at_both_states():
    assert log_swap(-1.0, -2.0, -1.5, -2.5) == pytest.approx(-1.0)
    assert log_swap(-1.0, -2.0, -0.5, -2.0) == 0.0
    assert log_swap(-1.0, -math.inf, -1.0, -1.0) == 0.0
    assert log_swap(-1.0, -1.0, -math.inf, -1.0) == -math.inf
    assert log_swap(-math.inf, -1.0, -1.0, -math.inf) == -math.inf


def test_neighbours_take_turns_so_that_a_state_can_go_all_the_way():
    assert neighbours(4, 0) == [(0, 1), (2, 3)]
    assert neighbours(4, 1) == [(1, 2)]
    assert neighbours(4, 2) == [(0, 1), (2, 3)]
    assert neighbours(2, 1) == []
    assert neighbours(1, 0) == []
