"""Reading code where it holds nothing up: short texts in a thread of this process, longer ones in a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from smc_decode.potentials.accounts import Workers
from smc_decode.potentials.base import Prefix
from smc_decode.potentials.cache import gather
from smc_decode.potentials.code.scripts import NO_PYTHON, Program
from smc_decode.potentials.options import RewardRequestError
from smc_decode.sandbox.inbox import wire
from smc_decode.sandbox.results import Call
from smc_decode.workers import code
from smc_decode.workers.pool import TaskDied, TaskError

SHORT: Final = 2_000
"""Characters that are read within a few hundredths of a second, whatever they are."""
SECONDS: Final = 20.0
"""Processor time for one text; reading is linear in it, so none of the allowed lengths needs as much."""


TestNames = list[list[tuple[int, int, str]]]
"""For each source of tests the first line, the last line and the name of each."""


class CodeReader:
    """Reads what models and clients wrote. ``workers`` None: everything in this process."""

    def __init__(self, workers: Workers | None = None) -> None:
        self._workers = workers

    def task(self, text: str, entry_point: str | None, tests: Sequence[str]) -> tuple[str, str, tuple[str, ...], bool]:
        """The code that a task shows, its function, what else the tests use, and whether that is under test too. May
        wait: call it in a thread."""
        found = self._read("code_task", text=text, entry_point=entry_point, tests=list(tests))
        return str(found[0]), str(found[1]), tuple(map(str, found[2])), bool(found[3])

    def refused(self, tests: Sequence[str], entry_point: str, helpers: str) -> tuple[int, str] | None:
        """The first test that cannot be used, and why. May wait."""
        found = self._read("refused_tests", tests=list(tests), entry_point=entry_point, helpers=helpers)
        return None if found is None else (int(found[0]), str(found[1]))

    def test_names(self, tests: Sequence[str]) -> TestNames:
        """Where each test stands in its source, and its name. May wait."""
        found = self._read("test_names", tests=list(tests))
        return [[(int(first), int(last), str(name)) for first, last, name in each] for each in found]

    def examples(self, texts: Sequence[str], entry_point: str, probes: int) -> tuple[list[str], list[Call]]:
        """Assertions that a prompt gives as examples, and calls near them. May wait."""
        found = self._read("examples", texts=list(texts), entry_point=entry_point, probes=probes)
        calls = [Call(wire.decode(each.encode("latin-1"))) for each in found["probes"]]  # type: ignore[arg-type]
        return list(found["assertions"]), calls

    def functions(self, text: str) -> list[tuple[str, str]]:
        """The functions that a task leaves to be written, each with its own part of the task's code. May wait."""
        return [(str(name), str(part)) for name, part in self._read("asked_functions", text=text)]

    async def programs(
        self,
        batch: Sequence[Prefix],
        *,
        prompt: str,
        lead: str,
        entry_point: str,
        chat: bool,
        names: Sequence[str] = (),
    ) -> list[Program]:
        """The program of each answer. ``lead``: what every answer begins with; ``names``: what it should define beside
        the entry point."""

        def read(prefix: Prefix) -> Program:
            return Program(**code.program(prompt, lead + prefix.text, prefix.finished, entry_point, chat, names))

        async def elsewhere(prefix: Prefix) -> Program:
            assert self._workers is not None
            try:
                found = await self._workers.acall(
                    "program", SECONDS, prompt=prompt, text=lead + prefix.text, finished=prefix.finished,
                    entry_point=entry_point, chat=chat, names=list(names),
                )  # fmt: skip
            except (TaskDied, TaskError):
                return NO_PYTHON
            return Program(**found)

        base = len(prompt) + len(lead)
        is_long = [self._workers is not None and base + len(each.text) > SHORT for each in batch]
        long = [i for i, far in enumerate(is_long) if far]
        short = [i for i, far in enumerate(is_long) if not far]
        found = dict(zip(short, await asyncio.to_thread(lambda: [read(batch[i]) for i in short]), strict=True))
        found |= dict(zip(long, await gather(elsewhere(batch[i]) for i in long), strict=True))
        return [found[i] for i in range(len(batch))]

    def _read(self, task: str, **args: Any) -> Any:
        if self._workers is None or sum(map(_size, args.values())) <= SHORT:
            return _TASKS[task](**args)
        try:
            return self._workers.call(task, SECONDS, **args)
        except (TaskDied, TaskError) as error:
            where = "smc.reward.params"
            raise RewardRequestError(f"{where}: the code cannot be read within the limits: {error}", where) from error


_TASKS: Final[dict[str, Any]] = {
    "code_task": code.task, "refused_tests": code.refused, "examples": code.examples,
    "test_names": code.test_names, "asked_functions": code.functions,
}  # fmt: skip


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(map(_size, value)) if isinstance(value, list) else 0
