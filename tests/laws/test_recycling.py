import math

import pytest

from smc_decode.laws.recycling import log_share


@pytest.mark.parametrize("n_blocks", [2, 3, 4, 9, 1000])
def test_the_shares_of_a_whole_pass_add_up_to_one_where_the_last_rollouts_hold_the_last_population(n_blocks):
    shares = [math.exp(log_share(block, n_blocks, keep_last=False)) for block in range(n_blocks - 1)]
    assert math.fsum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize("n_blocks", [2, 3, 4, 9])
def test_otherwise_they_leave_the_last_population_as_much_as_the_last_rollouts_have(n_blocks):
    shares = [math.exp(log_share(block, n_blocks, keep_last=True)) for block in range(n_blocks - 1)]
    assert 1.0 - math.fsum(shares) == pytest.approx(shares[-1])


@pytest.mark.parametrize("n_blocks", [3, 9, 1000])
def test_the_last_rollouts_have_as_much_as_those_before_them_where_nothing_is_left_for_the_particles(n_blocks):
    last, before = (log_share(n_blocks - back, n_blocks, keep_last=False) for back in (2, 3))
    assert last == before


def test_a_share_does_not_depend_on_how_long_an_answer_may_become():
    assert log_share(1, 4, keep_last=False) == log_share(1, 40, keep_last=False) == pytest.approx(math.log(0.25))


@pytest.mark.parametrize("block", [-1, 3, 4])
def test_there_are_no_rollouts_after_the_last_block(block):
    with pytest.raises(ValueError, match="blocks 0 to 2, not"):
        log_share(block, 4, keep_last=True)
