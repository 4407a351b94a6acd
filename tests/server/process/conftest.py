"""What tests of commands share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_of_the_process() -> Iterator[None]:
    """A command sets up the logs of its process, here the tests' own, on a stream that is closed afterwards."""
    handlers = list(logging.getLogger().handlers)
    propagates = logging.getLogger("huggingface_hub").propagate
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger("huggingface_hub").propagate = propagates
