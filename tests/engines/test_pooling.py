"""Reward models on vLLM, on tiny models with random weights that the tests make."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from smc_decode.engines.base import EngineError, EngineRequestError
from smc_decode.engines.pooling import PoolingEngine

pytestmark = pytest.mark.vllm

STEP = "<|endoftext|>"


@pytest.fixture(scope="module")
def process_reward_model(bundled_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2ForProcessRewardModel of two layers, with the bundled model's tokenizer."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file
    from transformers import Qwen2Config, Qwen2Model

    folder = tmp_path_factory.mktemp("process-reward-model")
    config = Qwen2Config(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    body = Qwen2Model(config).to(torch.bfloat16)
    head = {
        "score.0.weight": torch.randn(64, 64) / 8,
        "score.0.bias": torch.zeros(64),
        "score.2.weight": torch.randn(2, 64) / 8,
        "score.2.bias": torch.zeros(2),
    }
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in body.state_dict().items()}
    save_file(tensors | {name: t.to(torch.bfloat16) for name, t in head.items()}, folder / "model.safetensors")
    config.architectures = ["Qwen2ForProcessRewardModel"]
    described: dict[str, Any] = config.to_dict() | {"dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(described))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(bundled_model) / name, folder / name)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def judge(process_reward_model: Path) -> AsyncIterator[PoolingEngine]:
    engine = await PoolingEngine.create(str(process_reward_model), "token_classify", step=STEP)
    yield engine
    await engine.shutdown()


async def test_every_step_token_gets_a_row_of_probabilities(judge: PoolingEngine) -> None:
    texts = [f"One and one is two.{STEP}Two and two is four.{STEP}", f"So?{STEP}"]
    scores = await judge.token_scores([judge.tokenizer.encode(text) for text in texts])
    assert [s.shape for s in scores] == [(2, 2), (1, 2)]
    assert all(np.allclose(s.sum(axis=1), 1.0, atol=1e-3) for s in scores)
    logits = await judge.token_scores([judge.tokenizer.encode(texts[1])], activation=False)
    expected = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=1, keepdims=True)
    assert np.allclose(scores[1], expected, atol=2e-2)


async def test_scores_do_not_depend_on_what_else_is_scored(judge: PoolingEngine) -> None:
    ids = judge.tokenizer.encode(f"First.{STEP}Second.{STEP}")
    (alone,) = await judge.token_scores([ids])
    together = await judge.token_scores([ids, judge.tokenizer.encode(f"Another.{STEP}"), ids])
    assert np.allclose(alone, together[0], atol=2e-2)
    assert np.allclose(alone, together[2], atol=2e-2)
    (plain,) = await judge.pool([ids])
    assert np.allclose(plain, alone, atol=2e-2)


async def test_what_the_reward_model_cannot_take_is_refused(judge: PoolingEngine) -> None:
    for ids, named in (([], "nothing"), ([10**7], "vocabulary"), ([1] * 600, "context")):
        with pytest.raises(EngineRequestError, match=named):
            await judge.token_scores([ids])
    with pytest.raises(EngineRequestError, match="token_classify"):
        await judge.classify([[1, 2]])
    await judge.health()


async def test_a_step_text_of_several_tokens_is_refused(process_reward_model: Path) -> None:
    with pytest.raises(ValueError, match="not one"):
        await PoolingEngine.create(str(process_reward_model), "token_classify", step="a step ends here")


async def test_a_dead_reward_model_says_so(judge: PoolingEngine) -> None:
    """Last in this file: the engine does not come back."""
    os.kill(judge.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="signal 9"):
        await judge.token_scores([[1, 2, 3]] * 4)
    with pytest.raises(EngineError):
        await judge.health()
    await judge.shutdown()
