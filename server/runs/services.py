"""What the routes work with: one object, made once, handed to every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from smc_decode.engines.base import Engine
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.sandbox import Sandbox

from ..edge.admission import Admission
from ..edge.auth import Gate
from ..process.life import Lifecycle
from ..settings import ServerSettings
from .metrics import Metrics
from .presets import PresetBook
from .store import Traces


@dataclass(frozen=True)
class Services:
    engine: Engine
    catalogue: RewardCatalogue | None
    sandbox: Sandbox | None
    settings: ServerSettings
    presets: PresetBook
    gate: Gate
    admission: Admission
    lifecycle: Lifecycle
    metrics: Metrics
    traces: Traces


def services(connection: HTTPConnection) -> Services:
    """The services of the application that serves ``connection``."""
    return cast(Services, connection.app.state.services)
