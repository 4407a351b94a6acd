"""What happens when the engine's process dies, or cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from smc_decode.engines.base import EngineError, Extend, Shaping
from smc_decode.engines.vllm.engine import VLLMEngine, VLLMSettings

pytestmark = pytest.mark.vllm


async def consume(engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = [await engine.open(prompt) for _ in range(2)]
    async for _ in engine.extend([Extend(s, 400, shaping=Shaping(ignore_eos=True)) for s in sequences]):
        pass


async def test_an_engine_that_is_killed_fails_all_that_use_it_and_is_reaped(bundled_model: str) -> None:
    engine = await VLLMEngine.create(VLLMSettings(model=bundled_model, max_model_len=512, kv_cache_gib=0.2))
    prompt = engine.tokenizer.encode("Once upon a time")
    runs = [asyncio.create_task(consume(engine, prompt)) for _ in range(2)]
    while await engine.unfinished() < 4:
        await asyncio.sleep(0)
    os.kill(engine.pid, signal.SIGKILL)
    for run in runs:
        with pytest.raises(EngineError, match="killed by signal 9"):
            await run
    with pytest.raises(EngineError, match="killed by signal 9"):
        await consume(engine, prompt)
    with pytest.raises(EngineError):
        await engine.health()
    await engine.shutdown()
    await engine.shutdown()
    with pytest.raises(ProcessLookupError):
        os.kill(engine.pid, 0)


async def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(EngineError, match="vLLM engine failed"):
        await VLLMEngine.create(VLLMSettings(model=str(tmp_path)))


async def test_a_context_that_the_model_does_not_have_is_refused(bundled_model: str) -> None:
    with pytest.raises(EngineError, match="max_model_len 99999 exceeds the model's context of 8192"):
        await VLLMEngine.create(VLLMSettings(model=bundled_model, max_model_len=99_999))


async def test_a_start_that_takes_too_long_ends_the_process(bundled_model: str) -> None:
    with pytest.raises(EngineError, match="start_timeout"):
        await VLLMEngine.create(VLLMSettings(model=bundled_model, start_timeout=0.2))
