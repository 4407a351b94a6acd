"""The example of an engine of one's own keeps to the contract, on the bundled model."""

from __future__ import annotations

from pathlib import Path

import pytest

from smc_decode import SMCConfig, sample
from smc_decode.testing import check_engine

pytestmark = pytest.mark.vllm  # needs what that group needs: torch, transformers and the bundled model

SOURCE = Path(__file__).parents[2] / "examples" / "transformers_engine.py"
PROMPT = "Name an animal:"


async def test_the_example_keeps_to_the_contract_in_at_most_eighty_lines(bundled_model: str) -> None:
    from transformers import AutoTokenizer

    from examples.transformers_engine import TransformersEngine

    assert len(SOURCE.read_text().splitlines()) <= 80
    engine = TransformersEngine(bundled_model)
    prompt = AutoTokenizer.from_pretrained(bundled_model).encode(PROMPT)
    report = await check_engine(engine, prompt, draws=64, tokens=3)
    assert set(report.left_out) == {"own proposal", "excluded", "score", "labels"}
    config = SMCConfig(n_particles=3, block_size=2, max_tokens=4, target="powered", alpha=2.0)
    result = await sample(engine, prompt, config=config, seed=0)
    assert len(result.particles) == 3
    assert result.log_z is not None
