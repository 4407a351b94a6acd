#!/usr/bin/env bash
# math-verify: where the LaTeX reader gives up, a plain number is fished out of the formula's text and taken for its
# value, and nothing tells that from a formula that was read. A recurring decimal becomes its whole part, a remainder
# its divisor, a common logarithm its argument.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check \
  math-verify==0.9.0 latex2sympy2_extended==1.11.0 antlr4-python3-runtime==4.13.2 sympy==1.14.0 mpmath==1.3.0

venv/bin/python -I - <<'PY'
import sys
from importlib.metadata import version

from math_verify import parse, verify

print("math-verify", version("math-verify"))
changed = False
for formula, true, taken in [
    (r"$0.\overline{36}$", r"$\frac{4}{11}$", "$0$"),
    (r"$17 \bmod 5$", "$2$", "$5$"),
    (r"$\lg 100$", "$2$", "$100$"),
]:
    right, wrong = (verify(parse(formula), parse(answer)) for answer in (true, taken))
    print(f"{formula} equals {true}: expected True, seen {right}; equals {taken}: expected False, seen {wrong}")
    changed |= right or not wrong
sys.exit("changed" if changed else 0)
PY
