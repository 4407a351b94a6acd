"""What a test may use of pytest: `raises`, `approx`, `fixture`, `mark.parametrize`, `param`, `fail`.

A stand-in: pytest itself takes longer to import than three verdicts take, and assertions are counted as written. What
is not here is said by name, so that no test is taken for one that passed.
"""

import sys

from .candidate import TestFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

SETS, FIXTURE = "_smc_sets", "_smc_fixture"
_FUNCTION = type(lambda: None)
_GENERATOR = type(each for each in "")


def install() -> None:
    """Make `import pytest` find this."""
    sys.modules["pytest"] = sys.modules[__name__]


def __getattr__(name: str) -> "Any":
    if name.startswith("_"):
        raise AttributeError(name)
    raise TestFault(f"pytest.{name} is not known here")


class ExceptionInfo:
    """What `with raises(...) as info` gives."""

    def __init__(self) -> None:
        self.value: BaseException | None = None

    @property
    def type(self) -> "type[BaseException] | None":
        return None if self.value is None else type(self.value)

    def match(self, pattern: str) -> bool:
        import re

        if not re.search(pattern, str(self.value)):
            raise AssertionError(f"{pattern!r} does not match {str(self.value)!r}")
        return True


class _Raises:
    def __init__(self, expected: "Any", match: "str | None") -> None:
        self._expected = expected
        self._match = match
        self._info = ExceptionInfo()

    def __enter__(self) -> ExceptionInfo:
        return self._info

    def __exit__(self, kind: "type[BaseException] | None", error: "BaseException | None", _: object) -> bool:
        if kind is None or error is None:
            raise AssertionError(f"did not raise {self._expected}")
        if not issubclass(kind, self._expected):
            return False
        self._info.value = error
        if self._match is not None:
            self._info.match(self._match)
        return True


def raises(expected: "Any", *args: "Any", match: "str | None" = None, **kwargs: "Any") -> "Any":
    """As pytest's: a context manager, or with a function and its arguments a call."""
    if not args:
        return _Raises(expected, match)
    function, *rest = args
    context = _Raises(expected, match)
    with context as info:
        function(*rest, **kwargs)
    return info


class _Approx:
    """Equal to what is within the greater of `rel` times the expected value and `abs`."""

    def __init__(self, expected: "Any", rel: "float | None", abs_: "float | None", nan_ok: bool) -> None:
        self._expected = expected
        self._rel, self._abs, self._nan_ok = rel, abs_, nan_ok

    def __eq__(self, actual: object) -> bool:
        return self._near(actual, self._expected)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"approx({self._expected!r})"

    def _near(self, actual: "Any", expected: "Any") -> bool:
        if isinstance(expected, dict):
            return (
                isinstance(actual, dict)
                and actual.keys() == expected.keys()
                and all(self._near(actual[key], expected[key]) for key in expected)
            )
        if isinstance(expected, (list, tuple)):
            return (
                isinstance(actual, (list, tuple))
                and len(actual) == len(expected)
                and all(map(self._near, actual, expected))
            )
        if isinstance(expected, bool) or not isinstance(expected, (int, float, complex)):
            return bool(actual == expected)
        if isinstance(actual, bool) or not isinstance(actual, (int, float, complex)):
            return False
        return self._close(actual, expected)

    def _close(self, actual: "Any", expected: "Any") -> bool:
        if actual == expected:
            return True
        if expected != expected:
            return self._nan_ok and bool(actual != actual)
        if abs(expected) == float("inf"):
            return False
        relative = (1e-6 if self._abs is None else 0.0) if self._rel is None else self._rel
        tolerance = max(relative * abs(expected), 1e-12 if self._abs is None else self._abs)
        return bool(abs(actual - expected) <= tolerance)


def approx(expected: "Any", rel: "float | None" = None, abs: "float | None" = None, nan_ok: bool = False) -> _Approx:
    """As pytest's, of numbers, and of lists, tuples and dicts of them. Defaults: 1e-6 relative, 1e-12 absolute."""
    return _Approx(expected, rel, abs, nan_ok)


def fail(reason: str = "", pytrace: bool = True) -> None:
    """As pytest's."""
    raise AssertionError(reason)


def param(*values: "Any", id: "str | None" = None, marks: "Any" = ()) -> "tuple[Any, ...]":
    """A set of values for `parametrize`."""
    return _Param(values)


class _Param(tuple):  # type: ignore[type-arg]
    __slots__ = ()


def fixture(function: "Any" = None, *, scope: str = "function", autouse: bool = False, **other: "Any") -> "Any":
    """As pytest's, but for `params` and `name`."""
    if other.keys() - {"ids"}:
        raise TestFault(f"pytest.fixture({', '.join(other)}=...) is not known here")

    def register(given: "Any") -> "Any":
        setattr(given, FIXTURE, (scope, autouse))
        return given

    return register if function is None else register(function)


class _Mark:
    def __getattr__(self, name: str) -> "Any":
        if name in ("skip", "skipif", "xfail"):
            raise TestFault(f"pytest.mark.{name}: a test that may not run proves nothing")
        return _ignored

    @staticmethod
    def parametrize(names: "str | Sequence[str]", values: "Sequence[Any]", **_: "Any") -> "Callable[[Any], Any]":
        wanted = [each.strip() for each in names.split(",") if each.strip()] if isinstance(names, str) else list(names)
        sets = [_values(wanted, each) for each in values]
        if not sets:
            raise TestFault("pytest.mark.parametrize without values: the test would not run")

        def mark(given: "Any") -> "Any":
            setattr(given, SETS, [*getattr(given, SETS, []), sets])
            return given

        return mark


def _values(names: "list[str]", given: "Any") -> "dict[str, Any]":
    values = tuple(given) if len(names) > 1 or isinstance(given, _Param) else (given,)
    if len(values) != len(names):
        raise TestFault(f"pytest.mark.parametrize: {len(values)} values for {len(names)} names")
    return dict(zip(names, values, strict=True))


def _ignored(*args: "Any", **_: "Any") -> "Any":
    """A mark that changes nothing, with or without arguments."""
    return args[0] if len(args) == 1 and callable(args[0]) else _ignored


mark = _Mark()


class Fixtures:
    """The fixtures of a test module, made when a test asks for them."""

    def __init__(self, names: "Mapping[str, Any]") -> None:
        functions = {name: value for name, value in names.items() if type(value) is _FUNCTION}
        self._known: dict[str, Any] = {name: each for name, each in functions.items() if hasattr(each, FIXTURE)}
        self._kept: dict[str, Any] = {}
        self._open: list[tuple[str, Any]] = []
        self.autouse = [name for name, value in self._known.items() if getattr(value, FIXTURE)[1]]

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def make(self, name: str, made: "dict[str, Any]", asking: "tuple[str, ...]" = ()) -> "Any":
        """The value of a fixture. `made`: those of this test so far."""
        if name in asking:
            raise TestFault(f"the fixture {name} needs itself")
        scope, _ = getattr(self._known[name], FIXTURE)
        held = made if scope == "function" else self._kept
        if name not in held:
            function = self._known[name]
            given = {each: self.make(each, made, (*asking, name)) for each in parameters(function) if each in self}
            value = function(**given)
            if type(value) is _GENERATOR:
                self._open.append((scope, value))
                value = next(value)
            held[name] = value
        return held[name]

    def close(self, *, all_scopes: bool = False) -> None:
        """Go on after the `yield` of what a test has used, last made first."""
        for entry in self._open[::-1]:
            if all_scopes or entry[0] == "function":
                self._open.remove(entry)
                for _ in entry[1]:
                    raise TestFault("a fixture yields twice")


def parameters(function: "Any") -> "tuple[str, ...]":
    """The parameters without a default."""
    code = function.__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount - len(function.__defaults__ or ())]
    return names


def combinations(function: "Any") -> "list[dict[str, Any]]":
    """The values of each run of a test that is parametrized; one empty set for one that is not."""
    found: list[dict[str, Any]] = [{}]
    for sets in getattr(function, SETS, []):
        found = [{**one, **other} for other in sets for one in found]
    return found
