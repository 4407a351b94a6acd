"""Problems as tasks of a Ray cluster: engines on its nodes solve them, and this process marks and writes.

One file of results and ``--resume`` are therefore as without Ray. A problem's seed is its own, so that one that is
begun again, because its engine was lost, gives the same answer, and it is written once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from .methods import Method
from .prompts import Prompt
from .settings import SettingsError
from .solvers import Outcome, RewardSpec, Solver, SolverError

Make = Callable[[], Awaitable[tuple[Solver, dict[str, Any]]]]
"""Makes a solver where it is called, and says what the header of a file of results tells of its model."""
TRIES = 3
"""How often an engine is started anew, and a problem is begun on it, before the run ends."""


class Worker:
    """One engine, in a process of its own somewhere in the cluster."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._made: asyncio.Task[tuple[Solver, dict[str, Any]]] | None = None

    async def model(self) -> dict[str, Any]:
        """What the header says of the model."""
        return (await self._ready())[1]

    async def solve(self, *asked: Any, **options: Any) -> Outcome:
        """As :meth:`Solver.solve`."""
        solver, _ = await self._ready()
        return await solver.solve(*asked, **options)

    async def close(self) -> None:
        """End the engine."""
        if self._made is not None:
            await (await self._made)[0].close()

    async def _ready(self) -> tuple[Solver, dict[str, Any]]:
        # Not in __init__: Ray starts an actor that was lost anew, and the problems that come first wait for one engine.
        if self._made is None:
            self._made = asyncio.ensure_future(self._make())
        return await asyncio.shield(self._made)


class ClusterSolver:
    """Gives each problem to the engine with the fewest. ``workers``: handles of :class:`Worker` actors."""

    def __init__(self, workers: Sequence[Any], release: Callable[[], None] = lambda: None) -> None:
        self._workers = list(workers)
        self._busy = [0] * len(self._workers)
        self._release = release

    def __len__(self) -> int:
        return len(self._workers)

    @classmethod
    async def connect(cls, address: str, make: Make, engines: int | None = None) -> Self:
        """Start ``engines`` workers in the cluster at ``address`` (``local``: on this machine); None: one a GPU, or
        one a node where there is none. Raises SettingsError."""
        try:
            import ray
        except ImportError as error:
            raise SettingsError("ray: Ray is not installed: pip install 'smc-decode[ray]'") from error
        ours = not ray.is_initialized()
        if ours:
            try:
                await asyncio.to_thread(ray.init, address=address, log_to_driver=False)
            except (ConnectionError, ValueError) as error:
                raise SettingsError(f"ray: no cluster at {address!r}: {error}") from error
        gpus = int(ray.cluster_resources().get("GPU", 0))
        share = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        actor = ray.remote(Worker).options(
            **share, max_restarts=TRIES, max_task_retries=TRIES, scheduling_strategy="SPREAD"
        )
        nodes = sum(node["Alive"] for node in ray.nodes())
        workers = [actor.remote(make) for _ in range(engines or gpus or nodes)]

        def release() -> None:
            for worker in workers:
                ray.kill(worker)
            if ours:
                ray.shutdown()

        return cls(workers, release)

    async def model(self) -> dict[str, Any]:
        """What the header says of the model. Raises SolverError: an engine cannot start, or has another model."""
        models = await asyncio.gather(*(self._answer(worker.model.remote()) for worker in self._workers))
        if any(each != models[0] for each in models):
            raise SolverError("the nodes of the Ray cluster have different models under this name")
        return {**models[0], "engines": len(models)}

    async def solve(
        self, prompt: Prompt, method: Method, reward: RewardSpec | None, *, seed: int, max_tokens: int, extractor: str
    ) -> Outcome:
        """As :meth:`Solver.solve`. Raises SolverError: the engine failed, or was lost several times."""
        i = self._busy.index(min(self._busy))
        self._busy[i] += 1
        try:
            task = self._workers[i].solve.remote(
                prompt, method, reward, seed=seed, max_tokens=max_tokens, extractor=extractor
            )
            outcome: Outcome = await self._answer(task)
        finally:
            self._busy[i] -= 1
        return outcome

    async def close(self) -> None:
        ends = (self._answer(worker.close.remote()) for worker in self._workers)
        await asyncio.gather(*ends, return_exceptions=True)
        await asyncio.to_thread(self._release)

    async def _answer(self, task: Awaitable[Any]) -> Any:
        try:
            return await task
        except Exception as error:  # of any kind, as the worker's own, in Ray's clothes
            cause = getattr(error, "cause", None) or error
            raise SolverError(f"an engine in the Ray cluster failed: {type(cause).__name__}: {cause}") from error
