"""Containers that both sides of the wall hold a copy of: how each kind is made, read and written.

Reading and writing go by the base type's own methods, so that a subclass of the program's is taken for what it holds.
`read` gives a flat tuple of parts, `write` replaces all that the container holds.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Parts = tuple[object, ...]


class Kind:
    """One kind of container. `extra(container)`: what it is made with beside its parts; `hashed`: these are hashed."""

    def __init__(
        self,
        name: str,
        make: "Callable[[Any], object]",
        read: "Callable[[Any], Parts]",
        write: "Callable[[Any, Parts], None]",
        extra: "Callable[[Any], object] | None" = None,
        hashed: bool = False,
    ) -> None:
        self.name = name
        self.make = make
        self.read = read
        self.write = write
        self.extra = extra
        self.hashed = hashed


def kind_of(value: object) -> "Kind | None":
    """The kind of a container of exactly one of these types."""
    kind = type(value)
    found = _BUILTIN.get(kind)
    if found is None and kind.__module__ in ("collections", "array"):
        name = kind.__name__
        if name in KINDS and getattr(sys.modules.get(kind.__module__), name, None) is kind:
            return KINDS[name]
    return found


def base_of(kind: type) -> "type | None":
    """The plain type that a class is a subclass of."""
    for base in PLAIN:
        if base in type.mro(kind)[1:]:
            return base
    return None


def _write_list(container: "Any", parts: "Parts") -> None:
    list.__setitem__(container, slice(None), parts)


def _read_dict(container: "Any") -> "Parts":
    return (*dict.keys(container), *dict.values(container))


def _write_dict(container: "Any", parts: "Parts") -> None:
    half = len(parts) // 2
    dict.clear(container)
    dict.update(container, zip(parts[:half], parts[half:], strict=True))


def _write_ordered(container: "Any", parts: "Parts") -> None:
    half = len(parts) // 2
    container.clear()
    for key, value in zip(parts[:half], parts[half:], strict=True):
        container[key] = value


def _write_set(container: "Any", parts: "Parts") -> None:
    set.clear(container)
    set.update(container, parts)


def _write_bytes(container: "Any", parts: "Parts") -> None:
    (content,) = parts
    if type(content) is not bytes:
        raise ValueError("no bytes")
    bytearray.__setitem__(container, slice(None), content)


def _write_deque(container: "Any", parts: "Parts") -> None:
    container.clear()
    container.extend(parts)


def _write_array(container: "Any", parts: "Parts") -> None:
    del container[:]
    container.extend(parts)


def _collections(name: str) -> "Any":
    import collections

    return getattr(collections, name)


def _make_array(code: "Any") -> object:
    import array

    return array.array(code)


def _make_deque(size: "Any") -> object:
    return _collections("deque")((), size)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("list", lambda _: [], lambda value: (*list.__iter__(value),), _write_list),
        Kind("dict", lambda _: {}, _read_dict, _write_dict, hashed=True),
        Kind("set", lambda _: set(), lambda value: (*set.__iter__(value),), _write_set, hashed=True),
        Kind("bytearray", lambda _: bytearray(), lambda value: (bytes(memoryview(value)),), _write_bytes),
        Kind("deque", _make_deque, tuple, _write_deque, lambda value: value.maxlen),
        Kind("Counter", lambda _: _collections("Counter")(), _read_dict, _write_dict, hashed=True),
        Kind("OrderedDict", lambda _: _collections("OrderedDict")(), lambda value: (*value, *value.values()),
             _write_ordered, hashed=True),
        Kind("defaultdict", lambda make: _collections("defaultdict")(make), _read_dict, _write_dict,
             lambda value: value.default_factory, hashed=True),
        Kind("array", _make_array, tuple, _write_array, lambda value: value.typecode),
    )
}  # fmt: skip
_BUILTIN: dict[type, Kind] = {
    list: KINDS["list"],
    dict: KINDS["dict"],
    set: KINDS["set"],
    bytearray: KINDS["bytearray"],
}
MUTABLE_BASES: dict[type, Kind] = dict(_BUILTIN)
PLAIN = (int, str, float, tuple, list, dict, set, frozenset, bytes, bytearray, complex)
