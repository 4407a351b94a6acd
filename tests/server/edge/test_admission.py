"""Slots are granted in order, the queue is bounded, and everything is given back."""

from __future__ import annotations

import asyncio

import pytest

from server.edge.admission import Admission
from server.errors import APIError
from tests.server.conftest import MakeClient, completion
from tests.server.toy import SlowEngine


async def test_requests_wait_in_order_of_arrival() -> None:
    admission = Admission(10, 5)
    first = admission.enter("k", 8)
    large, small = admission.enter("k", 6), admission.enter("k", 1)
    assert first.granted.done()
    assert not large.granted.done()
    assert not small.granted.done()  # it would fit, but is not let past
    first.close()
    await asyncio.gather(large.wait(), small.wait())
    assert admission.used == 7
    large.close()
    large.close()
    small.close()
    assert (admission.used, admission.running, admission.waiting) == (0, 0, 0)


async def test_a_request_larger_than_the_server_takes_all_of_it() -> None:
    admission = Admission(4, 5)
    with_all = admission.enter("k", 100)
    await with_all.wait()
    assert admission.used == 4


async def test_a_full_queue_is_a_429_with_a_time_to_wait() -> None:
    admission = Admission(1, 1)
    held = [admission.enter("k", 1), admission.enter("k", 1)]
    with pytest.raises(APIError) as refused:
        admission.enter("k", 1)
    assert refused.value.status == 429
    assert int(refused.value.headers["Retry-After"]) >= 1
    for ticket in held:
        ticket.close()
    admission.enter("k", 1).close()


async def test_a_request_that_leaves_the_queue_makes_room() -> None:
    admission = Admission(1, 1)
    running, waiting = admission.enter("k", 1), admission.enter("k", 1)
    waiting.close()
    waiting = admission.enter("k", 1)
    running.close()
    await waiting.wait()
    assert admission.running == 1


async def test_a_cancelled_wait_gives_its_place_back() -> None:
    admission = Admission(1, 1)
    running = admission.enter("k", 1)

    async def wait() -> None:
        async with admission.enter("k", 1):
            pass

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert admission.waiting == 0
    running.close()
    assert admission.used == 0


async def test_each_key_has_its_own_limit() -> None:
    now = 0.0
    admission = Admission(100, 5, requests_per_key=2, requests_per_minute=3, clock=lambda: now)
    tickets = [admission.enter("a", 1), admission.enter("a", 1)]
    with pytest.raises(APIError, match="limit"):
        admission.enter("a", 1)
    admission.enter("b", 1)
    for ticket in tickets:
        ticket.close()
    admission.enter("a", 1).close()
    with pytest.raises(APIError) as refused:
        admission.enter("a", 1)
    assert refused.value.headers["Retry-After"] == "60"
    now = 61.0
    admission.enter("a", 1).close()


async def test_draining_lets_no_one_in_and_waits_for_those_who_are() -> None:
    admission = Admission(1, 5)
    tickets = [admission.enter("k", 1), admission.enter("k", 1)]
    drained = asyncio.create_task(admission.drain())
    await asyncio.sleep(0)
    with pytest.raises(APIError) as refused:
        admission.enter("k", 1)
    assert refused.value.status == 503
    tickets[0].close()
    await tickets[1].wait()
    assert not drained.done()
    tickets[1].close()
    await drained


async def test_a_full_server_answers_429_and_then_serves_again(make_client: MakeClient) -> None:
    client = make_client(SlowEngine(0.1), particle_slots=1, queue_length=1)
    replies = await asyncio.gather(*(client.post("/v1/completions", json=completion()) for _ in range(5)))
    statuses = sorted(reply.status_code for reply in replies)
    assert statuses == [200, 200, 429, 429, 429]
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert refused.json()["error"]["code"] == "queue_full"
    assert refused.headers["retry-after"]
    assert (await client.post("/v1/completions", json=completion())).status_code == 200


async def test_requests_run_side_by_side_on_one_engine(make_client: MakeClient) -> None:
    engine = SlowEngine(0.05)
    client = make_client(engine)
    alone = [(await client.post("/v1/completions", json=completion(seed=s))).json()["choices"] for s in range(6)]
    together = await asyncio.gather(*(client.post("/v1/completions", json=completion(seed=s)) for s in range(6)))
    assert [reply.json()["choices"] for reply in together] == alone
