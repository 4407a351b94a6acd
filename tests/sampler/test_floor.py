import math

import pytest

from smc_decode.sampler.floor import Floor


def test_a_declared_scale_fixes_the_floor():
    floor = Floor(0.1, 4.0, fixed_in_block=True)
    floor.begin(0)
    floor.saw([100.0])
    assert floor.settled
    assert floor.log_floor == pytest.approx(math.log(0.1) + 4.0)


def test_an_unknown_scale_follows_the_largest_seen():
    floor = Floor(0.1, None, fixed_in_block=False)
    floor.begin(0)
    assert floor.log_floor == pytest.approx(math.log(0.1))
    floor.saw([310.0, -310.0])
    assert floor.log_floor == pytest.approx(math.log(0.1) + 310.0)


def test_with_moves_an_unknown_scale_comes_from_earlier_blocks():
    floor = Floor(0.1, None, fixed_in_block=True)
    floor.begin(0)
    floor.saw([5.0])
    assert not floor.settled
    floor.begin(1)
    assert floor.settled
    floor.saw([50.0])
    assert floor.log_floor == pytest.approx(math.log(0.1) + 5.0)


def test_there_may_be_no_floor():
    assert Floor(0.0, 4.0, fixed_in_block=False).log_floor == -math.inf
    assert Floor(0.0, None, fixed_in_block=False).log_floor == -math.inf


def test_where_nothing_was_seen_yet_the_scale_is_one():
    floor = Floor(0.1, None, fixed_in_block=False)
    assert floor.log_floor == pytest.approx(math.log(0.1))
    floor.begin(0)
    floor.saw([])
    floor.saw([-7.0])
    assert floor.log_floor == pytest.approx(math.log(0.1) - 7.0)


def test_in_its_first_block_an_unknown_scale_follows_the_population_also_where_there_are_moves():
    floor = Floor(0.1, None, fixed_in_block=True)
    floor.saw([-2.0])
    assert floor.log_floor == pytest.approx(math.log(0.1) - 2.0)
    floor.begin(0)
    floor.saw([3.0])
    assert floor.log_floor == pytest.approx(math.log(0.1) + 3.0)


def test_a_pass_begins_without_what_the_pass_before_it_saw():
    floor = Floor(0.1, None, fixed_in_block=False)
    floor.begin(1)
    floor.saw([9.0])
    floor.begin(0)
    assert floor.log_floor == pytest.approx(math.log(0.1))
    floor.saw([-4.0])
    assert floor.log_floor == pytest.approx(math.log(0.1) - 4.0)


def test_only_a_scale_that_followed_what_was_seen_is_adaptive():
    declared, unknown = Floor(0.1, 0.0, fixed_in_block=False), Floor(0.1, None, fixed_in_block=False)
    assert not unknown.adaptive
    for floor in (declared, unknown):
        floor.saw([-1.0])
    assert unknown.adaptive
    assert not declared.adaptive


def test_without_moves_an_unknown_scale_is_never_settled():
    floor = Floor(0.1, None, fixed_in_block=False)
    floor.begin(1)
    assert not floor.settled
