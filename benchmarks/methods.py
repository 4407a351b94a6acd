"""Methods: a preset, what it is overridden with, and its number of particles. ``smc:alpha=4:lookahead.rollouts=1``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smc_decode.config import SMCConfig
from smc_decode.presets import PRESETS, merge

DEFAULT_METHODS = (
    "base",
    "low-temperature",
    "best-of-n",
    "self-consistency",
    "mcmc-power",
    "power-smc",
    "smc-reward",
    "paper",
    "smc",
    "search",
)
SINGLE = frozenset({"base", "low-temperature", "mcmc-power"})
"""Presets of one particle, whatever number the others get."""


class MethodError(ValueError):
    """A method that does not exist or cannot be; the message says what is allowed."""


@dataclass(frozen=True)
class Method:
    """``spec`` is what the user wrote; ``label`` tells it from the same method at another N."""

    spec: str
    preset: str
    values: Mapping[str, Any] = field(default_factory=dict)
    n_particles: int = 16

    @property
    def label(self) -> str:
        return f"{self.spec} N={self.n_particles}"

    @property
    def width(self) -> int:
        """About how many sequences it has at a time: of growing passes the mean."""
        sizes = self.config(reward=True).pass_sizes
        return -(-sum(sizes) // len(sizes))

    @property
    def independent(self) -> bool:
        """Whether its particles are independent draws, so that any k of them are a run with N=k."""
        return PRESETS[self.preset].one_block and self.config(reward=True).rejuvenation.steps == 0

    def with_particles(self, n: int) -> Method:
        """The same at another N (methods of one particle stay at it)."""
        return replace(self, n_particles=1 if self.preset in SINGLE else n)

    def fields(self) -> dict[str, Any]:
        """The SMCConfig fields that the method sets on top of its preset."""
        return {"n_particles": self.n_particles, **self.values}

    def config(self, *, reward: bool, **settings: Any) -> SMCConfig:
        """The run's configuration. ``settings`` (max_tokens, stop) give way to what the method says itself."""
        fields = merge(settings, self.fields())
        early = fields.get("lookahead", {}).get("early_stop") is not None
        if early and fields.get("extractor") == "behaviour":  # which rollouts do not have
            fields["extractor"] = "code"
        return PRESETS[self.preset].config(reward=reward, **fields)


def parse_method(spec: str, n_particles: int = 16) -> Method:
    """A method from ``PRESET[:FIELD=VALUE]...``; dotted fields reach into parts. Raises MethodError."""
    preset, *parts = spec.strip().split(":")
    if preset not in PRESETS:
        raise MethodError(f"unknown method {preset!r}; allowed: {', '.join(PRESETS)}")
    values: dict[str, Any] = {}
    for part in parts:
        name, equals, raw = part.partition("=")
        if not equals or not name:
            raise MethodError(f"{spec!r}: {part!r} should be FIELD=VALUE, as in smc:alpha=4:lookahead.rollouts=1")
        values = merge(values, _nest(name, _value(raw)))
    method = Method(spec.strip(), preset, values).with_particles(n_particles)
    if "n_particles" in values:
        method = replace(method, n_particles=values["n_particles"])
    try:
        method.config(reward=True)
        method.config(reward=False)
    except ValueError as error:
        raise MethodError(f"{spec!r}: {error}") from error
    return method


def plan(specs: Sequence[str], particles: int, budgets: Sequence[int] = ()) -> list[Method]:
    """All methods to run, without doubles. Of a method with independent particles only the largest budget is run: the
    others are read off its particles."""
    methods: dict[str, Method] = {}
    for spec in specs:
        largest = parse_method(spec, max(budgets, default=particles))
        sizes = [largest.n_particles] if largest.independent or not budgets else list(budgets)
        for n in sizes:
            method = largest if n == largest.n_particles else largest.with_particles(n)
            methods.setdefault(method.label, method)
    return list(methods.values())


def _nest(dotted: str, value: Any) -> dict[str, Any]:
    head, _, rest = dotted.partition(".")
    return {head: _nest(rest, value) if rest else value}


def _value(raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw
