"""Mathematics that a model wrote, read in a worker process."""

from __future__ import annotations

import importlib
import re
from typing import Any

_PROBES = ((2, 3, 5, 7), (11, 4, 3, 2), (1, 6, 8, 9))


def claims(text: str, finished: bool, limit: int) -> list[tuple[str, str, bool, str]]:
    """The equalities that a text claims: (left, right, whether they are said to be near, what is to be said of it)."""
    from smc_decode.notation.claims import find_claims

    found = find_claims(text, finished, limit)
    return [(claim.left, claim.right, claim.approximate, claim.outcome) for claim in found]


def canonical(latex: str) -> str:
    """One text for all ways to write a final answer."""
    from smc_decode.answers.values import key

    return key(latex)


def same(reference: str, answer: str) -> bool:
    """Whether two final answers say the same."""
    from smc_decode.answers.values import same as equal

    return equal(reference, answer)


def warm_up() -> None:
    """Read one expression: the first one builds the grammar's tables."""
    _expression("\\frac{1}{2} + \\sqrt{x^{2}}")


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
        for point in _PROBES:
            values = {symbol: sympy.Rational(10 * point[i % 4] + i, 7) for i, symbol in enumerate(variables)}
            if not abs(complex(sympy.N(difference.subs(values), 30))) < 1e-9:
                return "unknown"
        return "true"
    return "true" if _near(difference, second, approximate, (left, right)) else "false"


def _near(difference: Any, second: Any, approximate: bool, sides: tuple[str, str]) -> bool:
    import sympy

    value = abs(complex(sympy.N(difference, 30)))
    scale = max(abs(complex(sympy.N(second, 30))), 1e-12)
    if approximate:
        return value <= 0.01 * scale
    decimals = [len(side.rpartition(".")[2].rstrip("}) ")) for side in sides if _decimal(side)]
    return bool(value < 10.0 ** -min(decimals) if decimals else value <= 1e-12 * max(scale, 1.0))


def _decimal(side: str) -> bool:
    return re.fullmatch(r"\s*-?\s*\d+\.\d+\s*", side) is not None


def _expression(latex: str) -> Any:
    import sympy

    latex2sympy = importlib.import_module("latex2sympy2_extended").latex2sympy  # has no types

    # a function of the text's, another base
    if re.search(r"(?<![\\A-Za-z])[A-Za-z]'*(?:\^\{-1\})?\s*\(|\d\s*_|\\ \d", latex):
        return None
    latex = re.sub(r"\|([^|]*)\|", r"\\left|\1\\right|", latex)
    latex = re.sub(r"([\d.]{1,40})\s*\^\s*\{?\\circ\}?", r"{(\\frac{\1 \\pi}{180})}", latex)
    try:
        value = latex2sympy(latex)
    except Exception:
        return None
    if isinstance(value, sympy.Expr) and not value.has(sympy.zoo, sympy.nan):
        return value
    return None
