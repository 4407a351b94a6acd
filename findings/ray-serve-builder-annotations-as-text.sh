#!/usr/bin/env bash
# Ray Serve: `serve run module:builder name=value` turns the arguments into the pydantic model that the builder's
# parameter is annotated with, and refuses what does not fit. With `from __future__ import annotations` in the builder's
# module the annotation is text, Serve takes it for none, and the builder gets the unchecked dict of strings without a
# word: a misspelt argument is ignored, `replicas=three` arrives as it is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "ray[serve]==2.60.0"

cat > plain.py <<'PY'
from pydantic import BaseModel


class Arguments(BaseModel):
    replicas: int = 1


def build(args: Arguments):
    print(f"the builder of {__name__} got {type(args).__name__}: {args!r}", flush=True)
    raise SystemExit(0)
PY
{ echo 'from __future__ import annotations'; cat plain.py; } > future.py

run() { # the refusal ends with an exit status of its own
    { venv/bin/serve run --app-dir . "$1:build" "replicas=$2" 2>&1 || true; } | grep -E "the builder of|valid integer" || true
}
plain=$(run plain 3)
wrong=$(run plain three)
future=$(run future three)
venv/bin/python -c "import ray; print('ray', ray.__version__)"
printf '%s\n' "$plain" "refused:$wrong" "$future"
[[ $plain == *"got Arguments: Arguments(replicas=3)"* && $wrong == *"valid integer"* && $future == *"got dict: {'replicas': 'three'}"* ]] || {
    echo "the behaviour has changed"; exit 1; }
# ray 2.60.0
# the builder of plain got Arguments: Arguments(replicas=3)
# refused:  Input should be a valid integer, unable to parse string as an integer [type=int_parsing, input_value='three', input_type=str]
# the builder of future got dict: {'replicas': 'three'}
