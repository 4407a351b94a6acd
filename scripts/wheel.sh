#!/usr/bin/env bash
# Builds the source distribution and from it the wheel, installs the wheel alone into an empty environment, and tries there what
# needs no extra: the library's import, a run on the table engine, and what the command says is missing.
#   usage: scripts/wheel.sh PYTHON      (the wheel stays in dist/)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:?usage: scripts/wheel.sh PYTHON}
case $python in */*) python=$(realpath -s "$python") ;; esac

rm -rf dist
"$python" -m build --outdir dist .
names=$("$python" -m zipfile -l dist/*.whl | awk 'NR > 1 { split($1, part, "/"); print part[1] }' | sort -u)
if others=$(grep -v '^smc_decode' <<<"$names"); then
    printf 'error: the wheel installs at the top level: %s\n' "$others" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/env"
"$work/env/bin/python" -m pip --disable-pip-version-check install -q dist/*.whl
cd "$work"
env/bin/python - <<'PYTHON'
import math
import sys

from smc_decode import SMCConfig, sample_sync
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential, RewardCatalogue

engine = TableEngine(lambda tokens: [math.log(0.25)] * 4, vocab_size=4, eos_token_id=0)
reward = FunctionPotential(lambda tokens, finished: 0.5 * tokens.count(3), kind="telescoping")
result = sample_sync(engine, (), potential=reward, config=SMCConfig(block_size=2, max_tokens=6), seed=0)
assert result.log_z is not None and math.isfinite(result.log_z), result.log_z
assert RewardCatalogue.default().infos()
for name in ("fastapi", "httpx", "rich", "torch", "typer", "vllm"):
    assert name not in sys.modules, name
PYTHON
said=$(env/bin/smc-decode serve 2>&1) && { echo "error: smc-decode ran without its extra" >&2; exit 1; }
grep -q "smc-decode\[server\]" <<<"$said" || { printf 'error: smc-decode said: %s\n' "$said" >&2; exit 1; }
echo "==> the wheel installs, and the library works alone"
