"""What a server offers under one name: a kind of source, the operator's settings, and what a request may set.

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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smc_decode.potentials.declaration import Kind, Resources
from smc_decode.potentials.kinds import KINDS
from smc_decode.potentials.options import (
    Options,
    RewardConfigError,
    RewardRequest,
    RewardRequestError,
    option_names,
)
from smc_decode.registry import BrokenPlugin, UnknownName
from smc_decode.validation import problem_of


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

    def check(self, value: float, path: str) -> None:
        if self.min is not None and value < self.min:
            raise RewardRequestError(f"{path} must be at least {self.min:g}, got {value:g}", path)
        if self.max is not None and value > self.max:
            raise RewardRequestError(f"{path} must be at most {self.max:g}, got {value:g}", path)

    def bounds(self) -> dict[str, float]:
        bounds = {"minimum": self.min, "maximum": self.max}
        return {key: bound for key, bound in bounds.items() if bound is not None}


class _Entry(BaseModel):
    """One ``[rewards.NAME]`` table; what is no field here is an option of the source."""

    model_config = ConfigDict(extra="allow")
    source: str
    description: str | None = None
    allow: _Allow | None = None
    limits: dict[str, _Limit] = Field(default_factory=dict)


@dataclass(frozen=True)
class Offer:
    """``source``: the kind's name. ``options``: the operator's. ``allowed``: what a request may set."""

    name: str
    source: str
    kind: Kind[Any]
    description: str
    options: Mapping[str, Any]
    allowed: tuple[str, ...]
    limits: Mapping[str, _Limit] = field(default_factory=dict)

    def check(self, params: Mapping[str, Any], where: str, *, takes_code: bool) -> None:
        """Raises RewardRequestError for what a request may not set. ``takes_code``: it may send code."""
        allowed = ", ".join(self.allowed) or "none"
        for key, value in params.items():
            path = f"{where}.{key}"
            if key not in option_names(self.kind.options):
                raise RewardRequestError(f"{path} is unknown; allowed: {allowed}", path)
            if key not in self.allowed:
                raise RewardRequestError(f"{path} is set by the server's operator; allowed: {allowed}", path)
            if self._brings_code(key, value) and not takes_code:
                raise RewardRequestError(
                    f"{path} brings code, which is taken from clients on this machine only "
                    "(the operator can allow it with --allow-client-tests)",
                    path,
                )
            if key in self.limits and isinstance(value, (int, float)):
                self.limits[key].check(value, path)

    def _brings_code(self, key: str, value: object) -> bool:
        return value is not None and not {key, f"{key}={value}"}.isdisjoint(self.kind.code_params)

    def unavailable(self, resources: Resources) -> str:
        """Why it does not work here, or ''."""
        return self.kind.unavailable(resources, self.options)

    def info(self, resources: Resources) -> RewardInfo:
        reason = self.unavailable(resources)
        return RewardInfo(self.name, self.source, self.description, self._schema(), not reason, reason)

    def _schema(self) -> dict[str, Any]:
        whole = self.kind.options.model_json_schema()
        properties: dict[str, Any] = {}
        for key in self.allowed:
            shown = {k: v for k, v in whole["properties"][key].items() if k != "title"}
            if key in self.options:
                shown["default"] = self.options[key]
            if key in self.limits:
                shown |= self.limits[key].bounds()
            properties[key] = shown
        params: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [key for key in whole.get("required", ()) if key in properties and key not in self.options]
        if required:
            params["required"] = required
        if "$defs" in whole:
            params["$defs"] = whole["$defs"]
        return params


def takes_code(request: RewardRequest, resources: Resources) -> bool:
    """Whether a request may send code that will be run."""
    return request.client_is_local or resources.allow_client_tests


def read_offers(table: object) -> dict[str, Offer]:
    """The offers of a ``[rewards]`` table, the built-in ones included. Raises RewardConfigError."""
    if not isinstance(table, Mapping):
        raise RewardConfigError("[rewards] must be a table")
    builtins = table.get("builtins", True)
    if not isinstance(builtins, bool):
        raise RewardConfigError("rewards.builtins must be true or false")
    offers = {offer.name: offer for offer in _builtins()} if builtins else {}
    return offers | {name: _offer(name, entry) for name, entry in table.items() if name != "builtins"}


def _builtins() -> Iterable[Offer]:
    """What is offered without configuration; a package that cannot be imported is listed with the reason."""
    for name in KINDS:
        try:
            kind = KINDS[name]
        except BrokenPlugin as error:
            kind = _broken(str(error))
        if kind.builtin:
            yield Offer(name, name, kind, kind.description, {}, kind.request_params)


def _broken(reason: str) -> Kind[Any]:
    """Stands in the list for a kind that is not to be had."""

    def create(options: object, context: object) -> Any:
        raise RewardConfigError(reason)

    return Kind("cannot be imported", Options, create, missing=lambda resources, options: reason)


def _offer(name: str, entry: object) -> Offer:
    where = f"rewards.{name}"
    read = _entry(entry, where)
    try:
        kind = KINDS[read.source]
    except UnknownName:
        raise RewardConfigError(f"{where}.source is {read.source!r}; allowed: {', '.join(KINDS)}") from None
    except BrokenPlugin as error:
        raise RewardConfigError(f"{where}.source: {error}") from error
    options = dict(read.model_extra or {})
    allowed = kind.request_params if read.allow is None else tuple(read.allow.params)
    _check_names(kind, options, allowed, read.limits, where)
    try:
        kind.options.model_validate(options)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            if problem["loc"] and problem["type"] != "missing":  # what is missing may come with the request
                path = ".".join(map(str, problem["loc"]))
                raise RewardConfigError(f"{where}.{path}: {problem['msg']}") from error
    return Offer(name, read.source, kind, read.description or kind.description, options, allowed, read.limits)


def _entry(entry: object, where: str) -> _Entry:
    if not isinstance(entry, Mapping):
        raise RewardConfigError(f"{where} must be a table")
    try:
        return _Entry.model_validate(dict(entry))
    except ValidationError as error:
        raise RewardConfigError(str(problem_of(error, _Entry, where))) from error


def _check_names(
    kind: Kind[Any], options: Iterable[str], allowed: Iterable[str], limits: Iterable[str], where: str
) -> None:
    fields = option_names(kind.options)
    for key, path in [
        *((key, f"{where}.{key}") for key in options),
        *((key, f"{where}.allow.params: {key}") for key in allowed),
        *((key, f"{where}.limits.{key}") for key in limits),
    ]:
        if key not in fields:
            raise RewardConfigError(f"{path} is unknown; allowed: {', '.join(sorted(fields))}")
    for key in allowed:
        if key in kind.operator_only:
            raise RewardConfigError(f"{where}.allow.params: {key} is the operator's only")
