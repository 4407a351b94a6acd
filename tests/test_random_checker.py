"""A few of the random checker's configurations, and that it sees a slip. The long run is by hand: docs/testing.md."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from tests import random_checker
from tests.random_cases import random_case
from tests.random_checker import Verdict, check, deviations, logged, long_run, table

NUMBERS = range(8)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_random_configuration_is_exact(number):
    verdict = check(random_case(number), error=0.05, at_most=300)
    assert not verdict.finding, verdict
    assert not verdict.inexact


def test_a_case_is_the_same_each_time():
    first, second = random_case(17), random_case(17)
    assert (first.settings, first.n_draws, first.log_scale) == (second.settings, second.n_draws, second.log_scale)
    assert first.model.log_gamma == second.model.log_gamma
    assert first.features


def test_a_bias_of_three_percent_is_a_finding():
    """Every weight 3 % too large, put in as a step."""

    def heavier(algorithm):
        async def weigh(state):
            after, event = await algorithm.weigh(state)
            if state.block > 0:
                return after, event
            return replace(
                after, particles=tuple(replace(p, log_weight=p.log_weight + np.log(1.03)) for p in after.particles)
            ), event

        return replace(algorithm, weigh=weigh)

    case = next(
        case
        for case in map(random_case, range(100))
        if "growing passes" in case.features and "rollouts" not in case.features and case.model.kind == "terminal"
    )
    assert check(case, amend=heavier).finding
    assert not check(case).finding


def test_deviations_are_in_standard_errors_and_infinite_where_what_is_constant_is_wrong():
    rows = np.array([[0.1, 0.0, 0.5], [-0.1, 0.0, 0.5]] * 50)
    assert deviations(rows)[:2] == pytest.approx([0.0, 0.0])
    assert np.isinf(deviations(rows)[2])


def test_a_long_run_goes_on_where_its_log_ends(tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    monkeypatch.setattr(random_checker, "check_number", _quick)
    first = list(long_run(range(2), log, 1))
    with log.open("a") as file:
        file.write('{"number": 99, "cut')  # the machine went down
    assert logged(log).keys() == {0, 1}
    second = list(long_run(range(3), log, 1))
    assert [v.number for v in first] == [0, 1]
    assert [v.number for v in second] == [2]
    assert logged(log)[0] == replace(first[0])
    assert "| all | 3 |" in table(list(logged(log).values()))


def _quick(number: int) -> Verdict:
    return Verdict(number, runs=1, features=("drafts",))


def test_what_is_a_finding():
    fine = Verdict(0, worst=5.0, again=True, inexact=("says so itself",))
    assert not fine.finding
    assert replace(fine, inexact=()).finding
    assert replace(fine, raised="ValueError").finding
    assert asdict(fine)["worst"] == 5.0
