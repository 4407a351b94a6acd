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
