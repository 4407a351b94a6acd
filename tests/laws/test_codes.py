import itertools
import math
import random
from bisect import bisect_right

import pytest

from smc_decode.laws.codes import CODE_BITS, Uniforms, lattice

LAWS = {(): [0.5, 0.2, 0.3], (0,): [0.1, 0.9], (1,): [0.6, 0.4], (2,): [0.05, 0.95]}


def sequence(code: float, fresh=lambda: 0.5) -> tuple[int, ...]:
    uniforms, drawn = Uniforms(code, fresh), ()
    while drawn in LAWS:
        cumulative = list(itertools.accumulate(LAWS[drawn]))
        token = min(bisect_right(cumulative, uniforms.next()), len(cumulative) - 1)
        before = cumulative[token] - LAWS[drawn][token]
        uniforms.chose(before, LAWS[drawn][token])
        drawn += (token,)
    return drawn


def test_a_uniform_code_draws_every_sequence_with_its_probability() -> None:
    n = 6_000
    drawn = [sequence((i + 0.5) / n) for i in range(n)]
    for first, second in itertools.chain.from_iterable(((x, y) for y in range(2)) for x in range(3)):
        expected = LAWS[()][first] * LAWS[first,][second]
        assert drawn.count((first, second)) / n == pytest.approx(expected, abs=2 / n)


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_a_lattice_spreads_evenly_and_each_of_its_numbers_is_uniform(n: int) -> None:
    shifts = [(i + 0.5) / 1000 for i in range(1000)]
    turned = [lattice(shift, n) for shift in shifts]
    for numbers in turned[::97]:
        assert sorted(math.floor(number * n) for number in numbers) == list(range(n))
        assert all(0 <= number < 1 for number in numbers)
    for one in zip(*turned, strict=True):
        counts = [sum(math.floor(10 * number) == bin_ for number in one) for bin_ in range(10)]
        assert max(counts) - min(counts) <= 2


def test_sequences_of_a_lattice_are_as_many_as_their_probabilities_say() -> None:
    n = 40
    for shift in (0.0, 0.3, 0.999):
        drawn = [sequence(code) for code in lattice(shift, n)]
        for first in range(3):
            count = sum(each[0] == first for each in drawn)
            assert abs(count - n * LAWS[()][first]) <= 1


def test_a_code_is_spent_before_its_bits_run_out_and_fresh_numbers_follow() -> None:
    fresh = iter([0.125, 0.625])
    uniforms = Uniforms(random.Random(3).random(), fresh.__next__)
    drawn = 0
    while uniforms.code is not None:
        number = uniforms.next()
        before = math.floor(4 * number) / 4
        uniforms.chose(before, 0.25)
        drawn += 1
    assert drawn == CODE_BITS / 2
    assert [uniforms.next(), uniforms.next()] == [0.125, 0.625]
    uniforms.chose(0.5, 0.25)
    assert uniforms.code is None


@pytest.mark.parametrize(("bits", "draws"), [(2.0, 10), (3.0, 7), (19.5, 2), (20.0, 1), (64.0, 1)])
def test_a_code_is_spent_when_its_tokens_took_twenty_bits(bits: float, draws: int) -> None:
    uniforms = Uniforms(0.0, lambda: 0.5)
    for _ in range(draws):
        assert uniforms.next() == 0.0
        uniforms.chose(0.0, 2.0**-bits)
    assert uniforms.next() == 0.5


def test_a_choice_of_no_probability_spends_the_code() -> None:
    for probability in (0.0, -1e-17):
        uniforms = Uniforms(0.75, lambda: 0.5)
        uniforms.next()
        uniforms.chose(0.75, probability)
        assert uniforms.code is None


def test_a_lattice_goes_up_from_its_shift() -> None:
    assert lattice(0.0, 4) == [0.0, 0.25, 0.5, 0.75]
    assert lattice(0.5, 2) == [0.5, 0.0]


def test_what_is_left_of_a_code_is_a_number_below_one_whatever_rounding_does() -> None:
    for before, probability in [(0.3, 0.1), (0.7, 1e-4), (0.0, 1.0)]:
        for code in (before, before + probability * (1 - 1e-16), min(before + probability, 1 - 2**-53)):
            uniforms = Uniforms(code, lambda: 0.5)
            uniforms.next()
            uniforms.chose(before, probability)
            assert uniforms.code is not None
            assert 0 <= uniforms.code <= 1 - 2**-53
    uniforms = Uniforms(0.75, lambda: 0.5)
    uniforms.next()
    uniforms.chose(0.5, 0.25)
    assert uniforms.code == 1 - 2**-53
