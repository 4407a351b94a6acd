#!/usr/bin/env bash
# outlines_core: a string's `pattern` is dropped, without a word, as soon as `minLength` or `maxLength` stands beside
# it. In JSON Schema all keywords of a schema hold together.
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
for schema, seen_so_far in [
    ({"type": "string", "pattern": "^[0-9]+$"}, False),
    ({"type": "string", "pattern": "^[0-9]+$", "maxLength": 8}, True),
    ({"type": "string", "pattern": "^[0-9]+$", "minLength": 1}, True),
]:
    built = build_regex_from_schema(json.dumps(schema))
    seen = re.fullmatch(built, '"none"') is not None
    print(f'{json.dumps(schema)} lets "none" pass: expected False, seen {seen}: {built}')
    changed |= seen != seen_so_far
sys.exit("changed" if changed else 0)
PY
