"""Sandboxes for the tests: one a tier, for each tier that this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smc_decode.sandbox import Sandbox, SandboxUnavailable

TIERS = ("bubblewrap", "landlock")


def _open(tier: str | None) -> Iterator[Sandbox]:
    try:
        sandbox = Sandbox(tier=tier)
    except SandboxUnavailable as error:
        pytest.skip(f"this machine does not have it: {error}")
    with sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The sandbox of the strongest tier here."""
    yield from _open(None)


@pytest.fixture(scope="session", params=TIERS)
def tier_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """The sandbox of every tier, one after the other."""
    yield from _open(request.param)
