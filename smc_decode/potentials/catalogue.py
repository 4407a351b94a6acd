"""The rewards that a server offers by name: built-in ones, and those of the operator's TOML file.

    [rewards.NAME]
    source = "unit_tests"            # a kind, see docs/rewards.md
    description = "..."              # optional
    timeout = 5.0                    # any option of the kind: the operator's value is the request's default
    [rewards.NAME.allow]
    params = ["test", "entry_point"] # what a request may set; left out: what the kind allows
    [rewards.NAME.limits]
    timeout = { min = 0.5, max = 10 }

``[rewards] builtins = false`` leaves out the built-in names. Other tables of the file are not looked at.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smc_decode.potentials.base import Potential, PotentialError, RewardFailure, RewardPotential, RewardSource
from smc_decode.potentials.kinds import Context, Kind, Resources, all_kinds, close
from smc_decode.potentials.lead import with_lead
from smc_decode.potentials.models.judge_models import JudgeModel
from smc_decode.potentials.models.local_models import LocalRewardModel
from smc_decode.potentials.options import (
    RewardConfigError,
    RewardRequest,
    RewardRequestError,
    option_names,
    validate,
)

PARAMS = "smc.reward.params"
_MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class RewardInfo:
    """A reward as it is listed. ``params``: the JSON schema of what a request may set. ``reason``: why it is not
    available, or ''."""

    name: str
    source: str
    description: str
    params: Mapping[str, Any]
    available: bool
    reason: str


class _Allow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    params: list[str]


class _Limit(BaseModel):
    model_config = ConfigDict(extra="forbid")
    min: float | None = None
    max: float | None = None


class _Entry(BaseModel):
    """One ``[rewards.NAME]`` table; what is no field here is an option of the source."""

    model_config = ConfigDict(extra="allow")
    source: str
    description: str | None = None
    allow: _Allow | None = None
    limits: dict[str, _Limit] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Offer:
    name: str
    kind: Kind
    description: str
    options: Mapping[str, Any]
    allowed: tuple[str, ...]
    limits: Mapping[str, _Limit] = field(default_factory=dict)


class RewardCatalogue:
    """Names to rewards. Made once per server; keeps what its sources share between requests until :meth:`aclose`."""

    def __init__(self, offers: Mapping[str, _Offer], resources: Resources) -> None:
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
        """The built-in rewards. ``sandbox``: a :class:`smc_decode.sandbox.Sandbox`, or None; ``engine``: the generator.
        Further keywords are fields of :class:`Resources`."""
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
        """The built-in rewards and those of a TOML file (or of its parsed content). Raises RewardConfigError."""
        if isinstance(config, (str, Path)):
            try:
                config = tomllib.loads(Path(config).read_text())
            except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise RewardConfigError(f"{config}: {error}") from error
        table = config.get("rewards", {})
        if not isinstance(table, Mapping):
            raise RewardConfigError("[rewards] must be a table")
        kinds = all_kinds()
        builtins = table.get("builtins", True)
        if not isinstance(builtins, bool):
            raise RewardConfigError("rewards.builtins must be true or false")
        offers = {kind.source: _builtin(kind) for kind in kinds.values() if kind.builtin and builtins}
        for name, entry in table.items():
            if name != "builtins":
                offers[name] = _offer(name, entry, kinds)
        made = Resources(sandbox=sandbox, engine=engine, allow_client_tests=allow_client_tests, **resources)
        return cls(offers, made)

    @property
    def names(self) -> list[str]:
        return sorted(self._offers)

    def infos(self) -> list[RewardInfo]:
        """Every reward, by name, also those that are not available here."""
        return [self._info(self._offers[name]) for name in self.names]

    def build(
        self, name: str, params: Mapping[str, Any] | None, *, reward_scale: float, request: RewardRequest
    ) -> Potential:
        """The potential R = exp(reward_scale · r) of a request. Raises RewardRequestError."""
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
        offer = self._offers.get(name) if isinstance(name, str) else None
        if offer is None:
            raise RewardRequestError(f"unknown reward {name!r}; allowed: {', '.join(self.names)}", named)
        reason = offer.kind.unavailable(self.resources, offer.options)
        if reason:
            raise RewardRequestError(f"reward {name!r} is not available here: {reason}", named)
        if depth > _MAX_DEPTH:
            raise RewardRequestError(f"reward {name!r} has more than {_MAX_DEPTH} levels of members", named)
        params = {} if params is None else params
        if not isinstance(params, Mapping):
            raise RewardRequestError(f"{where} must be an object", where)
        self._check(offer, params, request, where)
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
            if offer.kind.model is None or offer.kind.unavailable(self.resources, offer.options):
                continue
            options = validate(offer.kind.options, offer.options, f"rewards.{name}")
            model = offer.kind.model(options, self._context(name, RewardRequest(), f"rewards.{name}"))
            if isinstance(model, (LocalRewardModel, JudgeModel)):
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

    def _check(self, offer: _Offer, params: Mapping[str, Any], request: RewardRequest, where: str) -> None:
        allowed = ", ".join(offer.allowed) or "none"
        for key, value in params.items():
            path = f"{where}.{key}"
            if key not in option_names(offer.kind.options):
                raise RewardRequestError(f"{path} is unknown; allowed: {allowed}", path)
            if key not in offer.allowed:
                raise RewardRequestError(f"{path} is set by the server's operator; allowed: {allowed}", path)
            if (
                key in offer.kind.code_params
                and value is not None
                and not (request.client_is_local or self.resources.allow_client_tests)
            ):
                raise RewardRequestError(
                    f"{path} is code, which is taken from clients on this machine only "
                    "(the operator can allow it with --allow-client-tests)",
                    path,
                )
            limit = offer.limits.get(key)
            if limit is not None and isinstance(value, (int, float)):
                if limit.min is not None and value < limit.min:
                    raise RewardRequestError(f"{path} must be at least {limit.min:g}, got {value:g}", path)
                if limit.max is not None and value > limit.max:
                    raise RewardRequestError(f"{path} must be at most {limit.max:g}, got {value:g}", path)

    def _info(self, offer: _Offer) -> RewardInfo:
        schema = offer.kind.options.model_json_schema()
        properties: dict[str, Any] = {}
        for key in offer.allowed:
            shown = {k: v for k, v in schema["properties"][key].items() if k != "title"}
            if key in offer.options:
                shown["default"] = offer.options[key]
            limit = offer.limits.get(key)
            if limit is not None:
                shown |= {} if limit.min is None else {"minimum": limit.min}
                shown |= {} if limit.max is None else {"maximum": limit.max}
            properties[key] = shown
        params: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [key for key in schema.get("required", ()) if key in properties and key not in offer.options]
        if required:
            params["required"] = required
        if "$defs" in schema:
            params["$defs"] = schema["$defs"]
        reason = offer.kind.unavailable(self.resources, offer.options)
        return RewardInfo(offer.name, offer.kind.source, offer.description, params, not reason, reason)


def _builtin(kind: Kind) -> _Offer:
    return _Offer(kind.source, kind, kind.description, {}, kind.request_params)


def _offer(name: str, entry: object, kinds: Mapping[str, Kind]) -> _Offer:
    where = f"rewards.{name}"
    if not isinstance(entry, Mapping):
        raise RewardConfigError(f"{where} must be a table")
    try:
        read = _Entry.model_validate(dict(entry))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise RewardConfigError(f"{where}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    kind = kinds.get(read.source)
    if kind is None:
        raise RewardConfigError(f"{where}.source is {read.source!r}; allowed: {', '.join(sorted(kinds))}")
    fields = option_names(kind.options)
    options = dict(read.model_extra or {})
    allowed = kind.request_params if read.allow is None else tuple(read.allow.params)
    for key, path in [
        *((key, f"{where}.{key}") for key in options),
        *((key, f"{where}.allow.params: {key}") for key in allowed),
        *((key, f"{where}.limits.{key}") for key in read.limits),
    ]:
        if key not in fields:
            raise RewardConfigError(f"{path} is unknown; allowed: {', '.join(sorted(fields))}")
    for key in allowed:
        if key in kind.operator_only:
            raise RewardConfigError(f"{where}.allow.params: {key} is the operator's only")
    try:
        kind.options.model_validate(options)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            if problem["loc"] and problem["type"] != "missing":  # what is missing may come with the request
                path = ".".join(map(str, problem["loc"]))
                raise RewardConfigError(f"{where}.{path}: {problem['msg']}") from error
    return _Offer(name, kind, read.description or kind.description, options, allowed, read.limits)
