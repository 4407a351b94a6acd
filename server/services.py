"""What the routes work with: one object, made once, handed to every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from server.admission import Admission
from server.auth import Gate
from server.lifecycle import Lifecycle
from server.metrics import Metrics
from server.presets import PresetBook
from server.settings import ServerSettings
from server.traces import Traces
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
