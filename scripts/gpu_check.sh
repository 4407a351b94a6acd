#!/usr/bin/env bash
# Everything that matters on a machine with a GPU, in one command: start and self-checks, exactness, speed, a slice of
# HumanEval. Writes results/gpu/check.json and check.md. Needs `make setup EXTRA=cuda` and a GPU that nvidia-smi lists;
# ANYWAY=1 goes on without one, to try the script itself. MODEL, EVERY (problems) and CASES may be set.
set -uo pipefail
cd "$(dirname "$0")/.."
PY=${PY:-.venv/bin/python}
OUT=${OUT:-results/gpu}
CASES=${CASES:-reference,b32,b8,own-cpu,memory,merge}
EVERY=${EVERY:-8}
MODEL=${MODEL:-}
mkdir -p "$OUT"
if ! nvidia-smi -L > "$OUT/gpus.txt" 2>/dev/null && [[ -z ${ANYWAY:-} ]]; then
    echo "no GPU answers (nvidia-smi -L): this check is for a machine with one; ANYWAY=1 tries the script without" >&2
    exit 2
fi
model=(); [[ -n $MODEL ]] && model=(--model "$MODEL")
step() { # name, command...: its output, exit status and seconds are kept
    local name=$1 begun=$SECONDS; shift
    echo "==> $name: $*"
    "$@" > "$OUT/$name.log" 2>&1
    local status=$?
    echo "$name $status $((SECONDS - begun))" >> "$OUT/steps.txt"
    [[ $status == 0 ]] || { echo "    failed ($status):"; tail -5 "$OUT/$name.log"; }
}
rm -f "$OUT/steps.txt" "$OUT"/*.jsonl
step doctor .venv/bin/smc-decode doctor
step selfcheck "$PY" -m pytest -q tests/engines/vllm/test_engine.py tests/engines/vllm/test_draws.py
step exactness "$PY" -m pytest -q -m vllm tests/engines/vllm/test_merging.py tests/engines/vllm/test_shared_rows.py tests/engines/vllm/test_partial_hits.py
step speed "$PY" -m benchmarks.speed --cases "$CASES" --out "$OUT/speed.jsonl" --markdown "${model[@]}"
step humaneval "$PY" -m benchmarks.humaneval --every "$EVERY" --methods base,best-of-n,best-of-n:alpha=4,smc-reward,smc,search --out "$OUT/humaneval.jsonl" "${model[@]}"
"$PY" - "$OUT" <<'PY'
import json
import sys
from pathlib import Path

out = Path(sys.argv[1])
steps = [line.split() for line in (out / "steps.txt").read_text().splitlines()]
gpus = (out / "gpus.txt").read_text().splitlines() if (out / "gpus.txt").exists() else []
found = {
    "gpus": [line.partition(" (UUID")[0] for line in gpus],
    "steps": [{"name": name, "status": int(status), "seconds": int(seconds)} for name, status, seconds in steps],
    "speed": [json.loads(line) for line in (out / "speed.jsonl").read_text().splitlines()]
    if (out / "speed.jsonl").exists() else [],
}
(out / "check.json").write_text(json.dumps(found, indent=1) + "\n")
page = ["# Check on a GPU", "", *(f"* {gpu}" for gpu in found["gpus"]), "", "| step | passed | seconds |", "|---|---|---|"]
page += [f"| {each['name']} | {'yes' if each['status'] == 0 else 'no'} | {each['seconds']} |" for each in found["steps"]]
for name in ("speed.log", "humaneval.md"):
    if (out / name).exists():
        page += ["", f"## {name.partition('.')[0]}", "", (out / name).read_text()]
(out / "check.md").write_text("\n".join(page) + "\n")
print(f"written: {out / 'check.json'}, {out / 'check.md'}")
sys.exit(any(each["status"] for each in found["steps"]))
PY
