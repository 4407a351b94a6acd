"""vLLM's own metrics come out of its process."""

from __future__ import annotations

import re

import pytest

from smc_decode.engines.base import Extend
from smc_decode.engines.vllm.engine import VLLMEngine, VLLMSettings

pytestmark = pytest.mark.vllm


def value(text: str, name: str) -> float:
    found = re.search(rf"^{name}{{[^}}]*}} (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


async def test_vllms_own_metrics_count_what_it_did(bundled_model: str) -> None:
    settings = VLLMSettings(model=bundled_model, max_model_len=128, kv_cache_gib=0.1, metrics=True)
    engine = await VLLMEngine.create(settings)
    try:
        before = value(await engine.metrics_text(), "vllm:generation_tokens_total")
        sequence = await engine.open([1, 2, 3])
        async for _ in engine.extend([Extend(sequence, 8)]):
            pass
        text = await engine.metrics_text()
    finally:
        await engine.shutdown()
    assert value(text, "vllm:generation_tokens_total") - before == len(sequence.token_ids)
    assert value(text, "vllm:num_requests_running") == 0
    assert 'model_name="SmolLM2-135M-Instruct"' in text
    assert all("vllm:" in line for line in text.splitlines())


async def test_an_engine_that_keeps_none_tells_none(vllm_engine: VLLMEngine) -> None:
    assert await vllm_engine.metrics_text() == ""
