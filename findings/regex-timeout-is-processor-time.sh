#!/usr/bin/env bash
# regex: on Linux `timeout=`, "in seconds", is of the processor's time, and of the whole process's. A replacement that
# sleeps never runs out of time, though the package's own page shows a TimeoutError for it; and with another thread at
# work the same call does, for what that thread has used. (mrab-regex issue 321 has the first half, for macOS.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check regex==2026.11.19

venv/bin/python -I - <<'PY'
import sys
import threading
import time
from importlib.metadata import version

import regex

TIMEOUT = 0.4  # s
done = threading.Event()


def sleepy(match):
    time.sleep(0.25)
    return "-"


def replace(letters):
    start = time.monotonic()
    try:
        regex.sub("[a-z]", sleepy, letters, timeout=TIMEOUT)
        outcome = "no TimeoutError"
    except TimeoutError:
        outcome = "TimeoutError"
    print(f"timeout={TIMEOUT}, {len(letters)} x 0.25 s of sleep, {threading.active_count() - 1} busy threads: "
          f"expected TimeoutError at about {TIMEOUT} s, seen {outcome} after {time.monotonic() - start:.1f} s")
    return outcome


def busy():
    while not done.is_set():
        sum(range(1000))


print("regex", version("regex"), "on", sys.platform)
alone = replace("abcdef")
thread = threading.Thread(target=busy)
thread.start()
beside = replace("abcdef")
done.set()
thread.join()
sys.exit("changed" if (alone, beside) != ("no TimeoutError", "TimeoutError") else 0)
PY
