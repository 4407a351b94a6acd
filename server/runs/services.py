"""What the routes work with: one object, made once, handed to every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from server.edge.admission import Admission
from server.edge.auth import Gate
from server.process.life import Lifecycle
from server.runs.metrics import Metrics
from server.runs.presets import PresetBook
from server.runs.store import Traces
from server.settings import ServerSettings
from smc_decode.engines.base import Engine
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.sandbox import Sandbox


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
