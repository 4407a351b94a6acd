#!/usr/bin/env bash
# math-verify: a number's base, written as a subscript, is dropped. 47 in base 8 equals 47 in base 16, and is not 39.
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
for gold, answer, expected, seen_so_far in [
    ("$47_8$", "$47_{16}$", False, True),  # 39 and 71
    ("$47_8$", "$39$", True, False),
    ("$x_8$", "$x_{16}$", False, False),  # subscripts of letters are kept
]:
    seen = verify(parse(gold), parse(answer))
    print(f"{gold} equals {answer}: expected {expected}, seen {seen}, which was read as {parse(gold)[0]}")
    changed |= seen != seen_so_far
sys.exit("changed" if changed else 0)
PY
