"""A Python function of the operator's as a reward: ``package.module:function``.

``function(prompt, answer, finished, **params) -> r`` or ``(r, detail)``, sync (run in a thread) or async; with
``batched`` it is ``function(prompt, answers, finished, **params) -> [r, ...]`` with lists. r must be in [0, 1].
What the function raises, or that it takes too long, is a failure of the reward; a number that is none is an
error of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import Field

from smc_decode.potentials.base import PotentialError, Prefix, Reward, RewardFailure, RewardSource
from smc_decode.potentials.cache import gather
from smc_decode.potentials.declaration import Kind, Resources
from smc_decode.potentials.function import as_reward
from smc_decode.potentials.options import Finite, Options, RewardConfigError, RewardRequest


class EntryPointOptions(Options):
    """``function``: ``package.module:name``, set by the operator only. ``params``: further keyword arguments.
    ``parallel``: calls at a time. ``timeout`` in seconds for one call (a sync function that overruns keeps its
    thread until it ends)."""

    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    params: dict[str, Any] = Field(default_factory=dict)
    batched: bool = False
    judge_prefixes: bool = False
    cacheable: bool = True
    parallel: int = Field(4, ge=1, le=64)
    timeout: Finite = Field(30.0, gt=0, le=3600)


def load(path: str) -> Callable[..., Any]:
    """The function that ``package.module:name`` names. Raises RewardConfigError."""
    module_name, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise RewardConfigError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise RewardConfigError(f"{path} is not callable")
    function: Callable[..., Any] = found
    return function


class Runner:
    """A loaded function with its threads; shared by all requests of one reward."""

    def __init__(self, path: str, parallel: int) -> None:
        self.function = load(path)
        self.path = path
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="reward-function")

    async def call(self, timeout: float, *args: Any, **params: Any) -> Any:
        """What the function returns. Raises RewardFailure."""
        try:
            async with asyncio.timeout(timeout):
                if inspect.iscoroutinefunction(self.function):
                    return await self.function(*args, **params)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, lambda: self.function(*args, **params))
        except TimeoutError as error:
            raise RewardFailure(f"{self.path} took more than {timeout:g} s") from error
        except (Exception, SystemExit) as error:  # exit() in a function must not end the server
            raise RewardFailure(f"{self.path} raised {type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class EntryPoint(RewardSource):
    """The reward source."""

    def __init__(
        self, options: EntryPointOptions, request: RewardRequest, runner: Runner, *, name: str = "function"
    ) -> None:
        self.name = name
        self.options = options
        self.prefixes = options.judge_prefixes
        self.cacheable = options.cacheable
        self._runner = runner
        self._task = request.task

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        options = self.options
        if not options.batched:
            return await gather(self._one(prefix) for prefix in batch)
        answers, finished = [prefix.text for prefix in batch], [prefix.finished for prefix in batch]
        results = await self._runner.call(options.timeout, self._task, answers, finished, **options.params)
        if not isinstance(results, Sequence) or len(results) != len(batch):
            raise PotentialError(f"{options.function} must return a list of {len(batch)} rewards, one an answer")
        return [as_reward(result, options.function, options.function) for result in results]

    async def _one(self, prefix: Prefix) -> Reward:
        options = self.options
        result = await self._runner.call(options.timeout, self._task, prefix.text, prefix.finished, **options.params)
        return as_reward(result, options.function, options.function)


def _missing(resources: Resources, options: Mapping[str, Any]) -> str:
    try:
        load(str(options.get("function", "")))
    except RewardConfigError as error:
        return str(error)
    return ""


KIND = Kind(
    "A Python function of the operator's",
    EntryPointOptions,
    lambda options, context: EntryPoint(
        options,
        context.request,
        context.shared("runner", lambda: Runner(options.function, options.parallel)),
        name=context.name,
    ),
    request_params=("params",),
    operator_only=("function", "batched", "cacheable", "parallel"),
    missing=_missing,
    builtin=False,
)
