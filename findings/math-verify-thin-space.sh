#!/usr/bin/env bash
# math-verify: with a thin space between its thousands, as the SI writes them, 12\,500 is 512 (a mixed number, 12 and
# 500), and 25\,000 is nought (a product, 25 times 000). {,} in the same place is read as it is meant.
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

print("math-verify", version("math-verify"), "latex2sympy2_extended", version("latex2sympy2_extended"))
changed = False
for gold, answer, expected, seen_so_far in [
    (r"$12\,500$", "$12500$", True, False),
    (r"$12\,500$", "$512$", False, True),
    (r"$25\,000$", "$25000$", True, False),
    (r"$25\,000$", "$0$", False, True),
    (r"$12{,}500$", "$12500$", True, True),
]:
    seen = verify(parse(gold), parse(answer))
    print(f"{gold} equals {answer}: expected {expected}, seen {seen}")
    changed |= seen != seen_so_far
sys.exit("changed" if changed else 0)
PY
