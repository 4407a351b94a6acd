"""What of a test would run, and whether that can tell a right program from a wrong one.

A test that would accept every program is refused, with a reason. What is reached is read from the source: statements
of the module, `check`, what pytest would call (`test_*` functions, methods of `Test*` and `TestCase` classes), and
every function that is named in what is reached.
"""

import _ast
import sys

from . import syntax
from .imports import parse_test
from .rewrite import candidate_names, flow
from .syntax import FUNCTIONS, children, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .prompt import Helpers

FAULTS = (SyntaxError, ValueError, RecursionError, MemoryError)
INSPECTING = frozenset({"callable", "isinstance", "issubclass", "type", "id", "hash", "repr", "str", "print", "hasattr",
                        "bool", "dir", "vars", "help"})  # fmt: skip
FIXTURES = frozenset({"setUp", "tearDown", "setUpClass", "tearDownClass", "setup_method", "teardown_method",
                      "setup_class", "teardown_class", "asyncSetUp", "asyncTearDown"})  # fmt: skip
AWAITED = "_smc_awaited"  # set on methods that an asynchronous test case awaits
NEVER_CALLS = "it never calls the candidate"
LOOKING = (
    _ast.Compare, _ast.BoolOp, _ast.UnaryOp, _ast.Assert, _ast.If, _ast.While, _ast.Expr, _ast.FormattedValue,
)  # fmt: skip
ENDINGS = (_ast.Return, _ast.Raise, _ast.Continue, _ast.Break)


class Study:
    """`reason`: why the test is refused, None if it is not. `dead`: lines of assertions that nothing runs.
    `is_setup`: the test asserts nothing and calls nothing, but may serve others of a list."""

    def __init__(self, reason: str | None, dead: set[int], is_setup: bool) -> None:
        self.reason = reason
        self.dead = dead
        self.is_setup = is_setup


def study(source: str, entry: str, known: set[str], leading: set[str], given: set[str] | None = None) -> Study:
    """Study a test. `known`: names that the prompt defines, of which those of `leading` call the entry point; `given`:
    names that other tests of a list define.

    Raises SyntaxError, ValueError, RecursionError or MemoryError on what is no Python.
    """
    tree = parse_test(source, "<test>", entry)
    reach = _Reach(tree)
    asserts = [node for node in walk(tree) if _is_evidence(node)]
    dead = {node.lineno for node in asserts if id(node) not in reach.seen}  # type: ignore[attr-defined]
    dead -= {node.lineno for node in asserts if id(node) in reach.seen}  # type: ignore[attr-defined]
    foreign = syntax.free_names(tree) - known - modules_of(tree)
    candidates = candidate_names(tree, entry)
    others = (syntax.loaded(tree) & (given or set())) - syntax.defined(tree)
    program = candidates | foreign | leading | others
    reason = reach.idle_test
    if reason is None and asserts and len(dead) and not any(id(node) in reach.seen for node in asserts):
        reason = "its assertions are in code that nothing runs"
    if reason is None and not _calls(reach.nodes, program):
        reason = NEVER_CALLS
    if reason is None and entry:
        reason = _judged_by_itself(tree, reach.nodes, candidates, foreign - candidates - others)
    elif reason is None:
        reason = _judged_by_each_other(tree, reach.nodes, foreign - others)
    return Study(reason, dead, is_setup=not asserts and reason == NEVER_CALLS)


def screen(tests: "list[str]", entry: str, helpers: "Helpers | None") -> "list[Study | str]":
    """A study of each test, or why it cannot be run: it is no Python, or would accept every program.

    In a list, tests may define what others use; those that do only that are no tests by themselves.
    """
    several = len(tests) > 1
    known = helpers.bound if helpers else set()
    leading = helpers.leading_to(entry.partition(".")[0]) if helpers else set()
    given = _given(tests, entry) if several else None
    found: list[Study | str] = []
    for source in tests:
        try:
            one = study(source, entry, known, leading, given)
        except FAULTS as error:
            found.append(f"the test is no Python: {type(error).__name__}: {error}")
            continue
        one.is_setup = several and one.is_setup
        refused = one.reason is not None and not one.is_setup
        found.append(f"the test would accept every program: {one.reason}" if refused else one)
    return found


def _given(tests: "list[str]", entry: str) -> set[str]:
    """Names that the tests of a list define for each other."""
    given: set[str] = set()
    for source in tests:
        try:
            given |= syntax.defined(parse_test(source, "<test>", entry))
        except FAULTS:
            continue
    return given


def _is_evidence(node: _ast.AST) -> bool:
    return syntax.is_assertion(node) or syntax.is_never(node) or syntax.is_assert_block(node)


def modules_of(tree: _ast.AST) -> set[str]:
    """`math` in `math.pi`: library modules whose import was forgotten."""
    based = {
        id(node.value) for node in walk(tree) if isinstance(node, _ast.Attribute) and isinstance(node.value, _ast.Name)
    }
    names = [node for node in walk(tree) if isinstance(node, _ast.Name) and node.id in sys.stdlib_module_names]
    return {node.id for node in names} - {node.id for node in names if id(node) not in based}


class _Reach:
    """Walks what would run. `nodes`: all that was met; `seen`: their ids; `idle_test`: a test that does not run."""

    def __init__(self, tree: _ast.Module) -> None:
        self.nodes: list[_ast.AST] = []
        self.seen: set[int] = set()
        self.idle_test: str | None = None
        self._named: dict[str, list[_ast.AST]] = {}
        self._lazy: set[int] = set()  # functions whose call alone runs nothing
        for node in walk(tree):
            if isinstance(node, (*FUNCTIONS, _ast.ClassDef)):
                self._named.setdefault(node.name, []).append(node)
                if isinstance(node, _ast.AsyncFunctionDef) or syntax.is_generator(node):
                    self._lazy.add(id(node))
        self._entered: set[int] = set()
        self._body(tree.body)
        tests = []
        for node in tree.body:
            tests += _tests_of(node)
        for function in tests:
            self._test(function)

    def _test(self, function: _ast.AST) -> None:
        """A function that is called for its assertions."""
        if id(function) in self._lazy and id(function) not in self._entered and not hasattr(function, AWAITED):
            what = "a coroutine function" if isinstance(function, _ast.AsyncFunctionDef) else "a generator function"
            self.idle_test = self.idle_test or f"{function.name} is {what}: calling it runs nothing"  # type: ignore[attr-defined]
            return
        self._enter(function)

    def _enter(self, function: _ast.AST) -> None:
        if id(function) not in self._entered:
            self._entered.add(id(function))
            if isinstance(function, _ast.ClassDef):
                for method in function.body:
                    if isinstance(method, FUNCTIONS) and method.name.startswith("__"):
                        self._enter(method)
            else:
                self._body(function.body)  # type: ignore[attr-defined]

    def _body(self, body: list[_ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)
            if isinstance(statement, ENDINGS):
                return

    def _statement(self, statement: _ast.stmt) -> None:
        self._meet(statement)
        if isinstance(statement, (*FUNCTIONS, _ast.ClassDef)):
            for decorator in statement.decorator_list:
                self._expression(decorator)
            if isinstance(statement, _ast.ClassDef):
                self._body(statement.body)
            elif statement.decorator_list and not _only_marks(statement):
                self._enter(statement)  # whatever decorates it may call it
            return
        skipped = _never_taken(statement)
        bodies = [
            field
            for field in ("body", "orelse", "finalbody", "handlers", "cases")
            if isinstance(getattr(statement, field, None), list)
        ]
        for child in children(statement):
            if not any(child in getattr(statement, field) for field in bodies):
                self._expression(child, bare=isinstance(statement, _ast.Expr))
        for field in bodies:
            if field != skipped:
                self._parts(getattr(statement, field))

    def _parts(self, parts: "list[_ast.AST]") -> None:
        """A block of statements, or the handlers or cases of a statement."""
        for part in parts:
            if isinstance(part, (_ast.ExceptHandler, _ast.match_case)):
                self._meet(part)
                for child in children(part):
                    if not isinstance(child, _ast.stmt):
                        self._expression(child)
                self._body(part.body)
        self._body([part for part in parts if isinstance(part, _ast.stmt)])

    def _expression(self, node: _ast.AST, bare: bool = False) -> None:
        """`bare`: the value is thrown away, so that a call of a coroutine or generator function runs nothing."""
        thrown = node.func if bare and isinstance(node, _ast.Call) else None
        for inner in walk(node):
            self._meet(inner)
            name = inner.id if isinstance(inner, _ast.Name) else inner.attr if isinstance(inner, _ast.Attribute) else ""
            for function in self._named.get(name, ()):
                if not (inner is thrown and id(function) in self._lazy):
                    self._enter(function)

    def _meet(self, node: _ast.AST) -> None:
        self.nodes.append(node)
        self.seen.add(id(node))


def _tests_of(node: _ast.AST) -> list[_ast.AST]:
    """Functions that are called though nothing in the test names them."""
    if isinstance(node, FUNCTIONS) and (node.name == "check" or node.name.startswith("test")):
        return [node]
    if not isinstance(node, _ast.ClassDef):
        return []
    bases = {base.id if isinstance(base, _ast.Name) else getattr(base, "attr", "") for base in node.bases}
    if not node.name.startswith("Test") and not any(
        base.endswith("TestCase") or base.startswith("Test") for base in bases
    ):
        return []
    methods = [inner for inner in node.body if isinstance(inner, FUNCTIONS)]
    if any("Async" in base for base in bases):
        methods = [method for method in methods if not isinstance(method, _ast.AsyncFunctionDef) or _awaited(method)]
    return [method for method in methods if method.name.startswith("test") or method.name in FIXTURES]


def _awaited(method: _ast.AST) -> bool:
    setattr(method, AWAITED, True)
    return True


def _only_marks(function: "_ast.FunctionDef | _ast.AsyncFunctionDef") -> bool:
    known = {"staticmethod", "classmethod", "property", "cache", "lru_cache", "wraps"}
    return all(known.intersection(syntax.names(mark)) for mark in function.decorator_list)


def _never_taken(statement: _ast.stmt) -> str:
    """The block of a statement that is never run."""
    if syntax.is_main_guard(statement):
        return "body"
    test = getattr(statement, "test", None)
    if isinstance(statement, (_ast.If, _ast.While)) and isinstance(test, _ast.Constant):
        return "orelse" if test.value else "body"
    return ""


def _calls(nodes: list[_ast.AST], program: set[str]) -> bool:
    """Whether the program may be called: it is named where more happens than being looked at."""
    idle: set[int] = set()
    for node in nodes:
        if isinstance(node, LOOKING) or (
            isinstance(node, _ast.Call) and isinstance(node.func, _ast.Name) and node.func.id in INSPECTING
        ):
            idle.update(map(id, children(node)))
        elif isinstance(node, _ast.Attribute) and node.attr.startswith("__"):
            idle.add(id(node.value))
    return any(
        isinstance(node, _ast.Name) and isinstance(node.ctx, _ast.Load) and node.id in program and id(node) not in idle
        for node in nodes
    )


# -- programs that would judge themselves -----------------------------------------------------------------------------


def _judged_by_itself(tree: _ast.Module, nodes: list[_ast.AST], candidates: set[str], foreign: set[str]) -> str | None:
    """Why the program would say itself whether its answer is right: through a function that only it defines."""
    called = {node.func.id for node in nodes if isinstance(node, _ast.Call) and isinstance(node.func, _ast.Name)}
    judges = {name for name in foreign & called if not name[:1].isupper()}
    if not judges:
        return None
    answers, said = flow(tree, candidates), flow(tree, judges)
    for node in nodes:
        for truth in _truths(node):
            if _is_verdict(truth, judges, answers) or _is_comparison(truth, said - answers, answers):
                name = next(iter(sorted(judges.intersection(syntax.names(truth)) or judges)))
                return f"{name!r} is defined neither by the test nor by the prompt: the program would judge itself"
    return None


def _judged_by_each_other(tree: _ast.Module, nodes: list[_ast.AST], names: set[str]) -> str | None:
    """The same where several functions are under test: one may judge another's answer if it is tested by itself."""
    truths = [set(syntax.names(truth)) & names for node in nodes for truth in _truths(node)]
    alone = {name for each in truths if len(each) == 1 for name in each}
    for name in sorted(names):
        reason = _judged_by_itself(tree, nodes, {name, "candidate"}, names - {name} - alone)
        if reason is not None:
            return reason
    return None


def _truths(node: _ast.AST) -> list[_ast.AST]:
    """Expressions whose truth decides."""
    if isinstance(node, _ast.Assert):
        return _operands(node.test)
    if syntax.is_assertion(node):
        call: _ast.Call = node.value  # type: ignore[attr-defined]
        if len(call.args) > 1:
            return [_ast.Compare(call.args[0], [_ast.Eq()], [call.args[1]])]
        return [operand for argument in call.args for operand in _operands(argument)]
    return []


def _operands(node: _ast.AST) -> list[_ast.AST]:
    if isinstance(node, _ast.BoolOp):
        return [operand for value in node.values for operand in _operands(value)]
    return _operands(node.operand) if isinstance(node, _ast.UnaryOp) else [node]


def _is_verdict(truth: _ast.AST, judges: set[str], answers: set[str]) -> bool:
    """`close(candidate(7), 8)`"""
    if not isinstance(truth, _ast.Call) or not isinstance(truth.func, _ast.Name) or truth.func.id not in judges:
        return False
    return any(answers.intersection(syntax.names(argument)) for argument in truth.args)


def _is_comparison(truth: _ast.AST, said: set[str], answers: set[str]) -> bool:
    """`candidate(7) == expected(7)`"""
    if not isinstance(truth, _ast.Compare):
        return False
    sides = [set(syntax.names(side)) for side in (truth.left, *truth.comparators)]
    return any(side & answers for side in sides) and any(side & said and not side & answers for side in sides)
