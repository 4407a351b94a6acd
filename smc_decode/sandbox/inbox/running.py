"""Runs a test as its author would: the module, then `check(candidate)`, `test_*` functions, and test classes."""

import sys

from . import syntax
from .candidate import CandidateFault, TestFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _ast
    from collections.abc import Callable, Iterator
    from typing import Any

PLAIN_FUNCTION = 0x20 | 0x80 | 0x200  # flags of generators, coroutines and asynchronous generators, which it has not


def execute(
    code: object, tree: "_ast.Module", names: dict[str, object], candidate: object, go_on: bool = False
) -> None:
    """Execute a test that has been rewritten, with all that it defines.

    `go_on`: after a test function that raises the others are called all the same, and the first error is raised then.
    """
    names.pop("check", None)
    exec(code, names)  # type: ignore[arg-type]
    check = names.get("check")
    if _is_plain(check):
        check(candidate)  # type: ignore[operator]
    by_pytest = _ByPytest(names, candidate) if "pytest" in sys.modules else None
    errors: list[BaseException] = []
    for name, value in _tests(tree, names):
        try:
            if isinstance(value, type):
                _run_class(value, by_pytest)
            elif by_pytest is not None:
                by_pytest.call(name, value)
            else:
                _call(name, value, candidate)
        except TestFault:
            raise
        except (Exception, CandidateFault) as error:
            if not go_on:
                raise
            errors.append(error)
    if by_pytest is not None:
        by_pytest.close()
    if errors:
        raise errors[0]


class _ByPytest:
    """Calls tests that may be parametrized and ask for fixtures."""

    def __init__(self, names: dict[str, object], candidate: object) -> None:
        from . import pytest_names

        self._pytest = pytest_names
        self._fixtures = pytest_names.Fixtures(names)
        self._candidate = candidate

    def call(self, name: str, function: "Any", owner: tuple[object, ...] = ()) -> None:
        """Every run of a test. `owner`: the instance that a method is called on."""
        wanted = self._pytest.parameters(function)[len(owner) :]
        for values in self._pytest.combinations(function):
            missing = [each for each in wanted if each not in values and each not in self._fixtures]
            if len(missing) > 1 or (missing and owner):
                raise TestFault(f"{name} has parameters that nothing here gives it: {', '.join(missing)}")
            made: dict[str, Any] = {}
            given = values | dict.fromkeys(missing, self._candidate)
            try:
                for each in self._fixtures.autouse:
                    self._fixtures.make(each, made)
                given |= {each: self._fixtures.make(each, made) for each in wanted if each not in given}
                _finish(function(*owner, **given))
            finally:
                self._fixtures.close()

    def close(self) -> None:
        self._fixtures.close(all_scopes=True)


def _tests(tree: "_ast.Module", names: dict[str, object]) -> "Iterator[tuple[str, Any]]":
    """`test_*` functions that the module does not call itself, and test classes, in their order."""
    called = {name for statement in tree.body for name in _called(statement)}
    for statement in tree.body:
        name = getattr(statement, "name", "")
        value = names.get(name)
        if isinstance(value, type):
            if name.startswith("Test") or _is_test_case(value):
                yield name, value
        elif name.startswith("test") and name not in called and _is_plain(value):
            yield name, value


def _called(statement: "_ast.AST") -> "Iterator[str]":
    """Names that are used when the module, or its `check`, is executed."""
    is_definition = isinstance(statement, syntax.SCOPES)
    return iter(()) if is_definition and getattr(statement, "name", "") != "check" else syntax.names(statement)


def _is_plain(function: "Any") -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and not code.co_flags & PLAIN_FUNCTION


def _call(name: str, function: "Any", candidate: object) -> None:
    """Call a test function. A parameter without a default can only be the candidate."""
    code = function.__code__
    wanted = code.co_varnames[: code.co_argcount - len(function.__defaults__ or ())]
    if len(wanted) > 1:
        raise TestFault(f"{name} has parameters that nothing here gives it: {', '.join(wanted)}")
    function(*(candidate for _ in wanted))


def _is_test_case(value: type) -> bool:
    unittest = sys.modules.get("unittest")
    return unittest is not None and issubclass(value, unittest.TestCase)


def _run_class(cls: "Any", by_pytest: "_ByPytest | None" = None) -> None:
    """Every `test*` method on an instance of its own, between what sets it up and what clears up after it."""
    case = _is_test_case(cls)
    methods = [name for name in sorted(dir(cls)) if name.startswith("test") and callable(getattr(cls, name))]
    if not case:
        methods.sort(key=lambda name: getattr(getattr(cls, name), "__code__", _FIRST).co_firstlineno)
    if not methods:
        return
    _fixture(cls, "setUpClass" if case else "setup_class")
    for name in methods:
        instance = cls(name) if case else cls()
        _fixture(instance, "setUp" if case else "setup_method")
        try:
            if by_pytest is not None and not case:
                by_pytest.call(f"{cls.__name__}.{name}", getattr(cls, name), (instance,))
            else:
                _finish(getattr(instance, name)())
        finally:
            _fixture(instance, "tearDown" if case else "teardown_method")
            if case:
                instance.doCleanups()
    _fixture(cls, "tearDownClass" if case else "teardown_class")


class _First:
    co_firstlineno = 0


_FIRST = _First()


def _fixture(owner: "Any", name: str) -> None:
    fixture: Callable[[], object] | None = getattr(owner, name, None)
    if fixture is not None:
        _finish(fixture())


def _finish(result: "Any") -> None:
    """Await what an asynchronous test case gives."""
    if hasattr(result, "__await__"):
        import asyncio

        asyncio.run(result)
