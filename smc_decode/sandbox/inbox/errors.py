"""Exceptions cross the wall as the names of their classes, their arguments and their attributes.

They are raised on the other side as the nearest class that it knows itself: a built-in one, one of a library module,
or one that the prompt defines. A class of the program's own becomes a subclass, of the same name, of the nearest.
"""

import builtins
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Lineage = tuple[tuple[str, str], ...]

MESSAGE_LENGTH = 300
MAX_CLASSES = 1000
SHARED = "!"  # stands for the module of a class that both sides know by its name


def describe(error: BaseException) -> tuple[str, list[str], str]:
    """An exception as plain values: type name, the names of its built-in bases (nearest first), message."""
    kind = type(error)
    bases = [base.__name__ for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base]
    return kind.__name__, bases, message_of(error)


def message_of(error: BaseException) -> str:
    try:
        return str(error)[:MESSAGE_LENGTH]
    except BaseException:
        return ""


def lineage(kind: type, shared: dict[str, type]) -> "Lineage":
    """The classes that an exception's class descends from, nearest first, as (module, name)."""
    found = []
    for base in type.mro(kind):
        name = str(base.__name__)
        module = SHARED if shared.get(name) is base else str(base.__module__)
        if module != SHARED and getattr(sys.modules.get(module), name, None) is not base:
            module = ""  # it only claims to be from there
        found.append((module, name))
    return tuple(found)


def arguments(error: BaseException) -> tuple[object, ...]:
    """What an exception is made with."""
    if isinstance(error, OSError) and error.filename is not None:
        return (error.errno, error.strerror, error.filename)
    return tuple(error.args)


def attributes(error: BaseException) -> "tuple[tuple[str, object], ...]":
    return tuple((name, value) for name, value in vars(error).items() if type(name) is str and name[:1] != "_")


class Errors:
    """Classes of exceptions that the other side names. `shared`: those that both sides know by name."""

    def __init__(self, shared: dict[str, type]) -> None:
        self._shared = shared
        self._made: dict[tuple[tuple[str, str], type], type] = {}

    def class_of(self, lineage: object) -> type:
        """The class, or one made after it. Raises ValueError for what is no lineage of an exception."""
        names = [item for item in lineage if type(item) is tuple and len(item) == 2]  # type: ignore[attr-defined]
        if not names or any(type(part) is not str for item in names for part in item):
            raise ValueError("no class of an exception")
        for depth, (module, name) in enumerate(names):
            known = self._known(module, name)
            if known is not None:
                return known if depth == 0 else self._after(names[0], known)
        raise ValueError("no class of an exception")

    def _known(self, module: str, name: str) -> type | None:
        if module == SHARED:
            known: Any = self._shared.get(name)
        elif module.partition(".")[0] in sys.stdlib_module_names:
            known = getattr(sys.modules.get(module), name, None)
        else:
            return None
        return known if isinstance(known, type) and issubclass(known, BaseException) else None

    def _after(self, named: tuple[str, str], base: type) -> type:
        made = self._made.get((named, base))
        if made is None:
            if len(self._made) >= MAX_CLASSES:
                self._made.clear()
            made = self._made[named, base] = type(named[1], (base,), {"__module__": named[0] or "candidate"})
        return made


def make(kind: "Any", args: object, attributes: object, message: str) -> BaseException:
    """An exception of that class, with these arguments and attributes."""
    given = args if type(args) is tuple else (message,)
    try:
        error = kind(*given) if kind.__module__ == "builtins" else kind.__new__(kind, *given)
    except Exception:  # some want other arguments than those that they keep
        error = kind.__new__(kind)
    if not isinstance(error, OSError):
        error.args = given
    if not str(error) and message and not given:
        error.args = (message,)
    for name, value in attributes if type(attributes) is tuple else ():
        if type(name) is str and name[:1] != "_" and not callable(getattr(kind, name, None)):
            try:
                setattr(error, name, value)
            except (AttributeError, TypeError):
                continue
    return error  # type: ignore[no-any-return]
