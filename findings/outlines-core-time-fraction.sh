#!/usr/bin/env bash
# outlines_core: the dot before the fraction of a second is escaped twice for "format": "time" (not for "date-time").
# "05:06:07.25Z" cannot be written, and what can is a backslash with any character after it: not even JSON.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check outlines_core==0.2.14

venv/bin/python -I - <<'PY'
import json
import re
import sys
from importlib.metadata import version

from outlines_core.json_schema import build_regex_from_schema

print("outlines_core", version("outlines_core"))
changed = False
for kind, text, expected, seen_so_far in [
    ("date-time", '"2021-03-04T05:06:07.250Z"', True, True),
    ("time", '"05:06:07Z"', True, True),
    ("time", '"05:06:07.25Z"', True, False),
    ("time", r'"05:06:07\q25Z"', False, True),
]:
    schema = json.dumps({"type": "string", "format": kind})
    seen = re.fullmatch(build_regex_from_schema(schema), text) is not None
    print(f"{schema} takes {text}: expected {expected}, seen {seen}")
    changed |= seen != seen_so_far
try:
    json.loads(text)
except ValueError as error:
    print(f"the last is no JSON: {error}")
sys.exit("changed" if changed else 0)
PY
