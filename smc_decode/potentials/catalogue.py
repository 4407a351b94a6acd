"""The rewards that a server offers by name: built-in ones, those of installed packages, and those of the operator's
TOML file (``offers.py`` has its form)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Self

from smc_decode.potentials.base import Potential, PotentialError, RewardFailure, RewardPotential, RewardSource
from smc_decode.potentials.declaration import Context, Resources, close
from smc_decode.potentials.lead import with_lead
from smc_decode.potentials.offers import Offer, RewardInfo, read_offers, takes_code
from smc_decode.potentials.options import RewardConfigError, RewardRequest, RewardRequestError, validate

PARAMS = "smc.reward.params"
_MAX_DEPTH = 3


class RewardCatalogue:
    """Names to rewards. Made once per server; keeps what its sources share between requests until :meth:`aclose`."""

    def __init__(self, offers: Mapping[str, Offer], resources: Resources) -> None:
        self._offers = dict(offers)
        self.resources = resources
        self._shared: dict[tuple[str | None, Hashable], Any] = {}

    @classmethod
    def default(
        cls,
        *,
        sandbox: Any | None = None,
        engine: Any | None = None,
        allow_client_tests: bool = False,
        **resources: Any,
    ) -> Self:
        """The rewards that need no configuration. ``sandbox``: a :class:`smc_decode.sandbox.Sandbox`, or None;
        ``engine``: the generator. Further keywords are fields of :class:`Resources`."""
        return cls.from_toml({}, sandbox=sandbox, engine=engine, allow_client_tests=allow_client_tests, **resources)

    @classmethod
    def from_toml(
        cls,
        config: str | Path | Mapping[str, Any],
        *,
        sandbox: Any | None = None,
        engine: Any | None = None,
        allow_client_tests: bool = False,
        **resources: Any,
    ) -> Self:
        """Those, and the ones of a TOML file (or of its parsed content). Raises RewardConfigError."""
        if isinstance(config, (str, Path)):
            try:
                config = tomllib.loads(Path(config).read_text())
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise RewardConfigError(f"{config}: {error}") from error
        offers = read_offers(config.get("rewards", {}))
        made = Resources(sandbox=sandbox, engine=engine, allow_client_tests=allow_client_tests, **resources)
        return cls(offers, made)

    @property
    def names(self) -> list[str]:
        return sorted(self._offers)

    def infos(self) -> list[RewardInfo]:
        """Every reward, by name, also those that are not available here."""
        return [self._offers[name].info(self.resources) for name in self.names]

    def build(
        self, name: str, params: Mapping[str, Any] | None, *, reward_scale: float, request: RewardRequest
    ) -> Potential:
        """The potential R = exp(reward_scale · r) of a request. Raises RewardRequestError, PotentialError."""
        return RewardPotential(self.source(name, params, request), reward_scale)

    def source(
        self,
        name: str,
        params: Mapping[str, Any] | None,
        request: RewardRequest,
        where: str = PARAMS,
        depth: int = 0,
    ) -> RewardSource:
        """The reward source of a request. ``where``: how errors call ``params``."""
        named = "smc.reward.name" if where == PARAMS else where
        offer = self._available(name, named)
        if depth > _MAX_DEPTH:
            raise RewardRequestError(f"reward {name!r} has more than {_MAX_DEPTH} levels of members", named)
        params = {} if params is None else params
        if not isinstance(params, Mapping):
            raise RewardRequestError(f"{where} must be an object", where)
        offer.check(params, where, takes_code=takes_code(request, self.resources))
        options = validate(offer.kind.options, {**offer.options, **params}, where)
        context = self._context(name, request, where, depth)
        try:
            return with_lead(offer.kind.create(options, context), request.lead)
        except RewardConfigError as error:
            raise RewardRequestError(f"reward {name!r} is not available here: {error}", named) from error

    async def start(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Load the models that the configured rewards ask, so that no request waits for it; without it, reward models
        load when they are first used, and judges not at all. ``say`` is told what is loaded.

        Raises RewardConfigError: a model cannot be loaded.
        """
        for name, offer in self._offers.items():
            if offer.kind.loads is None or offer.unavailable(self.resources):
                continue
            options = validate(offer.kind.options, offer.options, f"rewards.{name}")
            model = offer.kind.loads(options, self._context(name, RewardRequest(), f"rewards.{name}"))
            if model is not None:
                say(f"loading {model.model} for the reward {name}")
                try:
                    await model.start()
                except (PotentialError, RewardFailure) as error:
                    raise RewardConfigError(f"rewards.{name}: {error}") from error

    async def aclose(self) -> None:
        """Let go of what the sources share (models, HTTP clients, worker processes). Idempotent."""
        shared, self._shared = self._shared, {}
        for thing in shared.values():
            await close(thing)
        workers, self.resources.workers = self.resources.workers, None
        if workers is not None:
            await close(workers)

    def _available(self, name: object, named: str) -> Offer:
        offer = self._offers.get(name) if isinstance(name, str) else None
        if offer is None:
            raise RewardRequestError(f"unknown reward {name!r}; allowed: {', '.join(self.names)}", named)
        reason = offer.unavailable(self.resources)
        if reason:
            raise RewardRequestError(f"reward {name!r} is not available here: {reason}", named)
        return offer

    def _context(self, name: str, request: RewardRequest, where: str, depth: int = 0) -> Context:
        return Context(
            name=name,
            request=request,
            resources=self.resources,
            where=where,
            shared=lambda key, make: self._share(name, key, make),
            common=lambda key, make: self._share(None, key, make),
            member=lambda member, inner, path: self.source(member, inner, request, path, depth + 1),
        )

    def _share(self, name: str | None, key: Hashable, make: Callable[[], Any]) -> Any:
        if (name, key) not in self._shared:
            self._shared[name, key] = make()
        return self._shared[name, key]
