"""Stand-ins for objects of the other side: attribute reads, calls and iteration go there, comparison never does.

`==` and `hash` are by identity, and there is one proxy for one object, so that an object equals itself. An operator
whose other operand is a plain value tells the object what it is about to be compared with: what such an operator gives
is *told*, and can no longer be turned into a number or a truth value. `in` looks through the object's items here.
"""

from .replicas import PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .peer import Peer

    About = tuple[str, str, tuple[str, ...]]

MAX_CLASSES = 1000
BASES = {kind.__name__: kind for kind in PLAIN}
ABLE = frozenset({"coroutine", "asyncgen", "dataclass"})
# of a plain value these would be the checker's to answer
PREDICATES = frozenset({"startswith", "endswith", "issubset", "issuperset", "isdisjoint"})
ASKED = frozenset({"__name__", "__qualname__", "__doc__", "__module__", "__dict__", "__wrapped__", "__annotations__",
                   "__members__", "__cause__", "__defaults__", "__self__", "__code__"})  # fmt: skip


def describe(value: object) -> "About":
    """What the other side has to know of an object: the name and module of its class, and what it can do."""
    cls = type(value)
    able = []
    if cls.__name__ == "coroutine":
        able.append("coroutine")
    elif cls.__name__ == "async_generator":
        able.append("asyncgen")
    elif "__dataclass_fields__" in cls.__dict__ and cls.__dict__["__dataclass_params__"].eq:
        able.append("dataclass")
    return (str(cls.__name__), str(cls.__module__), tuple(able))


def make(peer: "Peer", about: "About") -> object:
    """A proxy. Raises ValueError on a malformed description."""
    name, module, able = _checked(about)
    kind = CoroutineProxy if "coroutine" in able else AsyncProxy if "asyncgen" in able else Proxy
    proxy = object.__new__(
        _class(kind, name, module, {"__slots__": (), "__doc__": property(lambda self: _get(self, "__doc__"))})
    )
    for field, value in (("_smc_peer", peer), ("_smc_able", able), ("_smc_told", False)):
        object.__setattr__(proxy, field, value)
    return proxy


def make_subclass(peer: "Peer", base: str, about: "About", content: object) -> object:
    """A plain value that has the attributes of an object of the other side."""
    name, module, _ = _checked(about)
    kind = BASES[base]
    cls = _class(kind, name, module, {"__getattr__": _get, "_smc_peer": peer, "_smc_told": False})
    if content is not None and type(content) is not kind:
        raise ValueError("not the plain value of a subclass")
    return cls() if content is None else cls(content)


def is_proxy(value: object) -> bool:
    return isinstance(value, Proxy)


def _checked(about: object) -> "About":
    if type(about) is not tuple or len(about) != 3:
        raise ValueError("no description of an object")
    name, module, able = about
    if type(name) is not str or type(module) is not str or type(able) is not tuple or not ABLE.issuperset(able):
        raise ValueError("no description of an object")
    return about


def present(shared: "Any") -> object:
    """What code here gets for an object: for a coroutine one that can be awaited."""
    return _await(shared) if isinstance(shared, CoroutineProxy) else shared


async def _await(proxy: "Any") -> object:
    return proxy._smc_peer.ask("await", proxy)


_classes: "dict[tuple[type, str, str], type]" = {}


def _class(base: type, name: str, module: str, members: "dict[str, Any]") -> "Any":
    """A class with the name of the object's own, one for all objects of that name."""
    key = (base, name, module)
    found = _classes.get(key)
    if found is None:
        if len(_classes) >= MAX_CLASSES:
            _classes.clear()
        found = _classes[key] = type(name, (base,), {**members, "__module__": module})
    return found


def _get(self: "Any", name: str) -> object:
    if (name.startswith("__") and name.endswith("__") and name not in ASKED) or name.startswith("_smc"):
        raise AttributeError(name)
    if name in PREDICATES and not self._smc_peer.open_interfaces:
        raise AttributeError(f"{name} of an object that is no plain value")
    return self._smc_peer.ask("get", self, name)


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
        if given is not self:
            object.__setattr__(given, "_smc_told", True)
            return given
        raise TypeError(f"an operator {op!r} of the program that gives its object back")

    return method


class Proxy:
    """Stands for an object of the other side."""

    __slots__ = ("__weakref__", "_smc_able", "_smc_peer", "_smc_told")
    if TYPE_CHECKING:
        _smc_able: tuple[str, ...]
        _smc_peer: Peer
        _smc_told: bool

    __getattr__ = _get
    __iter__ = _asking("iter")
    __next__ = _asking("next")
    __len__ = _asking("len", number=True)
    __getitem__ = _asking("item")
    __setitem__ = _asking("setitem")
    __delitem__ = _asking("delitem")
    __reversed__ = _asking("reversed")
    __str__ = _asking("str")
    __repr__ = _asking("repr")
    __format__ = _asking("format")
    __int__ = _asking("int", number=True)
    __float__ = _asking("float", number=True)
    __complex__ = _asking("complex", number=True)
    __index__ = _asking("index", number=True)
    __abs__ = _asking("abs", number=True)
    __round__ = _asking("round", number=True)
    __bool__ = _asking("bool", number=True)
    __neg__ = _asking("neg", number=True)
    __pos__ = _asking("pos", number=True)
    __invert__ = _asking("invert", number=True)
    __enter__ = _asking("enter")

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self._smc_peer.ask("call", self, args, tuple(kwargs.items()))

    def __setattr__(self, name: str, value: object) -> None:
        self._smc_peer.ask("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._smc_peer.ask("del", self, name)

    def __exit__(self, kind: object, error: object, trace: object) -> object:
        return self._smc_peer.ask("exit", self, None if error is None else str(kind))

    def __contains__(self, item: object) -> bool:
        items: Any = self
        return any(item is each or item == each for each in items)

    def __eq__(self, other: object) -> "Any":
        if self is other or not is_proxy(other) or self._smc_told or other._smc_told:  # type: ignore[attr-defined]
            return True if self is other else NotImplemented
        if "dataclass" not in self._smc_able or "dataclass" not in other._smc_able:  # type: ignore[attr-defined]
            return NotImplemented
        mine, theirs = self._smc_peer.ask("fields", self), self._smc_peer.ask("fields", other)
        return type(mine) is tuple and mine == theirs

    def __hash__(self) -> int:
        return id(self)

    def __instancecheck__(self, value: object) -> bool:
        return is_proxy(value) and self._smc_peer.ask("isinstance", self, value) is True

    def __subclasscheck__(self, value: object) -> bool:
        return is_proxy(value) and self._smc_peer.ask("issubclass", self, value) is True

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


class AsyncProxy(Proxy):
    """Stands for an asynchronous generator."""

    __slots__ = ()

    def __aiter__(self) -> "AsyncProxy":
        return self

    async def __anext__(self) -> object:
        found: Any = self._smc_peer.ask("anext", self)
        if not found:
            raise StopAsyncIteration
        return found[0]


for _name in (
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
):
    _bare = _name.rstrip("_")
    setattr(Proxy, f"__{_bare}__", _operator(_name))
    setattr(Proxy, f"__r{_bare}__", _operator(_name, swapped=True))
