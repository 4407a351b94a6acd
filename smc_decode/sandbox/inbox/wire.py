"""Tagged plain values: the only thing that crosses a box's wall.

A value is one tag byte and a payload. Only exact built-in types are written: an instance of a subclass (an `int`
whose `__eq__` always agrees, say) is refused, and a reader can only ever build exact built-in types. Reading is
bounded in bytes (by the caller), in depth, in nodes and in hashed entries, because the other side may be hostile.
"""

import _struct  # `struct` would add an import for nothing
from _struct import Struct, pack
from itertools import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Other = Callable[[object, list[bytes], int], None]
    Further = Callable[[bytes, object], object]


class WireError(Exception):
    """The bytes or the value are not a tagged plain value within the limits."""


class Limits:
    """Bounds on one value: nesting, number of nodes, and entries of sets and dicts (which may be made to collide)."""

    __slots__ = ("depth", "hashed", "nodes")

    def __init__(self, depth: int = 64, nodes: int = 200_000, hashed: int = 200_000) -> None:
        self.depth = depth
        self.nodes = nodes
        self.hashed = hashed


DEFAULT_LIMITS = Limits()


def encode(value: object, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The bytes of `value`. Raises `WireError` if it is not plain, too deep or too large."""
    out: list[bytes] = []
    write(value, out, limits.depth, limits.nodes)
    return b"".join(out)


def write(value: object, out: list[bytes], depth: int, max_nodes: int, other: "Other | None" = None) -> None:
    """Append the bytes of `value` to `out`.

    `other(value, out, depth)` writes what is neither a scalar nor a tuple nor a frozenset; without it lists, sets and
    dicts are written in full, and all else is refused.
    """
    kind = type(value)
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        out.append(scalar(value))
        return
    if len(out) > max_nodes:
        raise WireError("the value has too many parts")
    if other is not None and kind is not tuple and kind is not frozenset:
        other(value, out, depth)
        return
    if kind not in _SEQUENCES and kind is not dict:
        raise WireError(f"a value of type {kind.__name__[:80]} is not a plain value")
    if depth <= 0:
        raise WireError("the value is nested too deeply")
    out.append((b"d" if kind is dict else _SEQUENCES[kind]) + pack(">I", len(value)))  # type: ignore[arg-type]
    _write_parts(value if kind is not dict else chain.from_iterable(value.items()), out, depth - 1, max_nodes, other)  # type: ignore[attr-defined]


def _write_parts(parts: "Any", out: list[bytes], depth: int, max_nodes: int, other: "Other | None") -> None:
    for part in parts:
        scalar = _SCALARS.get(type(part))
        if scalar is None:
            write(part, out, depth, max_nodes, other)
        else:
            out.append(scalar(part))
            if len(out) > max_nodes:
                raise WireError("the value has too many parts")


def _int(value: int) -> bytes:
    if -(1 << 63) <= value < 1 << 63:
        return _PACK_INT(b"j", value)
    size = value.bit_length() // 8 + 1
    return b"i" + pack(">I", size) + value.to_bytes(size, "big", signed=True)


def _str(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"s" + pack(">I", len(raw)) + raw


StructError: type[Exception] = _struct.error  # type: ignore[attr-defined]
_PACK_INT = Struct(">cq").pack
_NUMBERS = {b"j": Struct(">q"), b"f": Struct(">d"), b"c": Struct(">dd")}
_CONSTANTS = {b"N": None, b"T": True, b"F": False}
_LENGTH = Struct(">I")
_SCALARS: dict[type, "Callable[[Any], bytes]"] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _int,
    float: lambda value: pack(">cd", b"f", value),
    str: _str,
    bytes: lambda value: b"b" + pack(">I", len(value)) + value,
    complex: lambda value: pack(">cdd", b"c", value.real, value.imag),
}
_SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> object:
    """The value that `data` holds, all of it. Raises `WireError` if there is none within the limits."""
    reader = Reader(data, limits)
    value = reader.read(limits.depth)
    if reader.at != len(data):
        raise WireError("bytes are left over after the value")
    return value


class Reader:
    """Reads values one after another. `other(tag, value)`, where given, makes the value of a further tag out of the
    value that follows it."""

    __slots__ = ("at", "data", "hashed", "nodes", "other")

    def __init__(self, data: bytes, limits: Limits, other: "Further | None" = None) -> None:
        self.other = other
        self.data = data
        self.at = 0
        self.nodes = limits.nodes
        self.hashed = limits.hashed

    def read(self, depth: int) -> object:
        at = self.at
        self.nodes -= 1
        if self.nodes < 0:
            raise WireError("the value has too many parts")
        tag = self.data[at : at + 1]
        self.at = at + 1
        number = _NUMBERS.get(tag)
        if number is not None:
            self.at += number.size
            try:
                parts = number.unpack_from(self.data, at + 1)
            except StructError as error:
                raise WireError("the bytes end inside a number") from error
            return parts[0] if tag != b"c" else complex(*parts)
        if tag == b"s":
            try:
                return self._payload().decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise WireError("a string is not valid UTF-8") from error
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag == b"b":
            return self._payload()
        if tag == b"i":
            return int.from_bytes(self._payload(), "big", signed=True)
        return self._container(tag, depth)

    def _container(self, tag: bytes, depth: int) -> object:
        if tag not in (b"l", b"t", b"d", b"S", b"Z"):
            if self.other is None or not tag or depth <= 0:
                raise WireError("unknown tag")
            return self.other(tag, self.read(depth - 1))
        if depth <= 0:
            raise WireError("the value is nested too deeply")
        count = self._length()
        if count > len(self.data) - self.at:  # every item takes a byte at least
            raise WireError("the bytes end inside a container")
        if tag in (b"l", b"t"):
            read, inner = self.read, depth - 1
            items = [read(inner) for _ in range(count)]
            return items if tag == b"l" else tuple(items)
        self.hashed -= count
        if self.hashed < 0:
            raise WireError("the value has too many set or dict entries")
        try:
            if tag == b"d":
                return {self.read(depth - 1): self.read(depth - 1) for _ in range(count)}
            members = {self.read(depth - 1) for _ in range(count)}
        except TypeError as error:  # only a forger writes these
            raise WireError("an entry of a set or dict cannot be hashed") from error
        return members if tag == b"S" else frozenset(members)

    def _length(self) -> int:
        at = self.at
        self.at = at + 4
        try:
            return _LENGTH.unpack_from(self.data, at)[0]  # type: ignore[no-any-return]
        except StructError as error:
            raise WireError("the bytes end inside a length") from error

    def _payload(self) -> bytes:
        start = self.at + 4
        self.at = end = start + self._length()
        if end > len(self.data):
            raise WireError("the bytes end inside a payload")
        return self.data[start:end]


def canonical(value: object) -> bytes:
    """Bytes that are equal just when two plain values are of equal type and content.

    The order of sets and dicts does not matter. Unlike with `==`, NaN agrees with NaN, and 1, 1.0 and True differ.
    """
    kind = type(value)
    if kind is float:
        return b"fnan" if value != value else encode(value or 0.0)
    if kind in (list, tuple):
        parts = [canonical(item) for item in value]  # type: ignore[attr-defined]
    elif kind in (set, frozenset):
        parts = sorted(canonical(item) for item in value)  # type: ignore[attr-defined]
    elif kind is dict:
        parts = sorted(canonical(key) + canonical(item) for key, item in value.items())  # type: ignore[attr-defined]
    else:
        return encode(value)
    tag = b"d" if kind is dict else _SEQUENCES[kind]
    return tag + pack(">I", len(parts)) + b"".join(pack(">I", len(part)) + part for part in parts)
