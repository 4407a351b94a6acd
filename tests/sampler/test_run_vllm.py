"""The sampler on the real engine: its running weights against a second, independent pass; seeds; counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from smc_decode import SMCConfig, sample
from smc_decode.engines.vllm.engine import VLLMEngine
from smc_decode.potentials import FunctionPotential

pytestmark = pytest.mark.vllm

TOP_K = 20
ROUNDING = 0.1
"""Nats a token. In bfloat16 the same token's log-probability comes out differently when it is computed in a decoding
step and when a whole sequence is read at once: about 0.03 on average, up to 0.2 for single tokens. Weights multiply it
by alpha, and independent errors of T tokens add up like sqrt(T): the tolerance of a log-weight is
ROUNDING * alpha * sqrt(T)."""


def prompt(engine: VLLMEngine) -> list[int]:
    return engine.tokenizer.encode("Three things to know about the sea are that it is salty, that")


def top_k_log_q(top: dict[int, float], token: int, temperature: float) -> float:
    """log q of a token from the second pass's alternatives; ties with the k-th value are kept, as vLLM keeps them."""
    kth = sorted(top.values(), reverse=True)[TOP_K - 1]
    kept = [value for value in top.values() if value >= kth]
    return (top[token] - float(logsumexp(np.array(kept) / temperature)) * temperature) / temperature


async def test_running_weights_agree_with_a_second_pass_over_the_final_sequences(vllm_engine: VLLMEngine) -> None:
    alpha, temperature, tokens = 2.0, 0.7, 48
    config = SMCConfig(
        n_particles=8,
        block_size=16,
        max_tokens=tokens,
        target="powered",
        alpha=alpha,
        proposal_temperature=temperature,
        top_k=TOP_K,
        ess_threshold=0.0,
    )
    result = await sample(vllm_engine, prompt(vllm_engine), None, config, seed=1)
    differences = []
    for particle in result.particles:
        ids = [*prompt(vllm_engine), *particle.token_ids]
        scores = await vllm_engine.score(ids, len(prompt(vllm_engine)), top_logprobs=TOP_K + 16)
        # A token at the very edge of the kept set may fall out of it in the second pass: it says nothing of weights.
        if any(s.token_id not in s.top for s in scores):
            continue
        again = sum(alpha * s.logprob - top_k_log_q(dict(s.top), s.token_id, temperature) for s in scores)
        differences.append(abs(particle.log_weight - again))
    assert len(differences) >= 4
    tolerance = ROUNDING * alpha * math.sqrt(tokens)
    assert max(differences) < tolerance
    assert np.mean(differences) < tolerance / 2


async def test_matched_and_computed_log_z_give_the_same_weights(vllm_engine: VLLMEngine) -> None:
    """At tau = 1/alpha the bracket is log z; Target I's is then zero, whatever the numbers."""
    common = {"n_particles": 4, "block_size": 16, "max_tokens": 32, "alpha": 2.0, "ess_threshold": 0.0}
    tempered = await sample(vllm_engine, prompt(vllm_engine), None, SMCConfig(**common), seed=3)
    powered = await sample(vllm_engine, prompt(vllm_engine), None, SMCConfig(target="powered", **common), seed=3)
    assert all(p.log_weight == 0.0 for p in tempered.particles)
    assert all(p.log_weight < 0.0 for p in powered.particles)


async def test_a_full_run_with_lookahead_and_moves_accounts_for_the_engines_work(vllm_engine: VLLMEngine) -> None:
    potential = FunctionPotential(lambda tokens, finished: 0.02 * len(set(tokens)), kind="telescoping", log_scale=1.0)
    config = SMCConfig(
        n_particles=4,
        block_size=32,
        max_tokens=64,
        lookahead={"rollouts": 2},
        rejuvenation={"steps": 1},
    )
    drawn_before, calls_before = vllm_engine.counters.tokens_drawn, vllm_engine.counters.calls
    result = await sample(vllm_engine, prompt(vllm_engine), potential, config, seed=5)
    assert result.exact
    assert result.usage.drawn == vllm_engine.counters.tokens_drawn - drawn_before
    assert result.usage.engine_calls == vllm_engine.counters.calls - calls_before
    assert result.usage.reused > 0
    assert result.usage.prompt_cached > result.usage.prompt_computed
    assert result.acceptance_rate is not None
    assert result.answer.text
