"""Named things that a user's package can add to: resampling schemes, moves, extractors, reward sources and so on.

A registry is defined beside its built-ins and read by name::

    SCHEMES: Registry[Scheme] = Registry("resampling", group="smc_decode.resampling")

    @SCHEMES.register("systematic")
    def systematic(weights, n, rng): ...

    SCHEMES["systematic"]

Another package adds to it with the decorator, or, so that its name is found without an import, with an entry point in
its own pyproject.toml::

    [project.entry-points."smc_decode.resampling"]
    mine = "my_package.schemes:mine"

Installed packages are looked through when a name is asked for that is not built in, or when the names are listed. An
entry point is imported when its name is looked up and not before, so that a broken package hurts nobody else.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import metadata
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class RegistryError(ValueError):
    """A name cannot be used; the message says which, and why."""


class UnknownName(RegistryError):
    """Nobody has registered this name; the message lists the names there are."""


class BrokenPlugin(RegistryError):
    """A package offers the name, but importing it failed or gave something else; the message names the package."""


class Registry(Generic[T]):
    """Things of one type by name.

    ``what``: what one of them is called in messages ("resampling"). ``group``: the entry-point group of other
    packages' things; None: the decorator only. ``lazy``: built-ins as ``"module:attribute"``, imported when they are
    first looked up. ``valid``: whether a thing is of the type.
    """

    def __init__(
        self,
        what: str,
        *,
        group: str | None = None,
        lazy: Mapping[str, str] | None = None,
        valid: Callable[[object], bool] = callable,
    ) -> None:
        self.what = what
        self.group = group
        self._valid = valid
        self._things: dict[str, T] = {}
        self._lazy = {name: metadata.EntryPoint(name, value, group or "") for name, value in (lazy or {}).items()}

    def register(self, name: str, *, replace: bool = False) -> Callable[[U], U]:
        """Decorator that adds a thing under ``name`` and gives it back as it is.

        Raises:
            RegistryError: the name is taken by another thing (unless ``replace``), or the thing is of another type.
        """

        def add(thing: U) -> U:
            if not replace and (name in self._lazy or self._things.get(name, thing) is not thing):
                raise RegistryError(f"{self.what} {name!r} is registered already; choose another name")
            self._keep(name, thing)
            return thing

        return add

    def remove(self, name: str) -> None:
        """Forget what was registered under ``name`` (for tests); a package's or a lazy built-in's is imported anew."""
        self._things.pop(name, None)

    def __getitem__(self, name: str) -> T:
        """The thing of that name, imported if need be.

        Raises:
            UnknownName: no such name.
            BrokenPlugin: the package that offers it cannot be used.
        """
        if not isinstance(name, str) or (name not in self._things and self._offer(name) is None):
            raise UnknownName(f"unknown {self.what} {name!r}; allowed: {', '.join(self)}")
        if name not in self._things:
            self._load(name)
        return self._things[name]

    def check(self, name: str) -> str:
        """``name`` itself, if it can be looked up (for validators). Raises as a lookup does."""
        self[name]
        return name

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._things or self._offer(name) is not None)

    def __iter__(self) -> Iterator[str]:
        """The names in alphabetical order, those of other packages included; nothing is imported."""
        return iter(sorted({*self._things, *self._lazy, *self._plugins}))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def refresh(self) -> None:
        """Look through the installed packages anew at the next lookup (one was installed meanwhile)."""
        self.__dict__.pop("_plugins", None)

    @cached_property
    def _plugins(self) -> dict[str, metadata.EntryPoint]:
        return {} if self.group is None else _entry_points(self.group)

    def _offer(self, name: str) -> metadata.EntryPoint | None:
        # Built-ins come first: no package can change what a name of ours means.
        return self._lazy.get(name) or self._plugins.get(name)

    def _load(self, name: str) -> None:
        offer = self._offer(name)
        assert offer is not None
        try:
            thing = offer.load()
        except (Exception, SystemExit) as error:
            raise BrokenPlugin(f"{self._said(offer)} cannot be imported: {type(error).__name__}: {error}") from error
        if name not in self._things:  # its module may have used the decorator
            try:
                self._keep(name, thing)
            except RegistryError as error:
                raise BrokenPlugin(f"{self._said(offer)} cannot be used: {error}") from error

    def _keep(self, name: str, thing: object) -> None:
        if not self._valid(thing):
            raise RegistryError(f"{thing!r} is no {self.what}")
        self._things[name] = thing  # type: ignore[assignment]  # `valid` has checked it

    def _said(self, offer: metadata.EntryPoint) -> str:
        package = "" if offer.dist is None else f" of the package {offer.dist.name} {offer.dist.version}"
        return f"{self.what} {offer.name!r} ({offer.value}{package})"


def _entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    """The entry points of ``group`` by name. Packages are read one by one: one malformed file makes
    :func:`importlib.metadata.entry_points` fail altogether."""
    found: dict[str, metadata.EntryPoint] = {}
    seen: set[str] = set()
    for package in metadata.distributions():
        try:
            key = re.sub(r"[-_.]+", "-", package.name).lower()
            offers = [] if key in seen else [e for e in package.entry_points if e.group == group]
        except Exception as error:
            warnings.warn(f"entry points of {package!r} cannot be read: {error}", RuntimeWarning, stacklevel=2)
            continue
        seen.add(key)
        for offer in offers:
            if offer.name in found:
                other = found[offer.name].dist
                warnings.warn(
                    f"{group}: {offer.name!r} of the package {package.name} is left out; "
                    f"{'another package' if other is None else other.name} offers that name too",
                    RuntimeWarning,
                    stacklevel=2,
                )
            found.setdefault(offer.name, offer)
    return found
