"""Runs a test as its author would: the module, then `check(candidate)`, `test_*` functions, and test classes."""

import sys

from . import syntax
from .candidate import CandidateFault, TestFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _ast
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Run = tuple[int, int, Callable[..., object]]  # first line, last line
    Ended = Callable[[int, int, BaseException | None], None]

PLAIN_FUNCTION = 0x20 | 0x80 | 0x200  # flags of generators, coroutines and asynchronous generators, which it has not


def execute(
    code: object, tree: "_ast.Module", names: dict[str, object], candidate: object, ended: "Ended | None" = None
) -> None:
    """Execute a test that has been rewritten, with all that it defines.

    `ended` is told of each run of a test function or method its first and last line and what it raised, if anything,
    and the others are run all the same. Without it the first error is raised.
    """
    names.pop("check", None)
    exec(code, names)  # type: ignore[arg-type]
    check = names.get("check")
    if _is_plain(check):
        check(candidate)  # type: ignore[operator]
    by_pytest = _ByPytest(names, candidate) if "pytest" in sys.modules else None
    for first, last, run in _runs(tree, names, candidate, by_pytest):
        try:
            run()
        except TestFault:
            raise
        except (Exception, CandidateFault) as error:
            if ended is None:
                raise
            ended(first, last, error)
        else:
            if ended is not None:
                ended(first, last, None)
    if by_pytest is not None:
        by_pytest.close()


def forget_fixtures(tree: "_ast.Module", names: dict[str, object]) -> None:
    """What a file makes ready for its own tests is not for those of the next."""
    from .pytest_names import FIXTURE

    for statement in tree.body:
        name = getattr(statement, "name", "")
        if hasattr(names.get(name), FIXTURE) and type(names[name]) is type(forget_fixtures):
            del names[name]


def _runs(
    tree: "_ast.Module", names: dict[str, object], candidate: object, by_pytest: "_ByPytest | None"
) -> "Iterator[Run]":
    """All that is run of a test by itself, with its lines."""
    for name, value, node in _tests(tree, names):
        if isinstance(value, type):
            yield from _runs_of_class(value, node, by_pytest)
        elif by_pytest is not None:
            for run in by_pytest.runs(name, value):
                yield (*_lines(node), run)
        else:
            yield (*_lines(node), _bound(_call, name, value, candidate))


def _lines(node: "Any") -> "tuple[int, int]":
    return node.lineno, node.end_lineno or node.lineno


def _bound(function: "Any", *args: "Any") -> "Callable[..., object]":
    """`functools.partial`, which would have to be imported."""
    return lambda *more: function(*args, *more)


class _ByPytest:
    """Calls tests that may be parametrized and ask for fixtures."""

    def __init__(self, names: dict[str, object], candidate: object) -> None:
        from . import pytest_names

        self._pytest = pytest_names
        self._fixtures = pytest_names.Fixtures(names)
        self._candidate = candidate

    def runs(self, name: str, function: "Any", owners: int = 0) -> "Iterator[Callable[..., object]]":
        """Every run of a test, as a function of the instance that a method is called on (`owners` 1)."""
        wanted = self._pytest.parameters(function)[owners:]
        for values in self._pytest.combinations(function):
            missing = [each for each in wanted if each not in values and each not in self._fixtures]
            if len(missing) > 1 or (missing and owners):
                raise TestFault(f"{name} has parameters that nothing here gives it: {', '.join(missing)}")
            yield _bound(self._run, function, wanted, values | dict.fromkeys(missing, self._candidate))

    def _run(self, function: "Any", wanted: "Sequence[str]", given: dict[str, "Any"], *owner: object) -> None:
        made: dict[str, Any] = {}
        try:
            for each in self._fixtures.autouse:
                self._fixtures.make(each, made)
            more = {each: self._fixtures.make(each, made) for each in wanted if each not in given}
            _finish(function(*owner, **given, **more))
        finally:
            self._fixtures.close()

    def close(self) -> None:
        self._fixtures.close(all_scopes=True)


def _tests(tree: "_ast.Module", names: dict[str, object]) -> "Iterator[tuple[str, Any, _ast.stmt]]":
    """`test_*` functions that the module does not call itself, and test classes, in their order."""
    called = {name for statement in tree.body for name in _called(statement)}
    for statement in tree.body:
        name = getattr(statement, "name", "")
        value = names.get(name)
        if isinstance(value, type):
            if name.startswith("Test") or _is_test_case(value):
                yield name, value, statement
        elif name.startswith("test") and name not in called and _is_plain(value):
            yield name, value, statement


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


def _runs_of_class(cls: "Any", node: "Any", by_pytest: "_ByPytest | None") -> "Iterator[Run]":
    """Every `test*` method on an instance of its own, between what sets it up and what clears up after it."""
    case = _is_test_case(cls)
    methods = [name for name in sorted(dir(cls)) if name.startswith("test") and callable(getattr(cls, name))]
    if not case:
        methods.sort(key=lambda name: getattr(getattr(cls, name), "__code__", _FIRST).co_firstlineno)
    if not methods:
        return
    written = {each.name: _lines(each) for each in node.body if hasattr(each, "name")}
    ready: list[bool] = []

    def set_up() -> None:
        _fixture(cls, "setUpClass" if case else "setup_class")
        ready.append(True)

    yield (*_lines(node), set_up)
    if not ready:
        return
    for name in methods:
        bare = by_pytest is None or case
        for run in [None] if bare else by_pytest.runs(f"{cls.__name__}.{name}", getattr(cls, name), 1):  # type: ignore[union-attr]
            yield (*written.get(name, _lines(node)), _bound(_run_method, cls, name, case, run))
    yield (*_lines(node), _bound(_fixture, cls, "tearDownClass" if case else "teardown_class"))


def _run_method(cls: "Any", name: str, case: bool, run: "Callable[[object], object] | None") -> None:
    instance = cls(name) if case else cls()
    _fixture(instance, "setUp" if case else "setup_method")
    try:
        if run is None:
            _finish(getattr(instance, name)())
        else:
            run(instance)
    finally:
        _fixture(instance, "tearDown" if case else "teardown_method")
        if case:
            instance.doCleanups()


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
