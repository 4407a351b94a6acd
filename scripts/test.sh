#!/usr/bin/env bash
# Runs the tests in three processes and fails if one fails: what needs no engine and no model, then the sandbox,
# then what needs vLLM and the bundled model.
#   usage: scripts/test.sh PYTHON [without-engine]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:?usage: scripts/test.sh PYTHON [without-engine]}
status=0

# Models are folders by now; a test that asks the hub for one is wrong.
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
"$python" -m pytest -m "not vllm" --ignore=tests/conformance --ignore=tests/sandbox -n auto --dist worksteal || status=1
# One at a time: these look at the machine's processes, files and user ids for what a hostile program left behind.
"$python" -m pytest tests/sandbox || status=1
[ "${2:-}" = without-engine ] || "$python" -m pytest -m vllm --ignore=tests/conformance || status=1
exit $status
