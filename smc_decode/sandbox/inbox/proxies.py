"""Stand-ins for objects of the other side: attribute reads, calls and iteration go there, comparison never does.

A proxy can do what its object's class can do, so that `callable`, `hasattr` and `isinstance(..., Iterator)` say the
same. `==` and `hash` are by identity, and there is one proxy for one object, so that an object equals itself; `in`
looks through the items here. An operator whose other operand is a plain value tells the object what it is about to be
compared with: what it gives is *told*, and can no longer be turned into a number or a truth value.
"""

from .replicas import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from .peer import Peer

    About = tuple[str, str, int]

MAX_CLASSES = 1000
BASES = {kind.__name__: kind for kind in PLAIN}
# of a plain value these would be the checker's to answer
PREDICATES = frozenset({
    "startswith", "endswith", "issubset", "issuperset", "isdisjoint", "union", "intersection", "difference",
    "symmetric_difference",
})  # fmt: skip
ASKED = frozenset({
    "__name__", "__qualname__", "__doc__", "__module__", "__dict__", "__wrapped__", "__annotations__", "__members__",
    "__cause__", "__defaults__", "__self__", "__code__",
})  # fmt: skip


def describe(value: object) -> "About":
    """What the other side has to know of an object: the name and module of its class, and a mask of what it can do."""
    cls = type(value)
    has = {
        name
        for base in type.mro(cls)
        if base is not object
        for name, found in base.__dict__.items()
        if found is not None
    }
    able = sum(1 << bit for bit, name in enumerate(ABLE) if name in has)
    for bit, known in enumerate(("generator", "coroutine", "async_generator")):
        if cls.__name__ == known and cls.__module__ == "builtins":
            able |= GENERATOR << bit
    if "__dataclass_fields__" in cls.__dict__ and cls.__dict__["__dataclass_params__"].eq:
        able |= DATACLASS
    return (str(cls.__name__), str(cls.__module__), able)


def make(peer: "Peer", about: "About") -> object:
    """A proxy. Raises ValueError on a malformed description."""
    name, module, able = _checked(about)
    proxy = object.__new__(_class(CoroutineProxy if able & COROUTINE else Proxy, name, module, able))
    for field, value in (("_smc_peer", peer), ("_smc_able", able), ("_smc_told", False)):
        object.__setattr__(proxy, field, value)
    return proxy


def make_subclass(peer: "Peer", base: str, about: "About", content: object) -> object:
    """A plain value that has the attributes of an object of the other side."""
    name, module, _ = _checked(about)
    kind = BASES[base]
    cls: Any = _class(kind, name, module, 0, {"__getattr__": _get, "_smc_peer": peer, "_smc_told": False})
    if content is not None and type(content) is not kind:
        raise ValueError("not the plain value of a subclass")
    return cls() if content is None else cls(content)


def is_proxy(value: object) -> bool:
    return isinstance(value, Proxy)


def present(shared: "Any") -> object:
    """What code here gets for an object: for a coroutine one that can be awaited."""
    return _await(shared) if isinstance(shared, CoroutineProxy) else shared


def generator_of(proxy: "Any") -> "Generator[object, object, object] | None":
    """A generator that stands for one of the other side; None if the object is none."""
    return _generate(proxy) if proxy._smc_able & GENERATOR else None


async def _await(proxy: "Any") -> object:
    return proxy._smc_peer.ask("await", proxy)


def _generate(proxy: "Any") -> "Generator[object, object, object]":
    sent = None
    while True:
        try:
            given = proxy._smc_peer.ask("send", proxy, sent)
        except StopIteration:
            return None
        sent = yield given


_classes: "dict[tuple[type, str, str, int], type]" = {}


def _class(base: type, name: str, module: str, able: int, members: "dict[str, Any] | None" = None) -> "Any":
    """A class with the name of the object's own and what it can do, one for all objects that are alike in this."""
    key = (base, name, module, able)
    found = _classes.get(key)
    if found is None:
        if members is None:
            members = {method: ABLE[method] for bit, method in enumerate(ABLE) if able >> bit & 1}
            members |= _ASYNCHRONOUS if able & ASYNC_GENERATOR else {}
            members |= {"__slots__": (), "__doc__": property(lambda self: _get(self, "__doc__"))}
        if len(_classes) >= MAX_CLASSES:
            _classes.clear()
        found = _classes[key] = type(name, (base,), {**members, "__module__": module})
    return found


def _checked(about: object) -> "About":
    if type(about) is not tuple or len(about) != 3:
        raise ValueError("no description of an object")
    name, module, able = about
    if type(name) is not str or type(module) is not str or type(able) is not int or not 0 <= able < DATACLASS << 1:
        raise ValueError("no description of an object")
    return about


def _get(self: "Any", name: str) -> object:
    if (name.startswith("__") and name.endswith("__") and name not in ASKED) or name.startswith("_smc"):
        raise AttributeError(name)
    if name in PREDICATES and not self._smc_peer.open_interfaces:
        raise AttributeError(f"{name} of an object that is no plain value")
    return self._smc_peer.ask("get", self, name)


def _call(self: "Any", *args: object, **kwargs: object) -> object:
    return self._smc_peer.ask("call", self, args, tuple(kwargs.items()))


def _exit(self: "Any", kind: object, error: object, trace: object) -> object:
    return self._smc_peer.ask("exit", self, None if error is None else str(error))


def _asking(op: str, number: bool = False) -> "Any":
    """A method without operand. `number`: what it gives is a number or a truth value."""

    def method(self: "Any", *args: object) -> object:
        given = self._smc_peer.ask(op, self, *args)
        if number and self._smc_told:
            if not is_proxy(given) or given is self:
                raise TypeError(f"{op} of what an operator of the program has made of a plain value")
            object.__setattr__(given, "_smc_told", True)
        return given

    return method


def _operator(op: str, swapped: bool = False) -> "Any":
    def method(self: "Any", other: object) -> object:
        given = self._smc_peer.ask("operator", self, op, other, swapped)
        if is_proxy(other) and not self._smc_told and not other._smc_told:  # type: ignore[attr-defined]
            return given
        if not is_proxy(given):
            raise TypeError(f"an operator {op!r} of the program that makes a plain value of another")
        if given is self:
            raise TypeError(f"an operator {op!r} of the program that gives its object back")
        object.__setattr__(given, "_smc_told", True)
        return given

    return method


OPERATORS = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and_",
    "or_",
    "xor",
    "lshift",
    "rshift",
)
# methods that a proxy has just where its object's class has them; their order is that of the bits of a mask
ABLE: "dict[str, Any]" = {
    "__call__": _call,
    "__iter__": _asking("iter"),
    "__next__": _asking("next"),
    "__len__": _asking("len", number=True),
    "__getitem__": _asking("item"),
    "__setitem__": _asking("setitem"),
    "__delitem__": _asking("delitem"),
    "__reversed__": _asking("reversed"),
    "__int__": _asking("int", number=True),
    "__float__": _asking("float", number=True),
    "__complex__": _asking("complex", number=True),
    "__index__": _asking("index", number=True),
    "__abs__": _asking("abs", number=True),
    "__round__": _asking("round", number=True),
    "__bool__": _asking("bool", number=True),
    "__neg__": _asking("neg", number=True),
    "__pos__": _asking("pos", number=True),
    "__invert__": _asking("invert", number=True),
    "__enter__": _asking("enter"),
    "__exit__": _exit,
    **{f"__{name.rstrip('_')}__": _operator(name) for name in OPERATORS},
    **{f"__r{name.rstrip('_')}__": _operator(name, swapped=True) for name in OPERATORS},
}
GENERATOR = 1 << len(ABLE)
COROUTINE, ASYNC_GENERATOR, DATACLASS = GENERATOR << 1, GENERATOR << 2, GENERATOR << 3


class Proxy:
    """Stands for an object of the other side."""

    __slots__ = ("__weakref__", "_smc_able", "_smc_peer", "_smc_told")
    if TYPE_CHECKING:
        _smc_able: int
        _smc_peer: Peer
        _smc_told: bool

    __getattr__ = _get
    __str__ = _asking("str")
    __repr__ = _asking("repr")
    __format__ = _asking("format")

    def __setattr__(self, name: str, value: object) -> None:
        self._smc_peer.ask("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._smc_peer.ask("del", self, name)

    def __eq__(self, other: object) -> "Any":
        if self is other:
            return True
        if not isinstance(other, Proxy) or not self._smc_able & other._smc_able & DATACLASS:
            return NotImplemented
        if self._smc_told or other._smc_told:
            return NotImplemented
        mine, theirs = self._smc_peer.ask("fields", self), self._smc_peer.ask("fields", other)
        return type(self) is type(other) and type(mine) is tuple and mine == theirs

    def __hash__(self) -> int:
        return id(self)

    def __instancecheck__(self, value: object) -> bool:
        return self._smc_peer.is_theirs(value) and self._smc_peer.ask("isinstance", self, value) is True

    def __subclasscheck__(self, value: object) -> bool:
        return self._smc_peer.is_theirs(value) and self._smc_peer.ask("issubclass", self, value) is True

    @property
    def __signature__(self) -> object:
        import inspect

        given: Any = self._smc_peer.ask("signature", self)
        kinds = inspect.Parameter
        return inspect.Signature([
            inspect.Parameter(name, kind, default=default[0] if default else kinds.empty)
            for name, kind, default in given
        ])  # fmt: skip


class CoroutineProxy(Proxy):
    """Stands for a coroutine; code gets what `present` makes of it."""

    __slots__ = ()


def _itself(self: "Any") -> "Any":
    return self


async def _anext(self: "Any") -> object:
    found: Any = self._smc_peer.ask("anext", self)
    if not found:
        raise StopAsyncIteration
    return found[0]


_ASYNCHRONOUS = {"__aiter__": _itself, "__anext__": _anext}
