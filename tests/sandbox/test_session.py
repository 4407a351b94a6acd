"""Objects keep their identity across the wall, and a frame can do nothing else than the protocol says."""

from __future__ import annotations

import gc
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smc_decode.sandbox.inbox import proxies, wire
from smc_decode.sandbox.inbox.channel import Channel
from smc_decode.sandbox.inbox.peer import Peer
from smc_decode.sandbox.inbox.session import Session
from smc_decode.sandbox.inbox.wire import WireError

SIZE = 1 << 24


class Silent(Peer):
    """A side that is asked nothing."""

    def __init__(self, first_number: int, library: bool) -> None:
        self.asked: list[tuple[object, ...]] = []
        super().__init__(Channel.__new__(Channel), first_number, library)

    def ask(self, op: str, *args: object) -> object:
        self.asked.append((op, *args))
        return None


@pytest.fixture
def checker() -> Session:
    return Silent(2, library=True).session


@pytest.fixture
def runner() -> Session:
    return Silent(1, library=False).session


def across(sender: Session, receiver: Session, value: object) -> object:
    return receiver.decode(sender.encode(value, SIZE))


def test_an_object_comes_back_as_itself_with_what_was_done_to_it(checker: Session, runner: Session) -> None:
    inner, outer = [1], {"a": [2]}
    theirs = across(checker, runner, (inner, (outer, inner)))
    assert theirs == ([1], ({"a": [2]}, [1]))
    assert theirs[0] is theirs[1][1]  # type: ignore[index]
    theirs[0].append(theirs[1][0]["a"])  # type: ignore[index]
    theirs[1][0]["a"].clear()  # type: ignore[index]
    back = across(runner, checker, theirs[0])  # type: ignore[index]
    assert back is inner
    assert inner == [1, []]
    assert inner[1] is outer["a"]


def test_a_container_may_hold_itself(checker: Session, runner: Session) -> None:
    x: list[object] = [1]
    x.append(x)
    theirs = across(checker, runner, x)
    assert theirs[1] is theirs  # type: ignore[index]
    assert across(runner, checker, theirs) is x


@pytest.mark.parametrize(
    "value",
    [
        deque([1, 2], maxlen=3), Counter("aab"), OrderedDict(b=1, a=2), bytearray(b"ab"), {1, 2}, Decimal("1.50"),
        Fraction(1, 3), date(2024, 2, 29), datetime(2024, 1, 1, tzinfo=UTC), timedelta(1.5), range(1, 9, 2),
        slice(1, None), int, KeyError, ..., NotImplemented, 1 + 2j, frozenset({(1, "a")}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_of_the_standard_library_come_back_as_they_were(
    checker: Session, runner: Session, value: object
) -> None:
    there = across(runner, checker, [value])
    assert there == [value]
    assert type(there[0]) is type(value)  # type: ignore[index]
    assert repr(there) == repr([value])


def test_a_default_dict_keeps_its_factory(checker: Session, runner: Session) -> None:
    there = across(runner, checker, defaultdict(list, a=[1]))
    there["b"].append(2)  # type: ignore[index]
    assert there == {"a": [1], "b": [2]}


def test_a_subclass_of_a_plain_type_is_what_the_base_type_says(checker: Session, runner: Session) -> None:
    class Agrees(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    there = across(runner, checker, Agrees(3))
    assert there == 3
    assert there != 4
    assert type(there).__name__ == "Agrees"


def test_anything_else_is_a_proxy_that_equals_itself_alone(checker: Session, runner: Session) -> None:
    def one() -> None: ...

    there = across(runner, checker, [one, one, object()])
    assert proxies.is_proxy(there[0])  # type: ignore[index]
    assert there[0] is there[1]  # type: ignore[index]
    assert there[0] != there[2]  # type: ignore[index]
    assert callable(there[0])  # type: ignore[index]
    assert not callable(there[2])  # type: ignore[index]
    assert across(checker, runner, there[0]) is one  # type: ignore[index]


def test_instances_of_a_class_that_both_sides_know_are_instances(checker: Session, runner: Session) -> None:
    class Ours:
        next = None

    class Theirs:
        next = None

        def holds(self) -> bool:
            return False

    checker.classes["Node"], runner.classes["Ours"] = Theirs, Ours
    checker.classes["Ours"] = Theirs
    node = Ours()
    node.value = [1]  # type: ignore[attr-defined]
    there = across(runner, checker, node)
    assert type(there) is Theirs
    assert there.value == [1]  # type: ignore[attr-defined]
    node.holds = True  # type: ignore[attr-defined]
    with pytest.raises(WireError):
        across(runner, checker, node)


def test_what_nobody_holds_any_longer_is_forgotten_on_both_sides(checker: Session, runner: Session) -> None:
    for number in range(50):
        theirs = across(checker, runner, [number])
        theirs.append(1)  # type: ignore[attr-defined]
        del theirs
        across(runner, checker, None)
    gc.collect()
    across(checker, runner, None)
    assert len(checker._by_number) <= 1
    assert len(runner._by_number) <= 1


def test_the_last_change_of_a_forgotten_object_is_told(checker: Session, runner: Session) -> None:
    x = [3, 1, 2]
    theirs = across(checker, runner, x)
    theirs.sort()  # type: ignore[attr-defined]
    del theirs
    across(runner, checker, None)
    assert x == [1, 2, 3]


def test_a_message_that_cannot_be_sent_changes_nothing(checker: Session, runner: Session) -> None:
    x = [1]
    theirs = across(checker, runner, x)
    theirs.append([2])  # type: ignore[attr-defined]
    with pytest.raises(WireError):
        runner.encode("long" * 100, 50)
    assert across(runner, checker, theirs) is x
    assert x == [1, [2]]


def frame(
    news: tuple[object, ...] = (), states: tuple[object, ...] = (), gone: object = (), message: object = 0
) -> bytes:
    parts = [b"\1", len(news).to_bytes(4, "big"), *map(wire.encode, news), len(states).to_bytes(4, "big")]
    return b"".join([*parts, *map(wire.encode, states), wire.encode(gone), wire.encode(message)])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"\1", b"\2N", b"\0NN", b"\0r" + wire.encode(7), b"\0x" + wire.encode(("named", "os", "_exit")),
        b"\0x" + wire.encode(("type", "eval")), b"\0x" + wire.encode(("Decimal", "x")), b"\0q" + wire.encode(1),
        frame(news=((2, "list", None),)), frame(news=((1, "list", None), (1, "list", None))),
        frame(news=((1, "instance", "Node"),)), frame(news=((1, "proxy", ("a", "b", -1)),)),
        frame(news=((1, "proxy", ("a\0", "b", 0)),)), frame(news=((1, "error", (("builtins", "int"),)),)),
        frame(news=((1, "subclass", ("type", ("a", "b", 0), None)),)), frame(news=((1, "unknown", None),)),
        frame(states=((4, (1,)),)), frame(news=((1, "dict", None),), states=((1, (1,)),)),
        frame(news=((1, "bytearray", None),), states=((1, (1,)),)), frame(gone=5), frame(news=(5,)),
    ],
)  # fmt: skip
def test_a_frame_that_makes_no_sense_is_refused(checker: Session, data: bytes) -> None:
    with pytest.raises(WireError):
        checker.decode(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    session = Silent(2, library=True).session
    for first in (b"", b"\0", b"\1"):
        try:
            session.decode(first + data)
        except WireError:
            continue
