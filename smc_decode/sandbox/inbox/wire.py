"""Tagged plain values: the only thing that crosses a box's wall.

A value is one tag byte and a payload. Only exact built-in types are written: an instance of a subclass (an `int`
whose `__eq__` always agrees, say) is refused, and a reader can only ever build exact built-in types. Reading is
bounded in bytes (by the caller), in depth, in nodes and in hashed entries, because the other side may be hostile.
"""

from _struct import pack, unpack_from  # `struct` would add an import for nothing


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
    _encode(value, out, limits.depth, limits.nodes)
    return b"".join(out)


def _encode(value: object, out: list[bytes], depth: int, max_nodes: int) -> None:
    kind = type(value)
    if len(out) > max_nodes:
        raise WireError("the value has too many parts")
    if value is None:
        out.append(b"N")
    elif kind is bool:
        out.append(b"T" if value else b"F")
    elif kind is int:
        number: int = value  # type: ignore[assignment]
        raw = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
        out.append(b"i" + pack(">I", len(raw)) + raw)
    elif kind is float:
        out.append(pack(">cd", b"f", value))
    elif kind is str:
        raw = value.encode("utf-8", "surrogatepass")  # type: ignore[attr-defined]
        out.append(b"s" + pack(">I", len(raw)) + raw)
    elif kind is bytes:
        out.append(b"b" + pack(">I", len(value)) + value)  # type: ignore[arg-type, operator]
    elif kind is complex:
        out.append(pack(">cdd", b"c", value.real, value.imag))  # type: ignore[attr-defined]
    elif kind in _SEQUENCES:
        if depth <= 0:
            raise WireError("the value is nested too deeply")
        out.append(_SEQUENCES[kind] + pack(">I", len(value)))  # type: ignore[arg-type]
        for item in value:  # type: ignore[attr-defined]
            _encode(item, out, depth - 1, max_nodes)
    elif kind is dict:
        if depth <= 0:
            raise WireError("the value is nested too deeply")
        out.append(b"d" + pack(">I", len(value)))  # type: ignore[arg-type]
        for key, item in value.items():  # type: ignore[attr-defined]
            _encode(key, out, depth - 1, max_nodes)
            _encode(item, out, depth - 1, max_nodes)
    else:
        raise WireError(f"a value of type {kind.__name__[:80]} is not a plain value")


_SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> object:
    """The value that `data` holds, all of it. Raises `WireError` if there is none within the limits."""
    reader = _Reader(data, limits)
    value = reader.read(limits.depth)
    if reader.at != len(data):
        raise WireError("bytes are left over after the value")
    return value


class _Reader:
    __slots__ = ("at", "data", "hashed", "nodes")

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.at = 0
        self.nodes = limits.nodes
        self.hashed = limits.hashed

    def read(self, depth: int) -> object:
        data, at = self.data, self.at
        self.nodes -= 1
        if self.nodes < 0:
            raise WireError("the value has too many parts")
        tag = data[at : at + 1]
        self.at = at + 1
        if tag == b"i":
            return int.from_bytes(self._payload(), "big", signed=True)
        if tag == b"s":
            try:
                return self._payload().decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise WireError("a string is not valid UTF-8") from error
        if tag == b"N":
            return None
        if tag == b"T":
            return True
        if tag == b"F":
            return False
        if tag == b"b":
            return self._payload()
        if tag in (b"f", b"c"):
            width = 8 if tag == b"f" else 16
            if at + 1 + width > len(data):
                raise WireError("the bytes end inside a number")
            self.at = at + 1 + width
            if tag == b"f":
                return unpack_from(">d", data, at + 1)[0]
            return complex(*unpack_from(">dd", data, at + 1))
        return self._container(tag, depth)

    def _container(self, tag: bytes, depth: int) -> object:
        if tag not in (b"l", b"t", b"d", b"S", b"Z"):
            raise WireError("unknown tag")
        if depth <= 0:
            raise WireError("the value is nested too deeply")
        count = self._length()
        if count > len(self.data) - self.at:  # every item takes a byte at least
            raise WireError("the bytes end inside a container")
        if tag in (b"l", b"t"):
            items = [self.read(depth - 1) for _ in range(count)]
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
        if at + 4 > len(self.data):
            raise WireError("the bytes end inside a length")
        self.at = at + 4
        return unpack_from(">I", self.data, at)[0]  # type: ignore[no-any-return]

    def _payload(self) -> bytes:
        length = self._length()
        end = self.at + length
        if end > len(self.data):
            raise WireError("the bytes end inside a payload")
        raw = self.data[self.at : end]
        self.at = end
        return raw


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
