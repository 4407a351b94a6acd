"""The vLLM engine on the bundled model: what it draws, what it says of it, and what it refuses."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines.base import Continuation, EngineRequestError, Extend, LiveSequence, Shaping
from smc_decode.engines.vllm.engine import VLLMEngine
from smc_decode.engines.vllm.settings import cpu_dtype
from smc_decode.potentials import FunctionPotential
from smc_decode.testing import check_engine

pytestmark = pytest.mark.vllm

# Two ways to compute the same log p in bfloat16: of the mean over tokens, and of any one.
MEAN_ROUNDING = 0.06
MOST_ROUNDING = 0.6


@pytest.fixture(scope="module")
def prompt(vllm_engine: VLLMEngine) -> list[int]:
    text = "Name five animals that live in the sea, and say in one sentence each what they eat."
    return vllm_engine.tokenizer.apply_chat_template([{"role": "user", "content": text}])


async def draw(engine: VLLMEngine, requests: Sequence[Extend]) -> list[Continuation]:
    drawn: dict[int, Continuation] = {}
    async for index, continuation in engine.extend(requests):
        drawn[index] = continuation
    return [drawn[i] for i in range(len(requests))]


async def population(engine: VLLMEngine, prompt: Sequence[int], size: int) -> list[LiveSequence]:
    root = await engine.open(prompt)
    return [await engine.fork(root) for _ in range(size)]


def flat(lists: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(list(itertools.chain.from_iterable(lists)))


# ---- the contract ---------------------------------------------------------------------------------------------


async def test_it_keeps_to_the_contract_of_engines(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    # A processor without bfloat16 computes in float32, with a thousandth of its rounding.
    report = await check_engine(vllm_engine, prompt, rounding=0.3 if cpu_dtype() == "bfloat16" else 2e-3)
    assert set(report.left_out) <= {"own proposal"}


# ---- tokens ---------------------------------------------------------------------------------------------------


async def test_tokens_that_are_drawn_are_appended_to_the_sequence(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = await population(vllm_engine, prompt, 3)
    first = await draw(vllm_engine, [Extend(s, 8, seed=i) for i, s in enumerate(sequences)])
    second = await draw(vllm_engine, [Extend(s, 8, seed=9 + i) for i, s in enumerate(sequences)])
    for sequence, a, b in zip(sequences, first, second, strict=True):
        assert sequence.prompt_token_ids == tuple(prompt)
        assert sequence.token_ids == a.token_ids + b.token_ids
        assert a.finish_reason == "length"


async def test_a_fork_goes_its_own_way_and_a_rewind_cuts(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    (parent,) = await population(vllm_engine, prompt, 1)
    await draw(vllm_engine, [Extend(parent, 6)])
    before = list(parent.token_ids)
    child = await vllm_engine.fork(parent)
    await vllm_engine.rewind(child, 2)
    await draw(vllm_engine, [Extend(child, 3, seed=5)])
    assert parent.token_ids == before
    assert child.token_ids[:2] == before[:2]
    assert len(child.token_ids) == 5
    await vllm_engine.close(child)
    await vllm_engine.close(child)


async def test_greedy_drawing_takes_the_likeliest_token(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = await population(vllm_engine, prompt, 2)
    drawn = await draw(vllm_engine, [Extend(s, 8, temperature=0.0) for s in sequences])
    scores = await vllm_engine.score(prompt + drawn[0].token_ids, len(prompt), top_logprobs=1)
    assert drawn[0].token_ids == drawn[1].token_ids
    assert drawn[0].proposal_logprobs == [0.0] * 8
    for score in scores:
        assert score.logprob > max(score.top.values()) - MOST_ROUNDING


async def test_the_same_seeds_give_the_same_tokens_and_others_do_not(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    async def run(offset: int) -> list[list[int]]:
        sequences = await population(vllm_engine, prompt, 4)
        requests = [Extend(s, 12, seed=offset + i) for i, s in enumerate(sequences)]
        return [c.token_ids for c in await draw(vllm_engine, requests)]

    await run(0)  # the first run fills the prefix cache
    assert await run(2**63 + 11) == await run(2**63 + 11)
    assert await run(2**63 + 11) != await run(77)
    assert len(set(map(tuple, await run(5)))) == 4


async def test_end_of_sequence_and_stop_tokens_end_an_answer_and_are_part_of_it(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    eos = vllm_engine.info.eos_token_ids[0]
    comma = vllm_engine.tokenizer.encode(",")[0]
    sequences = await population(vllm_engine, prompt, 3)
    ended, stopped, ignoring = await draw(
        vllm_engine,
        [
            Extend(sequences[0], 8, shaping=Shaping(logit_bias={eos: 100.0})),
            Extend(sequences[1], 8, stop_token_ids=(comma,), shaping=Shaping(logit_bias={comma: 100.0})),
            Extend(sequences[2], 4, shaping=Shaping(logit_bias={eos: 100.0}, ignore_eos=True)),
        ],
    )
    assert (ended.finish_reason, ended.token_ids) == ("eos", [eos])
    assert (stopped.finish_reason, stopped.token_ids) == ("stop", [comma])
    assert (ignoring.finish_reason, ignoring.token_ids) == ("length", [eos] * 4)


# ---- log-probabilities ----------------------------------------------------------------------------------------


async def test_log_p_is_what_scoring_the_tokens_gives(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = await population(vllm_engine, prompt, 8)
    drawn = await draw(vllm_engine, [Extend(s, 24, temperature=0.8, seed=i) for i, s in enumerate(sequences)])
    scored = [await vllm_engine.score(prompt + s.token_ids, len(prompt)) for s in sequences]
    difference = np.abs(flat([[s.logprob for s in scores] for scores in scored]) - flat([c.logprobs for c in drawn]))
    assert difference.mean() < MEAN_ROUNDING
    assert difference.max() < MOST_ROUNDING


async def test_at_temperature_one_the_proposal_is_the_model(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = await population(vllm_engine, prompt, 2)
    for c in await draw(vllm_engine, [Extend(s, 8, alpha=1.0, seed=i) for i, s in enumerate(sequences)]):
        assert c.proposal_logprobs == c.logprobs
        assert c.log_z == [0.0] * 8


async def test_at_temperature_one_over_alpha_log_z_is_what_p_and_q_say(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    sequences = await population(vllm_engine, prompt, 2)
    # A bias of nothing makes the sampler work the normaliser out rather than take it from p and q.
    told = Shaping(logit_bias={7: 0.0})
    derived, summed = await draw(
        vllm_engine,
        [
            Extend(sequences[0], 12, temperature=0.25, alpha=4.0, seed=1),
            Extend(sequences[1], 12, temperature=0.25, alpha=4.0, seed=2, shaping=told),
        ],
    )
    for c in (derived, summed):
        expected = [4.0 * p - q for p, q in zip(c.logprobs, c.proposal_logprobs, strict=True)]
        assert c.log_z == pytest.approx(expected, abs=2e-3)


SHAPED = [
    (1.0, 2.5, Shaping(top_k=4)),
    (0.6, 3.0, Shaping(top_k=4)),
    (0.5, 0.7, Shaping(top_p=0.6)),
    (3.0, 2.0, Shaping(min_p=0.3)),
    (0.7, 2.0, Shaping(top_k=6, top_p=0.8)),
    (0.9, 2.0, Shaping(top_k=4, logit_bias={13: 3.0}, repetition_penalty=1.3)),
]


@pytest.mark.parametrize(("temperature", "alpha", "shaping"), SHAPED)
async def test_q_sums_to_one_over_the_support_and_log_z_is_its_sum(
    vllm_engine: VLLMEngine, prompt: list[int], temperature: float, alpha: float, shaping: Shaping
) -> None:
    """One token is drawn so often that the whole, small support is seen."""
    # With the prompt in the cache every row is computed alike: in bfloat16 another route differs in the first decimals.
    await draw(vllm_engine, [Extend(s, 1) for s in await population(vllm_engine, prompt, 2)])
    sequences = await population(vllm_engine, prompt, 200)
    drawn = await draw(
        vllm_engine,
        [Extend(s, 1, temperature, seed=i, alpha=alpha, shaping=shaping) for i, s in enumerate(sequences)],
    )
    log_p = {c.token_ids[0]: c.logprobs[0] for c in drawn}
    log_q = {c.token_ids[0]: c.proposal_logprobs[0] for c in drawn}
    missing = 1.0 - sum(math.exp(q) for q in log_q.values())
    assert -1e-3 < missing < 0.02
    total = math.log(sum(math.exp(alpha * p) for p in log_p.values()))
    assert all(c.log_z[0] == pytest.approx(total, abs=0.02 * max(alpha, 1.0)) for c in drawn)
    if not shaping.reweights:
        gaps = {token: log_q[token] - log_p[token] / temperature for token in log_p}
        assert max(gaps.values()) - min(gaps.values()) < 0.01
    often = max(log_q, key=lambda token: log_q[token])
    share = sum(c.token_ids[0] == often for c in drawn) / len(drawn)
    q = math.exp(log_q[often])
    assert abs(share - q) < 4 * math.sqrt(q * (1 - q) / len(drawn)) + 1e-9


async def test_excluded_tokens_are_not_drawn_first_and_q_is_of_what_is_left(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    await draw(vllm_engine, [Extend(s, 1) for s in await population(vllm_engine, prompt, 2)])
    free = await draw(
        vllm_engine, [Extend(s, 1, 0.8, seed=i) for i, s in enumerate(await population(vllm_engine, prompt, 200))]
    )
    log_q = {c.token_ids[0]: c.proposal_logprobs[0] for c in free}
    excluded = tuple(sorted(log_q, key=lambda token: -log_q[token])[:2])
    mass = sum(math.exp(log_q[token]) for token in excluded)
    assert 0.05 < mass < 0.999
    rest = await draw(
        vllm_engine,
        [
            Extend(s, 3, 0.8, seed=i, excluded=excluded)
            for i, s in enumerate(await population(vllm_engine, prompt, 200))
        ],
    )
    assert not {c.token_ids[0] for c in rest} & set(excluded)
    log_p = {c.token_ids[0]: c.logprobs[0] for c in free}
    for c in rest:
        token = c.token_ids[0]
        if token in log_q:
            assert c.proposal_logprobs[0] == pytest.approx(log_q[token] - math.log1p(-mass), abs=0.03)
            assert c.logprobs[0] == pytest.approx(log_p[token], abs=0.03)


async def test_passes_that_begin_alike_are_drawn_once(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    """Drafts of a low temperature: fewer tokens, and log q of whole paths as a single draw would have it."""
    settings = {
        "n_particles": 8,
        "first_pass_size": 1,
        "alpha": 8.0,
        "target": "powered",
        "max_tokens": 24,
        "block_size": 8,
    }
    with_drafts, without = [
        await sample(vllm_engine, prompt, None, SMCConfig(draft_draws=drafts, ess_threshold=0.0, **settings), seed=3)
        for drafts in (True, False)
    ]
    drawn = sum(len(particle.token_ids) for particle in with_drafts.particles)
    assert with_drafts.usage.sampled + with_drafts.usage.drafted == drawn
    assert with_drafts.usage.sampled < 0.7 * without.usage.sampled
    for particle in with_drafts.particles:
        scores = await vllm_engine.score([*prompt, *particle.token_ids], len(prompt))
        gaps = np.array(particle.logprobs) - [score.logprob for score in scores]
        assert np.abs(gaps).mean() < MEAN_ROUNDING


async def test_log_p_and_log_z_agree_with_another_implementation(
    vllm_engine: VLLMEngine, bundled_model: str, prompt: list[int]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(bundled_model, dtype=torch.bfloat16)
    sequences = await population(vllm_engine, prompt, 2)
    drawn = await draw(
        vllm_engine, [Extend(s, 16, temperature=0.7, alpha=2.5, seed=i) for i, s in enumerate(sequences)]
    )
    for c in drawn:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + c.token_ids])).logits[0, len(prompt) - 1 : -1].float()
        law = torch.log_softmax(logits, dim=-1)
        ids = torch.tensor(c.token_ids).unsqueeze(1)
        log_p = law.gather(1, ids).squeeze(1).numpy()
        log_q = torch.log_softmax(logits / 0.7, dim=-1).gather(1, ids).squeeze(1).numpy()
        log_z = torch.logsumexp(2.5 * law, dim=-1).numpy()
        for ours, theirs in ((c.logprobs, log_p), (c.proposal_logprobs, log_q), (c.log_z, log_z)):
            assert np.abs(np.array(ours) - theirs).mean() < 2.5 * MEAN_ROUNDING


async def test_log_probabilities_that_nobody_needs_are_left_out(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = await population(vllm_engine, prompt, 2)
    silent, telling = await draw(
        vllm_engine, [Extend(sequences[0], 4, logprobs=False), Extend(sequences[1], 4, temperature=0.5)]
    )
    assert (silent.logprobs, silent.proposal_logprobs, silent.log_z) == ([], [], [])
    assert len(telling.logprobs) == len(telling.proposal_logprobs) == 4
    assert telling.log_z == []


async def test_requests_with_different_wishes_share_a_batch(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = await population(vllm_engine, prompt, 4)
    labels = vllm_engine.label_logprobs([prompt, prompt], [3, 4])
    drawing = draw(
        vllm_engine,
        [
            Extend(sequences[0], 6, temperature=0.0),
            Extend(sequences[1], 6, temperature=0.5, alpha=2.0),
            Extend(sequences[2], 6, temperature=0.5, alpha=1.0, shaping=Shaping(top_k=3)),
            Extend(sequences[3], 6),
        ],
    )
    labelled, (greedy, matched, truncated, plain) = await asyncio.gather(labels, drawing)
    assert labelled[0] == labelled[1]
    assert greedy.proposal_logprobs == [0.0] * 6
    assert all(q > p for p, q in zip(matched.logprobs, matched.proposal_logprobs, strict=True) if p > -0.5)
    assert all(z <= 1e-4 for z in truncated.log_z)
    assert plain.proposal_logprobs == plain.logprobs


async def test_score_tells_alternatives_and_is_right_whatever_the_cache_holds(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    text = prompt + vllm_engine.tokenizer.encode(" The whale eats krill, and the shark eats almost any fish it finds.")
    whole = await vllm_engine.score(text, 0, top_logprobs=3)
    assert [s.token_id for s in whole] == text
    assert whole[0].logprob == 0.0
    assert all(len(s.top) == 3 and s.logprob <= max(s.top.values()) + 1e-6 for s in whole[1:])
    for start in (1, 31, 33, len(text) - 1, len(text)):
        part = await vllm_engine.score(text, start)
        assert [s.token_id for s in part] == text[start:]
        for a, b in zip(part, whole[start:], strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=MOST_ROUNDING)


async def test_a_sequence_that_fills_the_context_can_be_scored(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    limit = vllm_engine.info.max_model_len
    assert limit == 1024
    text = (prompt * 40)[:limit]
    assert len(await vllm_engine.score(text, limit - 3)) == 3


async def test_label_log_probabilities_are_those_of_the_next_token(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    (sequence,) = await population(vllm_engine, prompt, 1)
    scores = await vllm_engine.score([*prompt, 28], len(prompt), top_logprobs=5)
    labels = list(scores[0].top)
    (told,) = await vllm_engine.label_logprobs([sequence.prompt_token_ids], labels)
    for label in labels:
        assert told[label] == pytest.approx(scores[0].top[label], abs=MOST_ROUNDING)


# ---- shaping over blocks --------------------------------------------------------------------------------------


async def test_min_tokens_counts_from_the_start_of_the_answer(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    eos = vllm_engine.info.eos_token_ids[0]
    shaping = Shaping(min_tokens=6, logit_bias={eos: 100.0})
    (sequence,) = await population(vllm_engine, prompt, 1)
    (first,) = await draw(vllm_engine, [Extend(sequence, 4, shaping=shaping)])
    (second,) = await draw(vllm_engine, [Extend(sequence, 8, shaping=shaping)])
    assert first.finish_reason == "length"
    assert second.finish_reason == "eos"
    assert len(sequence.token_ids) == 7


async def test_penalties_remember_the_blocks_before(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    favourites = [vllm_engine.tokenizer.encode(word)[0] for word in (" red", " blue", " green")]
    shaping = Shaping(frequency_penalty=2.0, logit_bias=dict.fromkeys(favourites, 80.0))
    (blocks, whole) = await population(vllm_engine, prompt, 2)
    await draw(vllm_engine, [Extend(whole, 60, temperature=0.0, shaping=shaping)])
    for _ in range(15):
        await draw(vllm_engine, [Extend(blocks, 4, temperature=0.0, shaping=shaping)])
    for sequence in (blocks, whole):
        counts = [sequence.token_ids.count(token) for token in favourites]
        assert sum(counts) == 60
        # Without memory the likeliest word would be taken nearly always.
        assert min(counts) >= 10


def test_penalties_are_those_of_vllm() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("vllm")
    from vllm.v1.sample.ops.penalties import apply_all_penalties

    from smc_decode.engines.vllm.inside.sampler import Penalties, Wanted

    rng = np.random.default_rng(0)
    vocabulary = 50
    prompt, answer = rng.integers(0, vocabulary, 12).tolist(), rng.integers(0, vocabulary, 20).tolist()
    logits = torch.tensor(rng.normal(size=vocabulary) * 4, dtype=torch.float32)
    expected = apply_all_penalties(
        logits.clone().unsqueeze(0),
        torch.tensor([prompt]),
        torch.tensor([0.7]),
        torch.tensor([0.4]),
        torch.tensor([1.3]),
        [answer],
    )[0]
    output: list[int] = []
    wanted = Wanted(generated=8, shaping=Shaping(repetition_penalty=1.3, presence_penalty=0.7, frequency_penalty=0.4))
    penalties = Penalties(wanted, prompt + answer[:8], output, vocabulary, "cpu")
    penalties.apply(logits.clone())
    output.extend(answer[8:])
    ours = logits.clone()
    penalties.apply(ours)
    assert torch.allclose(ours, expected, atol=1e-6)


# ---- the cache and what is sent -------------------------------------------------------------------------------


async def test_a_block_costs_one_call_and_computes_only_what_no_cache_block_holds(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    size = vllm_engine.info.cache_block_size
    assert size == 32
    aligned = (prompt * 4)[: 2 * size + 1]
    sequences = await population(vllm_engine, aligned, 8)
    await draw(vllm_engine, [Extend(sequences[0], 1)])
    await vllm_engine.rewind(sequences[0], 0)
    before = vllm_engine.counters.calls, vllm_engine.counters.requests, vllm_engine.counters.tokens_sent
    shaping = Shaping(ignore_eos=True)
    first = await draw(vllm_engine, [Extend(s, size, seed=i, shaping=shaping) for i, s in enumerate(sequences)])
    second = await draw(vllm_engine, [Extend(s, 4, seed=i, shaping=shaping) for i, s in enumerate(sequences)])
    after = vllm_engine.counters.calls, vllm_engine.counters.requests, vllm_engine.counters.tokens_sent
    assert after[0] - before[0] == 2
    assert after[1] - before[1] == 16
    assert after[2] - before[2] == 8 * (2 * size + 1) + 8 * (3 * size + 1)
    # Of one prefix: the first computes its last token for all.
    computed = [(c.prompt_cached, c.prompt_computed) for c in first]
    assert computed == [(2 * size, 1)] + [(2 * size + 1, 0)] * 7
    for c in second:
        assert (c.prompt_cached, c.prompt_computed) == (3 * size, 1)


async def test_going_on_forking_and_cutting_compute_one_token_each(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    """Wherever a sequence is cut, and whoever drew it: what is behind the cut comes from the cache."""
    (parent,) = await population(vllm_engine, prompt, 1)
    shaping = Shaping(ignore_eos=True)
    await draw(vllm_engine, [Extend(parent, 40, seed=3, shaping=shaping)])
    forks = []
    lengths = (40, 40, 39, 33, 17, 5, 1)
    for length in lengths:
        fork = await vllm_engine.fork(parent)
        await vllm_engine.rewind(fork, length)
        forks.append(fork)
    drawn = await draw(vllm_engine, [Extend(f, 3, seed=i, shaping=shaping) for i, f in enumerate(forks)])
    assert [c.prompt_computed for c in drawn] == [1, 0, 1, 1, 1, 1, 1]  # the second is as the first
    assert [c.prompt_cached + c.prompt_computed for c in drawn] == [len(prompt) + length for length in lengths]


async def test_a_run_computes_one_token_of_its_prefixes_a_particle_and_block(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    """The counters that say what the clock would: calls a block, and tokens of prefixes that are computed anew."""
    potential = FunctionPotential(lambda tokens, finished: float(sum(tokens) % 7), kind="telescoping")
    config = SMCConfig(n_particles=8, block_size=8, max_tokens=40, ess_threshold=1.0, ignore_eos=True)
    await sample(vllm_engine, prompt, potential, config.model_copy(update={"max_tokens": 8}), seed=5)  # fills the cache
    before = replace(vllm_engine.counters)
    result = await sample(vllm_engine, prompt, potential, config, seed=6)
    after = vllm_engine.counters
    blocks = 5
    assert result.usage.engine_calls == after.calls - before.calls == blocks
    assert after.requests - before.requests == 8 * blocks
    assert after.tokens_drawn - before.tokens_drawn == 8 * 40
    assert after.tokens_sent - before.tokens_sent == sum(8 * (len(prompt) + 8 * k) for k in range(blocks))
    size = vllm_engine.info.cache_block_size
    tail = (len(prompt) - 1) % size + 1  # of the prompt, which nobody has continued with these tokens
    assert result.usage.prompt_computed <= 8 * tail + 8 * (blocks - 1)


async def test_a_move_computes_one_token_of_each_prefix_that_it_keeps(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    potential = FunctionPotential(lambda tokens, finished: 0.0, kind="telescoping")
    config = SMCConfig(
        n_particles=4, block_size=40, max_tokens=40, ess_threshold=0.0, ignore_eos=True, rejuvenation={"steps": 2}
    )
    before = replace(vllm_engine.counters)
    result = await sample(vllm_engine, prompt, potential, config, seed=6)
    assert vllm_engine.counters.calls - before.calls == 3
    size = vllm_engine.info.cache_block_size
    tail = (len(prompt) - 1) % size + 1
    assert result.usage.prompt_computed <= 4 * tail + 4 * 2 + tail  # a cut at 0 keeps the prompt alone


# ---- sharing and going away -----------------------------------------------------------------------------------


async def test_closing_the_iterator_ends_the_work(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = await population(vllm_engine, prompt, 4)
    endless = Shaping(ignore_eos=True)
    requests = [Extend(s, 2 if i == 0 else 500, shaping=endless) for i, s in enumerate(sequences)]
    async with aclosing(vllm_engine.extend(requests)) as stream:
        async for index, _ in stream:
            assert index == 0
            break
    assert await vllm_engine.unfinished() == 0
    assert [len(s.token_ids) for s in sequences] == [2, 0, 0, 0]


async def test_cancelling_the_reader_ends_the_work(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    sequences = await population(vllm_engine, prompt, 3)
    task = asyncio.create_task(draw(vllm_engine, [Extend(s, 500, shaping=Shaping(ignore_eos=True)) for s in sequences]))
    while await vllm_engine.unfinished() < 3:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await vllm_engine.unfinished() == 0


async def test_two_populations_run_at_a_time(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    async def run(size: int, tokens: int) -> list[LiveSequence]:
        sequences = await population(vllm_engine, prompt, size)
        await draw(vllm_engine, [Extend(s, tokens, shaping=Shaping(ignore_eos=True)) for s in sequences])
        return sequences

    long = asyncio.create_task(run(3, 200))
    short = await run(2, 4)
    assert not long.done()
    assert [len(s.token_ids) for s in short] == [4, 4]
    assert [len(s.token_ids) for s in await long] == [200] * 3


def test_an_engine_serves_several_event_loops(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    """``sample_sync`` makes a loop of its own for each run."""

    async def run() -> int:
        sequences = await population(vllm_engine, prompt, 2)
        return sum(len(c.token_ids) for c in await draw(vllm_engine, [Extend(s, 3) for s in sequences]))

    async def in_thread() -> int:
        return await asyncio.to_thread(lambda: asyncio.run(run()))

    assert asyncio.run(in_thread()) == 6


# ---- what is refused ------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_new_tokens": 0}, "max_new_tokens"),
    ({"max_new_tokens": 2000}, "context of 1024"),
    ({"temperature": -1.0}, "temperature"),
    ({"temperature": math.nan}, "temperature"),
    ({"temperature": 1e-9}, "temperature"),
    ({"stop_token_ids": (99_999_999,)}, "stop_token_ids"),
    ({"shaping": Shaping(top_p=0.0)}, "top_p"),
    ({"shaping": Shaping(top_k=-2)}, "top_k"),
    ({"shaping": Shaping(min_p=1.5)}, "min_p"),
    ({"shaping": Shaping(presence_penalty=3.0)}, "presence_penalty"),
    ({"shaping": Shaping(repetition_penalty=0.0)}, "repetition_penalty"),
    ({"shaping": Shaping(logit_bias={-1: 1.0})}, "logit_bias"),
    ({"shaping": Shaping(logit_bias={1: math.nan})}, "logit_bias"),
    ({"shaping": Shaping(grammar={"bnf": "x"})}, "grammar"),
    ({"shaping": Shaping(grammar={"regex": "(("})}, "grammar"),
    ({"shaping": Shaping(grammar={"regex": "a"}, min_tokens=4)}, "min_tokens"),
    ({"shaping": Shaping(grammar={"regex": "a"}, ignore_eos=True)}, "ignore_eos"),
]


@pytest.mark.parametrize(("wish", "named"), REFUSED)
async def test_a_request_that_cannot_be_served_is_refused_and_the_engine_lives(
    vllm_engine: VLLMEngine, prompt: list[int], wish: dict[str, Any], named: str
) -> None:
    (sequence,) = await population(vllm_engine, prompt, 1)
    with pytest.raises(EngineRequestError, match=named):
        await draw(vllm_engine, [Extend(**{"sequence": sequence, "max_new_tokens": 4} | wish)])
    await vllm_engine.health()
    assert sequence.token_ids == []


async def test_prompts_that_the_model_cannot_take_are_refused(vllm_engine: VLLMEngine) -> None:
    for prompt, named in (([], "empty"), ([1] * 1024, "context"), ([1, 10**7], "vocabulary"), ([-1], "vocabulary")):
        with pytest.raises(EngineRequestError, match=named):
            await vllm_engine.open(prompt)
    with pytest.raises(EngineRequestError, match="context"):
        await vllm_engine.score([1] * 1025)
    with pytest.raises(EngineRequestError, match="vocabulary"):
        await vllm_engine.label_logprobs([[1, 2]], [-5])


async def test_the_longest_allowed_answer_fills_the_context(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    root = await vllm_engine.open((prompt * 40)[:1020])
    (c,) = await draw(vllm_engine, [Extend(root, 4, shaping=Shaping(ignore_eos=True))])
    assert len(c.token_ids) == 4


async def test_one_sequence_twice_in_a_call_is_an_error(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    root = await vllm_engine.open(prompt)
    with pytest.raises(ValueError, match="fork"):
        await draw(vllm_engine, [Extend(root, 4), Extend(root, 4)])


# ---- text -----------------------------------------------------------------------------------------------------


def test_the_tokenizer_applies_the_models_chat_template_once(vllm_engine: VLLMEngine) -> None:
    tokenizer = vllm_engine.tokenizer
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}])
    text = tokenizer.decode(ids, skip_special_tokens=False)
    assert text.count("<|im_start|>assistant") == 1
    assert text.endswith("<|im_start|>assistant\n")
    assert tokenizer.encode("Hi there") == tokenizer.encode("Hi there", add_special_tokens=False)
    assert tokenizer.decode(tokenizer.encode("naïve café ☕")) == "naïve café ☕"
    assert vllm_engine.info.eos_token_ids == (tokenizer.eos_token_id,)


def test_messages_that_the_template_cannot_take_are_refused(vllm_engine: VLLMEngine) -> None:
    with pytest.raises(EngineRequestError, match="chat template"):
        vllm_engine.tokenizer.apply_chat_template([{"role": "user"}])


# ---- grammars -------------------------------------------------------------------------------------------------


async def test_a_grammar_goes_on_over_blocks_forks_and_rewinds(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    shaping = Shaping(grammar={"regex": r"\d{3}-\d{3}-\d{4}"})
    parents = await population(vllm_engine, prompt, 3)
    await draw(vllm_engine, [Extend(s, 4, 1.5, seed=i, shaping=shaping) for i, s in enumerate(parents)])
    children = [await vllm_engine.fork(s) for s in parents]
    for child in children:
        await vllm_engine.rewind(child, 2)
    everyone = [*parents, *children]
    unfinished = list(everyone)
    while unfinished:
        drawn = await draw(
            vllm_engine, [Extend(s, 3, 1.5, seed=50 + i, shaping=shaping) for i, s in enumerate(unfinished)]
        )
        assert all(
            math.isfinite(p) and -30 < q < 1e-4
            for c in drawn
            for p, q in zip(c.logprobs, c.proposal_logprobs, strict=True)
        )
        unfinished = [s for s, c in zip(unfinished, drawn, strict=True) if c.finish_reason == "length"]
    texts = [vllm_engine.tokenizer.decode(s.token_ids) for s in everyone]
    assert all(re.fullmatch(r"\d{3}-\d{3}-\d{4}", text) for text in texts)
    assert len(set(texts)) > 1


async def test_a_json_schema_is_followed(vllm_engine: VLLMEngine, prompt: list[int]) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "legs": {"type": "integer"}},
        "required": ["name", "legs"],
        "additionalProperties": False,
    }
    shaping = Shaping(grammar={"json_schema": schema}, top_k=20)
    (sequence,) = await population(vllm_engine, prompt, 1)
    for block in range(20):
        (c,) = await draw(vllm_engine, [Extend(sequence, 6, 0.7, seed=block, shaping=shaping)])
        if c.finish_reason == "eos":
            break
    value = json.loads(vllm_engine.tokenizer.decode(sequence.token_ids))
    assert isinstance(value["name"], str)
    assert isinstance(value["legs"], int)


async def test_a_grammar_that_nothing_satisfies_does_not_harm_the_engine(
    vllm_engine: VLLMEngine, prompt: list[int]
) -> None:
    impossible = Shaping(grammar={"json_schema": {"type": "integer", "minimum": 5, "maximum": 3}})
    (sequence,) = await population(vllm_engine, prompt, 1)
    try:
        await draw(vllm_engine, [Extend(sequence, 4, shaping=impossible)])
    except EngineRequestError as refused:
        assert "grammar" in str(refused)  # noqa: PT017
    await vllm_engine.health()
