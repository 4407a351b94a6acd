"""What crosses the wall between checker and runner: values in which each object keeps its identity.

A frame is four values: new objects, the states of containers, numbers that are no longer used, and the message. Every
container that crosses gets a number, and both sides hold a copy under it; whoever sends a frame says what has changed
in the copies since the last one. As only one side runs at a time, both see what they would see in one process. An
object that is no plain value stays where it was made; the other side has a `Proxy` under its number.

The checker gives even numbers and the runner odd ones. What a frame may not do raises `WireError`.
"""

import sys
from _operator import is_

from . import errors, proxies, replicas, values
from .entries import Entry, is_of_attributes
from .wire import Limits, Reader, StructError, WireError, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .peer import Peer

LIMITS = Limits(depth=100, nodes=2_000_000, hashed=500_000)
FAULTS = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, StructError)
MESSAGE_ONLY, WITH_OBJECTS = b"\0", b"\1"
_probe = Entry(0, object())
UNHELD = sys.getrefcount(_probe.object)  # references to an object that only its entry holds


class Session:
    """Encodes and decodes frames, and knows the objects that both sides know.

    `classes` are those that both sides have under one name: an instance crosses as its attributes. `library`: the
    other side may be told to take an object of a library module by its name.
    """

    def __init__(self, peer: "Peer", first_number: int, library: bool) -> None:
        self.classes: dict[str, type] = {}
        self._peer = peer
        self._next = first_number
        self._theirs = 1 - first_number % 2
        self._library = library
        self._by_number: dict[int, Entry] = {}
        self._by_id: dict[int, Entry] = {}
        self._news: list[bytes] = []
        self._fresh: list[Entry] = []

    def add_home(self, shared: object) -> int:
        """Give an object of ours its number without telling the other side, which expects it."""
        entry = self._enter(shared, None, at_home=True)
        return entry.number

    def add_proxy(self, number: int, proxy: object) -> None:
        """The other side has an object under this number."""
        self._keep(Entry(number, proxy))

    def is_home(self, shared: object) -> bool:
        """Whether the other side has a proxy for this object of ours."""
        entry = self._by_id.get(id(shared))
        return entry is not None and entry.at_home

    def is_theirs(self, shared: object) -> bool:
        """Whether this stands for an object of the other side."""
        entry = self._by_id.get(id(shared))
        return entry is not None and entry.number % 2 == self._theirs

    # -- writing ------------------------------------------------------------------------------------------------------

    def encode(self, message: object, max_size: int) -> bytes:
        """A frame. Raises `WireError` if the message cannot be sent or is too long; then nothing has happened."""
        first = self._next
        self._news, self._fresh = [], []
        drops, written = self._sweep() if self._by_number else ([], [])
        try:
            out: list[bytes] = []
            self._write(message, out)
            states: list[bytes] = []
            for entry, parts in written:
                self._write((entry.number, parts), states)
            done = 0
            while done < len(self._fresh):  # writing one may bring further ones
                entry = self._fresh[done]
                done += 1
                if entry.is_container:
                    written.append((entry, entry.read()))
                    self._write((entry.number, written[-1][1]), states)
            frame = self._assembled(len(written), states, drops, out)
            if len(frame) > max_size:
                raise WireError(f"the value takes {len(frame)} bytes, more than {max_size}")
        except BaseException as error:
            for entry in self._fresh:
                self._forget(entry)
            self._next = first
            if isinstance(error, FAULTS):
                raise WireError(f"a value cannot be sent: {error}") from error
            raise
        for entry, parts in written:
            entry.parts = parts
        for entry in drops:
            self._forget(entry)
        return frame

    def _assembled(self, written: int, states: list[bytes], drops: list[Entry], message: list[bytes]) -> bytes:
        if not (self._news or written or drops):
            return b"".join([MESSAGE_ONLY, *message])
        gone: list[bytes] = []
        write(tuple([entry.number for entry in drops]), gone, 2, LIMITS.nodes)
        news = [WITH_OBJECTS, len(self._news).to_bytes(4, "big"), *self._news]
        return b"".join([*news, written.to_bytes(4, "big"), *states, *gone, *message])

    def _write(self, value: object, out: list[bytes]) -> None:
        write(value, out, LIMITS.depth, LIMITS.nodes, self._other)

    def _sweep(self) -> "tuple[list[Entry], list[tuple[Entry, tuple[object, ...]]]]":
        """Entries that nothing here holds any longer, and containers that have changed, with their parts."""
        drops, changed = [], []
        for entry in self._by_number.values():
            if not entry.at_home and sys.getrefcount(entry.object) == UNHELD:
                drops.append(entry)
            if entry.is_container:
                parts = entry.read()
                if len(parts) != len(entry.parts) or not (
                    all(map(is_, parts, entry.parts)) or (type(parts[0]) is bytes and parts == entry.parts)
                ):
                    changed.append((entry, parts))
        return drops, changed

    def _other(self, value: object, out: list[bytes], depth: int) -> None:
        """Write what is neither a scalar nor a tuple."""
        entry = self._by_id.get(id(value))
        if entry is None:
            kind = replicas.kind_of(value)
            apart = None if kind is not None else values.take_apart(value) or self._by_name(value)
            if apart is not None:
                out.append(b"x")
                write(apart, out, depth - 1, LIMITS.nodes, self._other)
                return
            entry = self._introduce(value, kind, depth)
        out.append(b"r")
        write(entry.number, out, depth, LIMITS.nodes)

    def _by_name(self, value: object) -> "tuple[object, ...] | None":
        """A function or class of a library module, where the other side trusts us with names."""
        if not self._library:
            return None
        module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
        if type(name) is not str or module not in sys.stdlib_module_names:
            return None
        return ("named", module, name) if getattr(sys.modules.get(module), name, None) is value else None

    def _introduce(self, value: object, kind: "replicas.Kind | None", depth: int) -> Entry:
        """Give an object a number, and tell the other side what to make for it."""
        if kind is not None:
            entry = self._enter(value, kind)
            self._tell(entry, kind.name, kind.extra(value) if kind.extra else None, depth)
            return entry
        cls = type(value)
        if self.classes.get(cls.__name__) is cls and is_of_attributes(value, cls):
            entry = self._enter(value, None, fields=True)
            self._tell(entry, "instance", cls.__name__, depth)
            return entry
        if isinstance(value, type):
            entry = self._enter(value, None, at_home=True)
            error = issubclass(value, BaseException)
            about = errors.lineage(value, self.classes) if error else proxies.describe(value)
            self._tell(entry, "error" if error else "proxy", about, depth)
            return entry
        return self._introduce_object(value, cls, depth)

    def _introduce_object(self, value: object, cls: type, depth: int) -> Entry:
        base = replicas.base_of(cls)
        kind = None if base is None else replicas.MUTABLE_BASES.get(base)
        entry = self._enter(value, kind, at_home=True)
        about = proxies.describe(value)
        if base is None:
            self._tell(entry, "proxy", about, depth)
        else:
            content = None if kind is not None else base(*_content(base, value))
            self._tell(entry, "subclass", (base.__name__, about, content), depth)
        return entry

    def _tell(self, entry: Entry, kind: str, extra: object, depth: int) -> None:
        out: list[bytes] = []
        write((entry.number, kind, extra), out, depth - 1, LIMITS.nodes, self._other)
        self._news.append(b"".join(out))  # after those that `extra` refers to

    def _enter(
        self, shared: object, kind: "replicas.Kind | None", at_home: bool = False, fields: bool = False
    ) -> Entry:
        entry = Entry(self._next, shared, kind, at_home, fields)
        self._next += 2
        self._keep(entry)
        self._fresh.append(entry)
        return entry

    def _keep(self, entry: Entry) -> None:
        self._by_number[entry.number] = entry
        self._by_id[id(entry.object)] = entry

    def _forget(self, entry: Entry) -> None:
        self._by_number.pop(entry.number, None)
        self._by_id.pop(id(entry.object), None)
        self._by_id.pop(entry.alias, None)

    # -- reading ------------------------------------------------------------------------------------------------------

    def decode(self, data: bytes) -> object:
        """The message of a frame, once all that the frame says of objects has been done."""
        reader = Reader(data, LIMITS, self._further)
        reader.at = 1
        try:
            if data[:1] == MESSAGE_ONLY:
                message = reader.read(LIMITS.depth)
                if reader.at != len(data):
                    raise WireError("bytes are left over after the message")
                return message
            for _ in range(self._count(reader)):
                self._create(reader.read(LIMITS.depth))
            states = [reader.read(LIMITS.depth) for _ in range(self._count(reader))]
            gone = reader.read(2)
            message = reader.read(LIMITS.depth)
            if reader.at != len(data):
                raise WireError("bytes are left over after the message")
            self._write_states(states)
            for number in gone:  # type: ignore[attr-defined]
                entry = self._by_number.get(number)
                if entry is not None:
                    self._forget(entry)
        except WireError:
            raise
        except Exception as error:  # a constructor of the library's, or a hash of the prompt's, may raise anything
            raise WireError(f"a frame that makes no sense: {type(error).__name__}: {error}") from error
        return message

    @staticmethod
    def _count(reader: Reader) -> int:
        at = reader.at
        reader.at = at + 4
        return int.from_bytes(reader.data[at : at + 4], "big")

    def _further(self, tag: bytes, value: object) -> object:
        if tag == b"r":
            return proxies.present(self._by_number[value].object)  # type: ignore[index]
        if tag != b"x":
            raise WireError("unknown tag")
        if not self._library and type(value) is tuple and value[:1] == ("named",):
            __import__(value[1])
            return getattr(sys.modules[value[1]], value[2])
        return values.put_together(value)

    def _create(self, news: "Any") -> None:
        number, kind, extra = news
        if type(number) is not int or number % 2 != self._theirs or number in self._by_number:
            raise WireError("a number that is not the other side's to give")
        if kind == "instance":
            cls = self.classes[extra]
            self._keep(Entry(number, object.__new__(cls), fields=True))
        elif kind == "proxy":
            proxy = proxies.make(self._peer, extra)
            generator = proxies.generator_of(proxy)
            self._keep(Entry(number, generator or proxy))
            if generator is not None:  # it asks by way of the proxy
                self._by_id[id(proxy)] = self._by_number[number]
                self._by_number[number].alias = id(proxy)
        elif kind == "error":
            self._keep(Entry(number, self._peer.errors.class_of(extra)))
        elif kind == "subclass":
            base, about, content = extra
            self._keep(Entry(number, proxies.make_subclass(self._peer, base, about, content), _mutable(base)))
        else:
            found = replicas.KINDS[kind]
            self._keep(Entry(number, found.make(extra), found))

    def _write_states(self, states: "list[Any]") -> None:
        """Attributes first and what is hashed last, since a hash may ask for attributes."""
        found: list[Any] = []
        for number, parts in states:
            entry = self._by_number[number]
            if not entry.is_container or type(parts) is not tuple:
                raise WireError("a state for what is no container")
            rank = 0 if entry.kind is None else 1 + entry.kind.hashed
            found.append((rank, len(found), entry, parts))
        for _, _, entry, parts in sorted(found, key=lambda item: item[:2]):
            entry.write(parts)


def _content(base: type, value: "Any") -> tuple[object, ...]:
    """Arguments that make the plain value which an instance of a subclass of `base` holds."""
    if base in (tuple, frozenset):
        return (tuple(base.__iter__(value)),)
    if base is str:
        return (str.__getitem__(value, slice(None)),)
    if base is bytes:
        return (bytes(memoryview(value)),)
    if base is int:
        return (int.__index__(value),)
    if base is float:
        return (float.__float__(value),)
    return (complex.__complex__(value),)


def _mutable(base: object) -> "replicas.Kind | None":
    return replicas.KINDS.get(base) if base in ("list", "dict", "set", "bytearray") else None
