"""What crosses a box's wall: exact plain values within limits, whatever the bytes."""

from __future__ import annotations

import math
import random
from collections import Counter, OrderedDict
from enum import IntEnum
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smc_decode.sandbox.inbox.wire import Limits, WireError, canonical, decode, encode

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False)
)  # fmt: skip
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=20,
)


def types_of(value: object) -> object:
    if isinstance(value, list | tuple):
        return type(value), [types_of(item) for item in value]
    if isinstance(value, dict):
        return type(value), [(types_of(key), types_of(item)) for key, item in value.items()]
    return type(value)


@given(VALUES)
def test_a_plain_value_comes_back_equal_and_of_the_same_types(value: object) -> None:
    back = decode(encode(value))
    assert back == value
    assert types_of(back) == types_of(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, -0.0, 2**4000, -(2**63), "\ud800", "", b"\0", 1e-320])
def test_awkward_values_come_back_as_they_were(value: object) -> None:
    assert repr(decode(encode(value))) == repr(value)


def test_nan_comes_back_as_nan() -> None:
    assert math.isnan(decode(encode(math.nan)))  # type: ignore[arg-type]


class Colour(IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int


class Text(str):
    pass


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Colour.RED,
        Point(1),
        Text("a"),
        Counter("a"),
        OrderedDict(),
        bytearray(b"a"),
        range(3),
        iter([]),
        len,
        int,
    ],
    ids=lambda value: type(value).__name__,
)
def test_instances_of_other_types_and_of_subclasses_are_refused(value: object) -> None:
    for holder in (value, [value], (1, value), {1: value}):
        with pytest.raises(WireError, match="not a plain value"):
            encode(holder)


def test_values_that_are_too_deep_or_too_large_are_refused_on_both_sides() -> None:
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(WireError, match="nested"):
        encode(deep)
    with pytest.raises(WireError, match="nested"):
        decode(encode(deep, Limits(depth=200)))
    with pytest.raises(WireError, match="too many parts"):
        encode([0] * 300_000)
    with pytest.raises(WireError, match="too many parts"):
        decode(encode([0] * 1000), Limits(nodes=100))
    with pytest.raises(WireError, match="entries"):
        decode(encode(set(range(100))), Limits(hashed=99))


@settings(max_examples=500)
@given(st.binary(max_size=200) | VALUES.map(encode), st.randoms(use_true_random=False))
def test_damaged_bytes_give_a_value_or_a_wire_error_and_nothing_else(data: bytes, rng: random.Random) -> None:
    damaged = bytearray(data)
    for _ in range(min(len(damaged), 3)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    for candidate in (bytes(damaged), data[: len(data) // 2], data + b"N"):
        try:
            decode(candidate)
        except WireError:
            continue


def test_an_announced_length_costs_no_memory() -> None:
    for tag in b"ltdSZisb":
        with pytest.raises(WireError):
            decode(bytes([tag]) + b"\xff\xff\xff\xff")


def test_the_canonical_form_ignores_order_and_tells_types_apart() -> None:
    assert canonical({1: "a", 2: "b"}) == canonical({2: "b", 1: "a"})
    assert canonical({"b", "a", "c"}) == canonical({"c", "b", "a"})
    assert canonical(math.nan) == canonical(-math.nan)
    assert canonical(0.0) == canonical(-0.0)
    different = [1, 1.0, True, "1", b"1", [1], (1,), {1}, frozenset({1}), {1: 1}, None, 1j, [[1]], [1, 1]]
    assert len({canonical(value) for value in different}) == len(different)
