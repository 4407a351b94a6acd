"""Progress in the terminal: pass rate so far and time left, one line a method; plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Planned(Protocol):
    """A run that is yet to be done."""

    @property
    def key(self) -> tuple[str, str, int]: ...


class Watch:
    """Told of every result."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._shown = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not self._shown,
        )
        self._tasks: dict[str, TaskID] = {}
        self._passed: dict[str, list[bool]] = {}
        self._all: TaskID | None = None
        self._left = self._new = 0
        self._start = time.monotonic()

    def plan(self, waiting: Sequence[Planned], before: Sequence[Mapping[str, Any]]) -> None:
        """What is to come, and what an earlier run has done already."""
        totals: dict[str, int] = {}
        for record in before:
            self._passed.setdefault(record["method"], []).append(record["passed"])
            totals[record["method"]] = totals.get(record["method"], 0) + 1
        for job in waiting:
            totals[job.key[0]] = totals.get(job.key[0], 0) + 1
        for label, total in totals.items():
            done = len(self._passed.get(label, ()))
            self._tasks[label] = self._bars.add_task(
                label, total=total, completed=done, rate=self._rate(label), left=""
            )
        self._left, self._new, self._start = len(waiting), 0, time.monotonic()
        if len(totals) > 1:
            self._all = self._bars.add_task("all", total=sum(totals.values()), completed=len(before), rate="", left="")
        if not self._shown:
            self._console.print(f"{len(waiting)} runs to do, {len(before)} done before", highlight=False)

    def done(self, record: Mapping[str, Any]) -> None:
        """One more result."""
        label = record["method"]
        self._passed.setdefault(label, []).append(record["passed"])
        self._left -= 1
        self._new += 1
        left = self.time_left()
        if self._shown:
            self._bars.update(self._tasks[label], advance=1, rate=self._rate(label))
            if self._all is not None:
                self._bars.update(self._all, advance=1, left=f"{left} left")
            return
        mark = "pass" if record["passed"] else "fail"
        self._console.print(
            f"{record['problem']:<16} {label:<32} {mark}  {self._rate(label)}  {record['account']['drawn']} tokens  "
            f"{record['account']['seconds']:.0f} s  {left} left",
            highlight=False,
            soft_wrap=True,
        )

    def time_left(self) -> str:
        """At the rate so far."""
        if not self._new:
            return "?"
        seconds = (time.monotonic() - self._start) / self._new * self._left
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes}:{seconds:02d}"

    def _rate(self, label: str) -> str:
        passed = self._passed.get(label, [])
        return f"{sum(passed)}/{len(passed)} = {sum(passed) / len(passed):.0%}" if passed else ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
