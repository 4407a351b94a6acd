#!/usr/bin/env bash
# Lines and branches that the tests without an engine reach; fails below `fail_under` of pyproject.toml.
#   usage: scripts/coverage.sh PYTHON [ARGUMENTS OF PYTEST]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:?usage: scripts/coverage.sh PYTHON}
shift
status=0

export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
"$python" -m pytest -m "not vllm" --ignore=tests/conformance --ignore=tests/sandbox -n auto --dist worksteal \
    --cov --cov-report= "$@" || status=1
"$python" -m pytest tests/sandbox --cov --cov-append --cov-report=term "$@" || status=1
exit $status
