"""Draws of one prefix as one request with ``n``: which are, what each gets, and when they are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from smc_decode.engines.base import Continuation, Engine, EngineError, Extend
from smc_decode.engines.remote.bundles import MOST, bundled
from smc_decode.engines.remote.wire import BadReply, replies_of
from tests.engines.remote.fake_vllm import FakeVLLM, Fleet
from tests.enumeration import mod_logits

VOCAB = 8
PROMPT = [1]


def fleet(*servers: FakeVLLM) -> Fleet:
    return Fleet(*servers, bundle=True)


def server(**options: Any) -> FakeVLLM:
    return FakeVLLM(mod_logits(VOCAB), VOCAB, **options)


async def draw(engine: Engine, requests: Sequence[Extend]) -> list[Continuation]:
    drawn = {index: continuation async for index, continuation in engine.extend(requests)}
    return [drawn[index] for index in range(len(requests))]


async def requests_of(engine: Engine, seeds: Sequence[int], length: int = 6, **settings: Any) -> list[Extend]:
    root = await engine.open(PROMPT)
    return [Extend(await engine.fork(root), length, seed=seed, **settings) for seed in seeds]


def body(prompt: list[int], seed: int | None = None, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "max_tokens": 4, "n": 1, **({} if seed is None else {"seed": seed}), **more}


def test_bodies_that_differ_in_their_seeds_alone_are_one() -> None:
    bodies = [body([1, 2], 5), body([1, 3], 6), body([1, 2], 7), body([1, 2], 8, max_tokens=3), body([1, 2], 9)]
    found = bundled(bodies, [0] * 4 + [1])
    assert [bundle.indices for bundle in found] == [(0, 2), (1,), (3,), (4,)]
    assert found[0].body == body([1, 2], 5, n=2)
    assert found[1].body == bodies[1]


def test_greedy_draws_have_no_seed_and_are_one_too() -> None:
    (bundle,) = bundled([body([1])] * 3, [0] * 3)
    assert bundle.body == body([1], n=3)


def test_a_bundle_has_a_most_and_a_seed_that_its_places_can_be_added_to() -> None:
    found = bundled([body([1], 2**63 - 1)] * (MOST + 3), [0] * (MOST + 3))
    assert [len(bundle.indices) for bundle in found] == [MOST, 3]
    assert all(bundle.body["seed"] + MOST < 2**63 for bundle in found)


async def test_a_population_of_one_prefix_is_one_request_and_each_draw_has_its_own_noise() -> None:
    fake = server(eos=None)
    engine = await fleet(fake).engine()
    requests = await requests_of(engine, range(40, 48))
    drawn = await draw(engine, requests)
    assert [each["n"] for each in fake.drawn] == [8]
    assert len({tuple(each.token_ids) for each in drawn}) > 4
    assert [request.sequence.token_ids for request in requests] == [each.token_ids for each in drawn]
    again = await draw(engine, await requests_of(engine, range(40, 48)))
    assert [each.token_ids for each in again] == [each.token_ids for each in drawn]
    assert (engine.counters.requests, engine.counters.posts) == (16, 2)


async def test_each_draw_is_the_one_of_the_first_seed_and_its_place() -> None:
    engine, apart = await fleet(server()).engine(), await Fleet(server()).engine()
    together = await draw(engine, await requests_of(engine, [9, 100, 200], alpha=1.0))
    alone = [(await draw(apart, await requests_of(apart, [seed], alpha=1.0)))[0] for seed in (9, 10, 11)]
    for one, other in zip(together, alone, strict=True):
        assert (one.token_ids, one.logprobs, one.log_z) == (other.token_ids, other.logprobs, other.log_z)


async def test_a_server_with_one_noise_for_all_gets_a_request_for_each() -> None:
    fake = server()
    fake.apart = False
    engine = await fleet(fake).engine()
    drawn = await draw(engine, await requests_of(engine, range(5)))
    assert [each["n"] for each in fake.drawn] == [1] * 5
    assert len({tuple(each.token_ids) for each in drawn}) > 1


async def test_runs_share_no_request() -> None:
    fake = server()
    engine = await fleet(fake).engine()
    first, second = await requests_of(engine, [1, 2]), await requests_of(engine, [3, 4])
    await draw(engine, first + second)
    assert sorted(each["n"] for each in fake.drawn) == [2, 2]


def test_choices_are_read_in_their_order_and_the_cache_is_told_of_the_first() -> None:
    usage = {"prompt_tokens_details": {"cached_tokens": 3}}
    choices = [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]
    first, second = replies_of({"choices": choices, "usage": usage}, 2)
    assert (first["choices"][0]["text"], first["usage"]) == ("a", usage)
    assert (second["choices"][0]["text"], second["usage"]) == ("b", None)


@pytest.mark.parametrize(
    "choices",
    [None, [], [{"index": 0}], [{"index": 0}, {"index": 0}], [{"index": 0}, {"index": 2}], [{"index": 0}, 7]],
)
def test_another_number_of_choices_is_refused(choices: Any) -> None:
    with pytest.raises(BadReply):
        replies_of({"choices": choices}, 2)


async def test_a_reply_with_too_few_choices_blames_the_server() -> None:
    fake = server()
    engine = await fleet(fake).engine()
    fake.tamper = lambda reply: {**reply, "choices": reply["choices"][:1]}
    with pytest.raises(EngineError, match=r"http://one .*choices"):
        await draw(engine, await requests_of(engine, range(3)))
