"""Reward services: batches, repeated calls, time-outs and the circuit breaker."""

from __future__ import annotations

import json

import httpx
import pytest

from smc_decode.potentials import RewardFailure
from smc_decode.potentials.options import RewardConfigError, RewardRequest, RewardRequestError, validate
from smc_decode.potentials.own.http import CircuitBreaker, HTTPOptions, HTTPReward, RewardService
from tests.potentials.answers import answer

URL = "http://rewards/score"


def scores(request):
    answers = json.loads(request.content)["answers"]
    return httpx.Response(200, json={"rewards": [len(item["text"]) / 10 for item in answers]})


class Service:
    """Answers by turns; the last one for good."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request):
        self.requests.append(request)
        turn = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(turn, Exception):
            raise turn
        return turn(request) if callable(turn) else turn


async def ask(service, texts=("abc",), **options):
    settings = HTTPOptions(url=URL, **{"backoff": 0, **options})
    client = RewardService(settings, httpx.MockTransport(service))
    source = HTTPReward(settings, RewardRequest("Q"), client)
    try:
        return [reward.value for reward in await source.rewards([answer(text) for text in texts])]
    finally:
        await client.aclose()


async def test_answers_go_out_in_batches():
    service = Service(scores)
    assert await ask(service, ["a", "bb", "ccc"], batch_size=2, params={"x": 1}) == [0.1, 0.2, 0.3]
    bodies = [json.loads(request.content) for request in service.requests]
    assert [len(body["answers"]) for body in bodies] == [2, 1]
    assert bodies[0]["prompt"] == "Q"
    assert bodies[0]["params"] == {"x": 1}
    assert bodies[0]["answers"][0] == {"text": "a", "finished": True}


@pytest.mark.parametrize(
    "failure", [httpx.Response(503), httpx.Response(429), httpx.ReadTimeout(""), httpx.ConnectError("")]
)
async def test_a_passing_fault_is_tried_again(failure):
    service = Service(failure, scores)
    assert await ask(service) == [0.3]
    assert len(service.requests) == 2


@pytest.mark.parametrize(
    "failure", [httpx.Response(400), httpx.Response(500), httpx.Response(302, headers={"Location": "http://x"})]
)
async def test_a_lasting_fault_is_not(failure):
    service = Service(failure)
    with pytest.raises(RewardFailure, match=str(failure.status_code)):
        await ask(service)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("failure", "calls"), [(httpx.ReadTimeout(""), 1), (httpx.Response(503), 1), (httpx.ConnectError(""), 3)]
)
async def test_a_service_that_is_not_idempotent_is_asked_again_only_if_it_heard_nothing(failure, calls):
    service = Service(failure)
    with pytest.raises(RewardFailure):
        await ask(service, idempotent=False)
    assert len(service.requests) == calls


async def test_tries_end():
    service = Service(httpx.Response(503))
    with pytest.raises(RewardFailure, match="503"):
        await ask(service, retries=2)
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    "answer_", [{"rewards": [1, 2]}, {"rewards": ["x"]}, {"rewards": [2]}, {"rewards": [None]}, {"scores": [1]}, [1]]
)
async def test_an_answer_of_another_form_is_a_failure(answer_):
    with pytest.raises(RewardFailure):
        await ask(Service(httpx.Response(200, json=answer_)))


async def test_a_value_may_come_with_a_detail():
    service = Service(httpx.Response(200, json={"rewards": [{"value": 0.5, "detail": {"why": "so"}}]}))
    assert await ask(service) == [0.5]


async def test_a_service_that_keeps_failing_is_left_alone():
    service = Service(httpx.Response(500))
    settings = HTTPOptions(url=URL, breaker_failures=2)
    client = RewardService(settings, httpx.MockTransport(service))
    source = HTTPReward(settings, RewardRequest("Q"), client)
    for _ in range(4):
        with pytest.raises(RewardFailure):
            await source.rewards([answer("a")])
    assert len(service.requests) == 2
    await client.aclose()


def test_the_breaker_lets_one_call_try_after_its_time():
    now = [0.0]
    breaker = CircuitBreaker(2, 10, lambda: now[0])
    breaker.failed()
    breaker.check()
    breaker.failed()
    with pytest.raises(RewardFailure, match="next try in 10 s"):
        breaker.check()
    now[0] = 11
    breaker.check()
    with pytest.raises(RewardFailure):
        breaker.check()
    breaker.succeeded()
    breaker.check()


def test_only_http_addresses_are_taken(monkeypatch):
    with pytest.raises(RewardRequestError, match="http"):
        validate(HTTPOptions, {"url": "file:///etc/passwd"}, "rewards.x")
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(RewardConfigError, match="NO_KEY"):
        RewardService(HTTPOptions(url=URL, api_key_env="NO_KEY"))
