"""What a kind of reward source declares of itself, in its own file: ``KIND = Kind(...)``.

A package of the user's adds its own with an entry point in the group ``smc_decode.rewards`` (docs/rewards.md, "A
package of rewards").
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from smc_decode.potentials.accounts import PaidSandbox, PaidWorkers
from smc_decode.potentials.base import RewardSource
from smc_decode.potentials.cache import ContentCache
from smc_decode.potentials.options import Options, RewardRequest
from smc_decode.workers.fair import FairPlaces

if TYPE_CHECKING:
    from smc_decode.workers.pool import WorkerPool

OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass
class Resources:
    """What sources are made of. ``sandbox`` and ``engine`` are None where there are none, and the reasons say why.

    ``engine`` is the generator. ``models`` gives named further ones (judges and reward models) that are loaded already.
    """

    sandbox: Any = None
    sandbox_reason: str = "no sandbox is running"
    engine: Any = None
    workers: WorkerPool | None = None
    models: Mapping[str, Any] = field(default_factory=dict)
    allow_client_tests: bool = False

    _places: FairPlaces | None = None

    def sandbox_places(self) -> FairPlaces:
        """As many places as the sandbox runs programs at a time."""
        if self._places is None:
            self._places = FairPlaces(getattr(self.sandbox, "max_parallel", None) or os.cpu_count() or 1)
        return self._places

    def worker_pool(self) -> WorkerPool:
        """The worker processes, whose pool is made when it is first needed."""
        if self.workers is None:
            from smc_decode.workers.pool import WorkerPool

            self.workers = WorkerPool()
        return self.workers


@dataclass(frozen=True)
class Context:
    """What a kind gets to make a source: the reward's name, the request, the resources; ``shared`` makes a thing once
    per reward name and keeps it for all requests, ``common`` once for all rewards; ``member`` gives another reward of
    the catalogue by name. ``where``: how errors call the params."""

    name: str
    request: RewardRequest
    resources: Resources
    where: str
    shared: Callable[[str, Callable[[], Any]], Any]
    common: Callable[[Hashable, Callable[[], Any]], Any]
    member: Callable[[str, Mapping[str, Any], str], RewardSource]

    @property
    def sandbox(self) -> PaidSandbox:
        """The sandbox, at the request's expense."""
        return PaidSandbox(self.resources.sandbox, self.resources.sandbox_places(), self.request.account)

    @property
    def workers(self) -> PaidWorkers:
        """The worker processes, at the request's expense."""
        return PaidWorkers(self.resources.worker_pool(), self.request.account)

    def cache(self) -> ContentCache[Any]:
        """Scores by content, shared by all requests of this reward."""
        found: ContentCache[Any] = self.shared("cache", ContentCache)
        return found


class Loadable(Protocol):
    """A model that is loaded before the first request. ``model``: what messages call it."""

    model: str

    async def start(self) -> object:
        """Load it, unless it is there. Raises RewardFailure or PotentialError."""
        ...


@dataclass(frozen=True)
class Kind(Generic[OptionsT]):
    """One kind of source.

    ``request_params``: what a request may set unless the operator says otherwise. ``code_params``: those that carry
    code which will be run (``name=value``: that make the request's text such code). ``operator_only``: those that no
    request may ever set. ``modules``: what must be installed, of ``extra``. ``missing``: why it cannot work
    with these resources and operator's options, or ''.
    ``builtin``: offered without configuration. ``loads``: what its sources need loaded, or None.
    """

    description: str
    options: type[OptionsT]
    create: Callable[[OptionsT, Context], RewardSource]
    request_params: tuple[str, ...] = ()
    code_params: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    operator_only: tuple[str, ...] = ()
    missing: Callable[[Resources, Mapping[str, Any]], str] = lambda resources, options: ""
    extra: str = "rewards"
    builtin: bool = True
    loads: Callable[[OptionsT, Context], Loadable | None] | None = None

    def unavailable(self, resources: Resources, options: Mapping[str, Any]) -> str:
        """Why this kind does not work here, or ''."""
        absent = [module for module in self.modules if find_spec(module) is None]
        if absent:
            return f"needs {', '.join(absent)}: pip install 'smc-decode[{self.extra}]'"
        return self.missing(resources, options)


def no_sandbox(resources: Resources, options: Mapping[str, Any]) -> str:
    """``missing`` of what runs programs."""
    return "" if resources.sandbox is not None else resources.sandbox_reason


async def close(thing: object) -> None:
    """Close a shared object that can be closed."""
    for name in ("aclose", "close"):
        method = getattr(thing, name, None)
        if callable(method):
            result = method()
            if isinstance(result, Awaitable):
                await result
            return


def in_the_sandbox(create: Callable[..., RewardSource]) -> Callable[[Any, Context], RewardSource]:
    """``Kind.create`` of sources that run programs: ``create(options, request, sandbox, name=, cache=, workers=)``."""

    def made(options: Any, context: Context) -> RewardSource:
        tools = {"name": context.name, "cache": context.cache(), "workers": context.workers}
        return create(options, context.request, context.sandbox, **tools)

    return made
