"""What several tests of rewards run programs and tasks in."""

import pytest

from smc_decode.sandbox import Sandbox, SandboxUnavailable
from smc_decode.workers.pool import WorkerPool


@pytest.fixture(scope="module")
def sandbox():
    try:
        made = Sandbox()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture(scope="module")
def workers():
    pool = WorkerPool(1)
    yield pool
    pool.close()
