#!/usr/bin/env bash
# What changed in the library's public names since the last release, by griffe: fails where something broke.
#   usage: scripts/api.sh PYTHON
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:?usage: scripts/api.sh PYTHON}

if ! tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null); then
    echo "skipped: there is no tag v* in this clone, so there is no release to compare with"
    exit 0
fi
echo "==> smc_decode against $tag"
exec "$python" -m griffe check smc_decode --against "$tag" --search .
