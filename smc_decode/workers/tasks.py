"""The program of a worker process: mathematics, schemas and patterns from requests, where they can be killed.

Run by path with ``python -P``, so it imports nothing of smc_decode. Speaks JSON lines: ``{"task", "args",
"seconds"}`` in, ``{"value"}`` or ``{"error"}`` out. A task that overruns is ended by the alarm, and by its parent
before that.
"""

from __future__ import annotations

import importlib
import json
import re
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

MEMORY = 2 << 30
SCHEMA_MENDABLE = frozenset(
    [
        "required",
        "minItems",
        "minLength",
        "minProperties",
        "minContains",
        "contains",
        "dependentRequired",
        "pattern",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "if",
        "enum",
        "const",
        "format",
        "minimum",
        "exclusiveMinimum",
        "multipleOf",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
        "unevaluatedItems",
        "$ref",
        "$dynamicRef",
    ]
)
"""Keywords whose violation an unfinished value may still mend."""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.set_int_max_str_digits(4300)
    out = sys.stdout
    sys.stdout = sys.stderr  # libraries print
    print(json.dumps({"value": "ready"}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, float(request["seconds"]) + 1.0)  # SIGALRM's default ends the process
        try:
            answer: dict[str, Any] = {"value": TASKS[request["task"]](**request["args"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(answer), file=out, flush=True)


def load(modules: list[str]) -> None:
    """Import what later tasks need, outside of their time limits."""
    for module in modules:
        importlib.import_module(module)


def holds(left: str, right: str, approximate: bool) -> str:
    """Whether two LaTeX expressions are equal: ``true``, ``false``, or ``unknown`` (an equation with variables that is
    no identity, or what is no expression)."""
    import sympy

    first, second = _expression(left), _expression(right)
    if first is None or second is None:
        return "unknown"
    difference = first - second
    variables = sorted(difference.free_symbols, key=str)
    if variables:  # an identity holds wherever it is tried; anything else claims nothing of numbers
        for point in ((2, 3, 5, 7), (11, 4, 3, 2), (1, 6, 8, 9)):
            values = {symbol: sympy.Rational(10 * point[i % 4] + i, 7) for i, symbol in enumerate(variables)}
            if not abs(complex(sympy.N(difference.subs(values), 30))) < 1e-9:
                return "unknown"
        return "true"
    value = complex(sympy.N(difference, 30))
    scale = max(abs(complex(sympy.N(second, 30))), 1e-12)
    if approximate:
        return "true" if abs(value) <= 0.01 * scale else "false"
    decimals = [len(side.rpartition(".")[2].rstrip("}) ")) for side in (left, right) if _decimal(side)]
    if decimals and abs(value) >= 10.0 ** -min(decimals):
        return "false"
    if decimals:
        return "true"
    return "true" if abs(value) <= 1e-12 * max(scale, 1.0) else "false"


def _decimal(side: str) -> bool:
    return re.fullmatch(r"\s*-?\s*\d+\.\d+\s*", side) is not None


def _expression(latex: str) -> Any:
    import sympy

    latex2sympy = importlib.import_module("latex2sympy2_extended").latex2sympy  # has no types

    if re.search(
        r"(?<![\\A-Za-z])[A-Za-z]'*(?:\^\{-1\})?\s*\(|\d\s*_|\\ \d", latex
    ):  # a function of the text's, another base
        return None
    latex = re.sub(r"\|([^|]*)\|", r"\\left|\1\\right|", latex)
    latex = re.sub(r"([\d.]+)\s*\^\s*\{?\\circ\}?", r"{(\\frac{\1 \\pi}{180})}", latex)
    try:
        value = latex2sympy(latex)
    except Exception:
        return None
    if isinstance(value, sympy.Expr) and not value.has(sympy.zoo, sympy.nan):
        return value
    return None


def canonical(latex: str) -> str | None:
    """One text for all ways to write a mathematical value; None for what cannot be read."""
    import sympy
    from math_verify import LatexExtractionConfig, parse

    found = parse(
        "\\boxed{" + latex + "}",
        [LatexExtractionConfig(boxed_match_priority=0)],
        parsing_timeout=None,
        fallback_mode="no_fallback",
    )
    value = next((item for item in found if not isinstance(item, str)), None)
    if value is None:
        return None
    if isinstance(value, sympy.Eq) and value.lhs.is_Symbol:
        value = value.rhs
    return _canonical(value)


def _canonical(value: Any) -> str:
    import sympy

    if isinstance(value, (sympy.FiniteSet, set, frozenset)):
        return "{" + ", ".join(sorted(_canonical(item) for item in value)) + "}"
    if isinstance(value, (sympy.Tuple, tuple, list)):
        return "(" + ", ".join(_canonical(item) for item in value) + ")"
    if isinstance(value, sympy.MatrixBase):
        return f"Matrix{value.shape}" + _canonical(tuple(value))
    if isinstance(value, sympy.Interval):
        return f"Interval({_canonical(value.start)}, {_canonical(value.end)}, {value.left_open}, {value.right_open})"
    if isinstance(value, sympy.Expr):
        if value.is_number:
            exact = sympy.nsimplify(value, rational=True) if value.has(sympy.Float) else value.doit()
            exact = sympy.simplify(exact)
            if exact.is_Rational:
                return str(exact)
            number = sympy.N(exact, 12)
            return str(number) if number.is_real or number.is_comparable else str(exact)
        return str(sympy.expand(sympy.simplify(value)))
    return str(value)


def schema(schema: Any, value: Any, unfinished: bool, open_end: bool) -> dict[str, Any]:
    """Violations of a JSON schema: how many, and the first. For an unfinished value only those that are final;
    ``open_end``: its last string or number may still grow."""
    validator = _validator(schema)
    errors = list(validator.iter_errors(value))
    if unfinished:
        errors = [error for error in errors if error.validator not in SCHEMA_MENDABLE]
        errors = [error for error in errors if not (open_end and _at_the_open_end(value, error))]
    first = min(errors, key=lambda error: len(error.absolute_path), default=None)
    return {"violations": len(errors), "first": "" if first is None else f"{first.json_path}: {first.message}"[:300]}


def check_schema(schema: Any) -> str:
    """What is wrong with a schema, or ''."""
    import jsonschema
    from referencing.exceptions import Unresolvable

    try:
        validator = _validator(schema)
        validator.check_schema(schema)
        list(validator.iter_errors(None))
    except jsonschema.exceptions.SchemaError as error:
        return f"{error.json_path}: {error.message}"[:300]
    except (Unresolvable, jsonschema.exceptions._WrappedReferencingError) as error:
        return f"a reference cannot be resolved (remote ones never are): {error}"[:300]
    return ""


def _validator(schema: Any) -> Any:
    import jsonschema
    import referencing

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return kind(schema, registry=referencing.Registry())  # never fetches


def _at_the_open_end(value: Any, error: Any) -> bool:
    """Whether the violation is in the last string or number of the text, which may still grow."""
    path = list(error.absolute_path)
    for step in path:
        if isinstance(value, dict):
            if step != next(reversed(value), None):
                return False
            value = value[step]
        elif isinstance(value, list):
            if step != len(value) - 1:
                return False
            value = value[step]
    return isinstance(value, (str, int, float)) and error.validator != "type"


def pattern(pattern: str, text: str, search: bool, patience: float) -> str:
    """``full``, ``partial`` (it can still become a match) or ``none``."""
    import regex

    compiled = regex.compile(pattern)
    if search:
        return "full" if compiled.search(text, timeout=patience) else "partial"
    found = compiled.fullmatch(text, partial=True, timeout=patience)
    return "none" if found is None else "partial" if found.partial else "full"


TASKS: dict[str, Callable[..., Any]] = {
    "load": load,
    "holds": holds,
    "canonical": canonical,
    "schema": schema,
    "check_schema": check_schema,
    "pattern": pattern,
}

if __name__ == "__main__":
    main()
