"""The one vLLM engine that all tests marked ``vllm`` share: it is started when the first of them asks for it."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from smc_decode.engines.vllm.engine import VLLMEngine, VLLMSettings


@pytest.fixture(scope="session")
def bundled_model() -> str:
    """The folder of the bundled model."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    from smc_decode.engines.bundled_model import ensure_bundled_model

    return str(ensure_bundled_model(progress=False))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine(bundled_model: str) -> AsyncIterator[VLLMEngine]:
    """The bundled model with a context of 1024 tokens."""
    engine = await VLLMEngine.create(VLLMSettings(model=bundled_model, max_model_len=1024, kv_cache_gib=0.5))
    yield engine
    await engine.shutdown()
