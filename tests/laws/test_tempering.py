import numpy as np
import pytest

from smc_decode.laws.tempering import next_level
from smc_decode.laws.weights import effective_sample_size

VALUES = np.random.default_rng(0).normal(0.0, 3.0, 64)


def test_a_bridge_that_costs_no_ess_goes_to_exactly_one():
    assert next_level(lambda b: 0.01 * b * VALUES, 0.0, 0.7, 64) == 1.0


def test_bisection_stops_where_the_ess_is_the_one_asked_for():
    bridge = next_level(lambda b: b * VALUES, 0.0, 0.7, 64)
    assert 0.0 < bridge < 1.0
    assert effective_sample_size(bridge * VALUES) == pytest.approx(0.7 * 64, rel=1e-6)


def test_the_bridge_is_never_lowered():
    assert next_level(lambda b: 100.0 * b * VALUES, 0.4, 0.9, 64) == pytest.approx(0.4)


def alive_up_to(level, asked):
    """One particle, which dies beyond that level: an ESS of exactly 1, then of 0."""

    def log_weights(tried):
        asked.append(tried)
        return np.array([0.0 if tried <= level else -np.inf])

    return log_weights


def test_the_ess_that_is_asked_for_is_enough():
    assert next_level(alive_up_to(1.0, []), 0.0, 1.0, 1) == 1.0
    assert next_level(alive_up_to(0.5, []), 0.0, 1.0, 1) == 0.5


def test_the_level_is_found_to_fifty_bits_and_nothing_is_tried_outside_what_is_left():
    asked = []
    assert next_level(alive_up_to(1.0 - 2.0**-50, asked), 0.0, 1.0, 1) == 1.0 - 2.0**-50
    assert next_level(alive_up_to(0.25, asked), 0.25, 1.0, 1) == 0.25
    assert 0.0 < min(asked) < max(asked) == 1.0
