#!/usr/bin/env bash
# cosmic-ray: the minus of `a == -b` is replaced by `not`, which gives `a == not b`: no Python. The mutant counts as
# one that ran normally and was killed, even by a test that checks nothing, so it makes the score look better.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check \
  cosmic-ray==8.7.0 parso==0.8.7 stevedore==5.10.0 SQLAlchemy==2.1.9 attrs==26.1.0 click==8.5.1
export PATH="$work/venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH

cat > signs.py <<'PY'
def opposite(a, b):
    return a == -b
PY
cat > session.toml <<'TOML'
[cosmic-ray]
module-path = "signs.py"
timeout = 30.0
excluded-modules = []
test-command = "python -c 'import signs'"

[cosmic-ray.distributor]
name = "local"
TOML
cosmic-ray init session.toml session.sqlite
cosmic-ray exec session.toml session.sqlite
cosmic-ray dump session.sqlite > dump.jsonl

python - <<'PY'
import json
import sys
from importlib.metadata import version

print("cosmic-ray", version("cosmic-ray"))
killed = []
for line in open("dump.jsonl"):
    item, result = json.loads(line)
    if result["test_outcome"] == "killed":
        mutated = next(row[1:].strip() for row in result["diff"].splitlines() if row.startswith("+    "))
        killed.append(mutated)
        print(item["mutations"][0]["operator_name"], result["worker_outcome"], result["test_outcome"], mutated, sep=" | ")
print(f"killed by a test that only imports the module: expected [], seen {killed}")
try:
    compile("a == not b", "mutant", "eval")
except SyntaxError as error:
    print(f"a == not b: {error.msg}")
sys.exit("changed" if killed != ["return a == not b"] else 0)
PY
