"""Rows of several sequences on vLLM: what they draw is what each would draw alone, and they are computed once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest
import pytest_asyncio

from smc_decode import SMCConfig, sample
from smc_decode.engines.base import Continuation, Extend, Shaping
from smc_decode.engines.bundled_model import ensure_bundled_model
from smc_decode.engines.vllm.engine import VLLMEngine
from smc_decode.engines.vllm.settings import VLLMSettings

pytestmark = pytest.mark.vllm

N, LENGTH = 8, 24


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[VLLMEngine]:
    """In float32, where another number of rows in a step moves a log-probability by 1e-4 at most."""
    settings = VLLMSettings(str(ensure_bundled_model()), dtype="float32", max_model_len=1024, kv_cache_gib=0.5)
    engine = await VLLMEngine.create(settings)
    yield engine
    await engine.shutdown()


def prompt_of(engine: VLLMEngine) -> list[int]:
    text = "Name five animals that live in the sea, and say in one sentence each what they eat."
    return engine.tokenizer.apply_chat_template([{"role": "user", "content": text}])


async def draw(engine: VLLMEngine, seeds: Sequence[int], **settings: object) -> list[Continuation]:
    root = await engine.open(prompt_of(engine))
    requests = [Extend(await engine.fork(root), LENGTH, seed=seed, **settings) for seed in seeds]  # type: ignore[arg-type]
    drawn: dict[int, Continuation] = {}
    async for index, continuation in engine.extend(requests):
        drawn[index] = continuation
    return [drawn[index] for index in range(len(seeds))]


async def in_order(engine: VLLMEngine, requests: Sequence[Extend]) -> AsyncIterator[tuple[int, Continuation]]:
    drawn = {index: continuation async for index, continuation in engine.extend(requests)}
    for index in range(len(requests)):
        yield index, drawn[index]


def distinct_prefixes(drawn: Sequence[Continuation]) -> int:
    return len({tuple(each.token_ids[:length]) for each in drawn for length in range(len(each.token_ids))})


SETTINGS = {
    "cold": {"temperature": 0.25},
    "with log z": {"temperature": 0.5, "alpha": 3.0},
    "cut": {"temperature": 0.7, "shaping": Shaping(top_k=20, top_p=0.9)},
    "penalised": {"temperature": 0.7, "shaping": Shaping(repetition_penalty=1.2, presence_penalty=0.3)},
    "greedy": {"temperature": 0.0},
    "by grammar": {"temperature": 1.0, "shaping": Shaping(grammar={"regex": "[a-z]{3,12}( [a-z]{1,9}){0,9}"})},
    "by a code": {"temperature": 0.6, "code": 0.375},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.asyncio(loop_scope="module")
async def test_sequences_that_share_rows_are_those_drawn_one_after_the_other(engine: VLLMEngine, name: str) -> None:
    together = await draw(engine, range(N), **SETTINGS[name])
    alone = [(await draw(engine, [seed], **SETTINGS[name]))[0] for seed in range(N)]
    agree = [one.token_ids == other.token_ids for one, other in zip(together, alone, strict=True)]
    # A draw whose number lies within rounding of the border between two tokens may fall on either side of it.
    assert sum(agree) >= N - 1
    for one, other, same in zip(together, alone, agree, strict=True):
        if same:
            assert one.finish_reason == other.finish_reason
            for field in ("logprobs", "proposal_logprobs", "log_z"):
                assert getattr(one, field) == pytest.approx(getattr(other, field), abs=2e-3)


@pytest.mark.parametrize("name", ["cold", "with log z", "cut", "greedy"])
@pytest.mark.asyncio(loop_scope="module")
async def test_each_distinct_prefix_is_computed_once(engine: VLLMEngine, name: str) -> None:
    before = engine.counters.rows_computed
    drawn = await draw(engine, range(100, 100 + N), **SETTINGS[name])
    rows, prefixes = engine.counters.rows_computed - before, distinct_prefixes(drawn)
    assert prefixes <= rows <= 1.05 * prefixes
    assert sum(each.computed or 0 for each in drawn) == rows < sum(len(each.token_ids) for each in drawn)
    # The prompt once, and a token for each row that left another.
    assert sum(each.prompt_computed for each in drawn) <= len(prompt_of(engine))


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_drawn_after_a_cut_is_what_was_drawn_there_before(engine: VLLMEngine) -> None:
    """Noise depends on seed and position; and adopted cache blocks hold what was computed."""
    root, whole = await engine.open(prompt_of(engine)), Shaping(ignore_eos=True)
    parents = [await engine.fork(root) for _ in range(4)]
    first = [Extend(parent, 40, seed=seed, shaping=whole) for seed, parent in enumerate(parents)]
    drawn = [continuation async for _, continuation in in_order(engine, first)]
    agree = []
    for cut in (5, 19, 38):
        for parent in parents:
            await engine.rewind(parent, cut)
        again = [Extend(parent, 2, seed=seed, shaping=whole) for seed, parent in enumerate(parents)]
        async for number, continuation in in_order(engine, again):
            agree.append(continuation.token_ids == drawn[number].token_ids[cut : cut + 2])
            before = drawn[number].logprobs[cut : cut + 2]
            assert not agree[-1] or continuation.logprobs == pytest.approx(before, abs=2e-3)
        for parent, each in zip(parents, drawn, strict=True):
            parent.token_ids[:] = each.token_ids
    assert sum(agree) >= len(agree) - 1


@pytest.mark.asyncio(loop_scope="module")
async def test_requests_of_two_callers_share_rows_and_each_pays_for_its_own(engine: VLLMEngine) -> None:
    before = engine.counters.rows_computed
    first, second = await asyncio.gather(*(draw(engine, range(N), temperature=0.25) for _ in range(2)))
    rows = engine.counters.rows_computed - before
    assert [each.token_ids for each in first] == [each.token_ids for each in second]
    paid = [sum(each.computed or 0 for each in drawn) for drawn in (first, second)]
    assert paid[0] == paid[1] == distinct_prefixes(first)
    # Who came a step later is a step behind, and shares nothing: then each computes its own.
    assert paid[0] <= rows <= 2 * paid[0]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_caller_that_goes_away_ends_what_only_it_wanted(engine: VLLMEngine) -> None:
    root = await engine.open(prompt_of(engine))
    requests = [Extend(await engine.fork(root), 1 + 200 * (seed % 2), seed=seed, temperature=0.3) for seed in range(6)]
    other = asyncio.ensure_future(draw(engine, range(N), temperature=0.3))
    async with aclosing(engine.extend(requests)) as stream:
        async for _ in stream:
            break
    assert [len(each.token_ids) > 0 for each in await other] == [True] * N
    assert await engine.unfinished() == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_a_run_counts_its_rows(engine: VLLMEngine) -> None:
    config = SMCConfig(n_particles=N, block_size=8, max_tokens=24, alpha=4, lookahead={"rollouts": 2})
    before = engine.counters.rows_computed
    result = await sample(engine, prompt_of(engine), None, config, seed=2)
    assert result.usage.computed_rows == engine.counters.rows_computed - before < 0.8 * result.usage.drawn
    again = await sample(engine, prompt_of(engine), None, config.model_copy(update={"max_total_rows": 60}), seed=2)
    assert again.usage.computed_rows <= 60
    assert again.stopped == "max_total_rows"
