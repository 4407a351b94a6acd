"""Scripts in a box end as they do by themselves: what they may count on, and how their output is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smc_decode.sandbox import Sandbox

THREAD = """
import threading

def late():
    threading.main_thread().join()
    print(input())

threading.Thread(target=late).start()
"""
DEEP = """
import resource, sys, threading

resource.setrlimit(resource.RLIMIT_STACK, (-1, -1))
sys.setrecursionlimit(10**6)
threading.stack_size(1 << 26)

def depth(n):
    return n and 1 + depth(n - 1)

thread = threading.Thread(target=lambda: print(depth(9000)))
thread.start()
thread.join()
"""
TEMPORARY = """
import os, pathlib, shutil, tempfile

with tempfile.TemporaryFile("w+") as file:
    file.write("one\\ntwo\\n")
    file.seek(0)
    print(file.readlines(), file.tell())
with tempfile.NamedTemporaryFile("wb", suffix=".bin", delete=False) as file:
    file.write(b"abc")
print(os.path.getsize(file.name), open(file.name, "rb").read(), file.name.endswith(".bin"))
with open(file.name, "a") as more:
    print("def", file=more)
print(pathlib.Path(file.name).read_text())
os.remove(file.name)
print(os.path.exists(file.name))
with tempfile.TemporaryDirectory() as place:
    os.makedirs(os.path.join(place, "a", "b"))
    inner = pathlib.Path(place, "a", "b", "x.txt")
    inner.write_text("x" * 10)
    shutil.copy(inner, pathlib.Path(place) / "y.txt")
    os.rename(pathlib.Path(place) / "y.txt", pathlib.Path(place) / "z.txt")
    print(sorted(os.listdir(place)), sorted(p.name for p in pathlib.Path(place).rglob("*")))
    for missing in (inner.with_name("no"), place):
        try:
            open(missing)
        except OSError as error:
            print(type(error).__name__)
print(os.path.isdir(place))
number, name = tempfile.mkstemp()
with os.fdopen(number, "r+") as file:
    print(file.write("12345"), file.seek(1), file.truncate(3), file.read())
number = os.open(name, os.O_RDWR)
print(os.write(number, b"z"), os.read(number, 9), os.lseek(number, 0, 0), os.fstat(number).st_size)
os.close(number)
with tempfile.SpooledTemporaryFile(4) as file:
    file.write(b"more than four")
    file.seek(5)
    print(file.read())
print(shutil.rmtree(tempfile.mkdtemp()))
"""
SCRIPTS = {
    "exit": "print(input())\nexit()\n",
    "quit with a status": "print(1)\nquit(3)\n",
    "sys.exit with a message": "import sys\nprint(1)\nsys.exit('no')\n",
    "atexit": "import atexit\natexit.register(print, 'last')\nprint('first')\n",
    "a thread that is not waited for": THREAD,
    "an executor that is not shut down": (
        "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor(2).submit(print, 7)\n"
    ),
    "fileinput": "import fileinput\nfor line in fileinput.input():\n    print(line[::-1])\n",
    "/dev/stdin": "print(open('/dev/stdin').read().upper())\n",
    "/dev/stdin by pathlib": "from pathlib import Path\nprint(Path('/dev/stdin').read_text())\n",
    "/dev/stdin by its descriptor": "import os\nprint(os.read(os.open('/dev/stdin', os.O_RDONLY), 99))\n",
    "a file on standard output": "out = open(1, 'w')\nout.write('kept')\n",
    "a file on /dev/stdout": "out = open('/dev/stdout', 'w')\nout.write('kept')\n",
    "output held back": (
        "import atexit, io, sys\nsys.stdout = io.StringIO()\n"
        "atexit.register(lambda: sys.__stdout__.write(sys.stdout.getvalue()))\nprint(5)\n"
    ),
    "output closed": "import sys\nprint(3)\nsys.stdout.close()\n",
    "no clean-up": "import os, sys\nprint(1)\nsys.stdout.flush()\nos._exit(0)\n",
    "no clean-up, with a status": "import os, sys\nprint(1)\nsys.stdout.flush()\nos._exit(4)\n",
    "arguments": "import sys\nprint(len(sys.argv), bool(__file__), __name__)\n",
    "a finaliser": "class A:\n    def __del__(self):\n        print('gone')\n\na = A()\n",
    "deep recursion": DEEP,
    "a byte order mark": "\ufeffprint(input())\n",
    "input by its size": "import os\nprint(os.read(0, os.fstat(0).st_size))\n",
    "input by mmap": "import mmap\nprint(mmap.mmap(0, 0, prot=mmap.PROT_READ)[:])\n",
    "input read twice": "import sys\na = sys.stdin.read()\nsys.stdin.seek(0)\nprint(a == sys.stdin.read())\n",
    "temporary files": TEMPORARY,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_writes_and_ends_as_it_does_by_itself(tier_sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SCRIPTS[name])
    (tmp_path / "input").write_text("ab\n")
    with open(tmp_path / "input") as stdin:
        alone = subprocess.run([sys.executable, tmp_path / "main.py"], stdin=stdin, capture_output=True, text=True)
    outcome = tier_sandbox.run_stdin(SCRIPTS[name], "ab\n", 10.0)
    assert outcome.stdout == alone.stdout
    assert (outcome.kind == "ended") == (alone.returncode == 0)


def test_daemon_threads_are_not_waited_for(tier_sandbox: Sandbox) -> None:
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint(1)\n"
    assert tier_sandbox.run_stdin(source, "", 10.0).stdout == "1\n"


def test_a_thread_without_end_is_a_timeout(tier_sandbox: Sandbox) -> None:
    source = (
        "import threading\n\ndef go_on():\n    while True:\n        pass\n\nthreading.Thread(target=go_on).start()\n"
    )
    assert tier_sandbox.run_stdin(source, "", 0.5).kind == "timeout"


def test_temporary_files_are_the_programs_own_and_nothing_else_can_be_written(tier_sandbox: Sandbox) -> None:
    source = (
        "import os, tempfile\n"
        "file = tempfile.NamedTemporaryFile(delete=False)\nfile.write(b'x')\nfile.close()\nprint(file.name)\n"
        "for path in ('/tmp/x', '/x', '/memory/../x', os.__file__, '/usr/x'):\n"
        "    try:\n        open(path, 'w')\n    except OSError:\n        print('refused')\n"
        "try:\n    os.rename(file.name, '/tmp/x')\nexcept OSError:\n    print('refused')\n"
    )
    name, *rest = tier_sandbox.run_stdin(source, "", 10.0).stdout.split()
    assert not Path(name).exists()
    assert rest == ["refused"] * 6
    again = f"import tempfile\nprint(open({name!r}).read())\n"
    assert tier_sandbox.run_stdin(again, "", 10.0).kind == "raised"
