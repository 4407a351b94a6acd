"""Immutable values of the standard library that cross the wall as a name and plain parts: dates, Decimals, ranges, ...

The reader builds them with its own library, so their comparisons are the library's and never the program's.
"""

import builtins
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Parts = tuple[object, ...]

CONSTANTS = {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}


def take_apart(value: object) -> "Parts | None":
    """The kind of a value and what to make it of; None if it is not one of these (or of a subclass of theirs)."""
    kind = type(value)
    if kind is type:
        known = getattr(builtins, value.__name__, None) is value  # type: ignore[attr-defined]
        return ("type", value.__name__) if known else _library_type(value)  # type: ignore[attr-defined, arg-type]
    if value is Ellipsis or value is NotImplemented:
        return ("constant", repr(value))
    apart = _APART.get((kind.__module__, kind.__name__))
    if apart is None or not _is_the_librarys(kind):
        return None
    parts = apart(value)
    return None if parts is None else (kind.__name__, *parts)


def put_together(parts: object) -> object:
    """The value that `take_apart` took apart. Raises ValueError on what it did not make."""
    if type(parts) is not tuple or not parts or type(parts[0]) is not str:
        raise ValueError("no value of the standard library")
    name, *rest = parts
    if name == "type":
        return _type(*rest)
    if name == "constant":
        return CONSTANTS[rest[0]]
    module = next((module for module, known in _APART if known == name), None)
    if module is None:
        raise ValueError("no value of the standard library")
    make: Any = _MAKE.get(name) or getattr(_import(module), name)
    return make(*rest)


def _type(name: object, module: object = "builtins") -> object:
    found = getattr(_import(module), name, None) if type(name) is str and module in _TYPE_MODULES else None
    if not isinstance(found, type):
        raise ValueError("no type of the standard library")
    return found


def _library_type(value: type) -> "Parts | None":
    module = value.__module__
    known = module in _TYPE_MODULES and getattr(sys.modules.get(module), value.__name__, None) is value
    return ("type", value.__name__, module) if known else None


def _is_the_librarys(kind: type) -> bool:
    return kind.__module__ == "builtins" or getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind


def _import(module: object) -> object:
    __import__(str(module))
    return sys.modules[str(module)]


def _zone(value: "Any") -> "Parts | None":
    """Parts of a `datetime` or `time`; None where its zone is more than an offset."""
    zone = value.tzinfo
    if zone is not None and take_apart(zone) is None:
        return None
    day = (value.year, value.month, value.day) if hasattr(value, "year") else ()
    return (*day, value.hour, value.minute, value.second, value.microsecond, zone, value.fold)


def _with_zone(name: str) -> "Callable[..., object]":
    return lambda *parts: getattr(_import("datetime"), name)(*parts[:-1], fold=parts[-1])


_TYPE_MODULES = ("builtins", "collections", "datetime", "decimal", "fractions")
_APART: "dict[tuple[str, str], Callable[[Any], Parts | None]]" = {
    ("builtins", "range"): lambda value: (value.start, value.stop, value.step),
    ("builtins", "slice"): lambda value: (value.start, value.stop, value.step),
    ("builtins", "dict_keys"): lambda value: tuple(value),
    ("builtins", "dict_values"): lambda value: tuple(value),
    ("builtins", "dict_items"): lambda value: tuple(value),
    ("decimal", "Decimal"): lambda value: (str(value),),
    ("fractions", "Fraction"): lambda value: (value.numerator, value.denominator),
    ("datetime", "date"): lambda value: (value.year, value.month, value.day),
    ("datetime", "datetime"): _zone,
    ("datetime", "time"): _zone,
    ("datetime", "timedelta"): lambda value: (value.days, value.seconds, value.microseconds),
    ("datetime", "timezone"): lambda value: (value.utcoffset(None),),
    ("uuid", "UUID"): lambda value: (value.hex,),
}
_MAKE: "dict[str, Callable[..., object]]" = {
    "dict_keys": lambda *keys: dict.fromkeys(keys).keys(),
    "dict_values": lambda *values: dict(enumerate(values)).values(),
    "dict_items": lambda *items: dict(items).items(),
    "datetime": _with_zone("datetime"),
    "time": _with_zone("time"),
}
