"""What one side may ask of an object of the other: each operation, and how it is done."""

import _operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OPERATORS = frozenset({
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift",
})  # fmt: skip


def perform(op: object, args: "tuple[Any, ...]") -> object:
    """Do it, and give the result. What the object raises comes out; so does ValueError for no operation."""
    done = OPERATIONS.get(op)  # type: ignore[call-overload]
    if done is None:
        raise ValueError(f"no operation: {op!r}")
    return done(*args)


def _apply(name: str, one: object, other: object, swapped: bool) -> object:
    if name not in OPERATORS:
        raise ValueError(f"no operator: {name!r}")
    apply = getattr(_operator, name)
    return apply(other, one) if swapped else apply(one, other)


def _exit(manager: "Any", error: "str | None") -> object:
    raised = None if error is None else RuntimeError(error)
    return type(manager).__exit__(manager, None if raised is None else type(raised), raised, None)


def _signature(function: "Any") -> object:
    import inspect

    found = []
    for parameter in inspect.signature(function).parameters.values():
        default = () if parameter.default is inspect.Parameter.empty else (parameter.default,)
        found.append((str(parameter.name), int(parameter.kind), default))
    return tuple(found)


def _run(awaitable: "Any") -> object:
    return _loop().run_until_complete(awaitable)


def _anext(generator: "Any") -> object:
    try:
        return (_loop().run_until_complete(generator.__anext__()),)
    except StopAsyncIteration:
        return ()


_loops: "list[Any]" = []


def _loop() -> "Any":
    """The event loop for all coroutines of this process."""
    if not _loops:
        import asyncio

        _loops.append(asyncio.new_event_loop())
    return _loops[0]


def _fields(instance: "Any") -> object:
    return tuple(
        [getattr(instance, name) for name, field in type(instance).__dataclass_fields__.items() if field.compare]
    )


OPERATIONS: "dict[str, Callable[..., object]]" = {
    "call": lambda target, args, kwargs: target(*args, **dict(kwargs)),
    "get": lambda target, name: getattr(target, name),
    "set": setattr,
    "del": delattr,
    "iter": iter,
    "send": lambda target, value: target.send(value),
    "next": lambda target: type(target).__next__(target),
    "len": len,
    "item": lambda target, key: target[key],
    "setitem": _operator.setitem,
    "delitem": _operator.delitem,
    "reversed": reversed,
    "str": str,
    "repr": repr,
    "format": format,
    "int": int,
    "float": float,
    "complex": complex,
    "index": _operator.index,
    "abs": abs,
    "round": round,
    "bool": bool,
    "neg": _operator.neg,
    "pos": _operator.pos,
    "invert": _operator.invert,
    "operator": lambda one, name, other, swapped: _apply(name, one, other, swapped),
    "enter": lambda manager: type(manager).__enter__(manager),
    "exit": _exit,
    "await": _run,
    "anext": _anext,
    "signature": _signature,
    "fields": _fields,
    "isinstance": lambda kind, value: kind in type(value).__mro__,
    "issubclass": lambda kind, value: kind in value.__mro__,
}
