"""A judge that decides, behind a server of the tests' own that speaks OpenAI's published schema."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import TypeAdapter
from starlette.responses import JSONResponse

from smc_decode.potentials import RewardCatalogue, RewardFailure
from smc_decode.potentials.models.decisions import Decisions, DecisionsOptions
from smc_decode.potentials.options import RewardRequest, RewardRequestError
from smc_decode.potentials.own.http import RewardService
from tests.potentials.answers import answer

openai_types = pytest.importorskip("openai.types")
decision_params = pytest.importorskip("openai.types.decision_create_params")

URL = "http://judge/v1"
USAGE = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 1,
}
WORTHS = {"right": 1.0, "partly": 0.4, "wrong": 0.0}
LEVELS = ("poor", "fair", "good")
SHARES = (0.5, 0.3, 0.2)


class JudgeServer:
    """Speaks both protocols; finds half of what it reads true, and options as likely as SHARES says."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Any = None
        self.top: list[dict[str, Any]] | None = None
        self.app = FastAPI()
        self.app.post("/v1/decisions")(self.decisions)
        self.app.post("/v1/chat/completions")(self.chat)

    async def decisions(self, request: Request) -> JSONResponse:
        body = await request.json()
        params = decision_params.DecisionCreateParams
        # The stored types take unknown fields, the service does not.
        assert body.keys() <= params.__annotations__.keys()
        TypeAdapter(params).validate_python(body)
        self.asked.append(body)
        told = self.answer or self._answered(body["questions"][0])
        reply = {"model": body["model"], "answers": [told], "usage": USAGE}
        openai_types.Decision.model_validate(reply)
        return JSONResponse(reply)

    def _answered(self, question: dict[str, Any]) -> dict[str, Any]:
        head = {"type": question["type"], "name": question["name"]}
        if question["type"] == "predicate":
            return {**head, "probability": 0.75}
        if question["type"] == "choice":
            named = [each["value"] for each in question["choices"]]
            told = [{"value": name, "probability": p} for name, p in zip(named, SHARES, strict=True)]
            return {**head, "choice": named[0], "confidence": 0.5, "probabilities": told}
        levels = [each["label"] for each in question["levels"]]
        told = [
            {"value": i, "label": name, "probability": p}
            for i, (name, p) in enumerate(zip(levels, SHARES, strict=True))
        ]
        return {**head, "score": 0.7, "confidence": 0.5, "probabilities": told}

    async def chat(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        content = [{"token": "x", "logprob": -1.0, "bytes": None, "top_logprobs": self.top}]
        return JSONResponse({"choices": [{"index": 0, "message": {}, "logprobs": {"content": content}}]})


@pytest.fixture
def server() -> JudgeServer:
    return JudgeServer()


async def judged(server: JudgeServer, texts: Any = ("abc",), **options: Any) -> Any:
    settings = DecisionsOptions(url=URL, model="judge", **{"retries": 0, **options})
    path = "/chat/completions" if settings.api == "chat" else "/decisions"
    service = RewardService(settings, httpx.ASGITransport(app=server.app), path=path)
    try:
        return await Decisions(settings, RewardRequest("Q"), service).rewards([answer(text) for text in texts])
    finally:
        await service.aclose()


def top(**probabilities: float) -> list[dict[str, Any]]:
    return [{"token": token, "logprob": math.log(p)} for token, p in probabilities.items()]


async def test_a_predicates_probability_is_the_reward(server: JudgeServer) -> None:
    (reward,) = await judged(server, instructions="The answer is short.")
    assert reward.value == 0.75
    assert reward.detail["probabilities"] == {"yes": 0.75, "no": 0.25}
    (body,) = server.asked
    assert body["questions"] == [{"type": "predicate", "name": "reward", "instructions": "The answer is short."}]
    assert "Q" in body["input"]
    assert "abc" in body["input"]


async def test_a_choice_is_worth_what_its_options_are(server: JudgeServer) -> None:
    (reward,) = await judged(server, question="choice", choices=WORTHS)
    assert reward.value == pytest.approx(0.5 * 1.0 + 0.3 * 0.4)


async def test_a_score_is_the_expected_level_as_a_share_of_the_highest(server: JudgeServer) -> None:
    (reward,) = await judged(server, question="score", levels=LEVELS)
    assert reward.value == pytest.approx((0.3 * 1 + 0.2 * 2) / 2)


async def test_equal_answers_are_asked_about_once(server: JudgeServer) -> None:
    assert len(await judged(server, ["a", "b", "a"])) == 3
    assert len(server.asked) == 2


async def test_a_judge_that_declines_gives_nothing(server: JudgeServer) -> None:
    server.answer = {"type": "refusal", "name": "reward"}
    (reward,) = await judged(server)
    assert (reward.value, reward.detail["note"]) == (0.0, "the judge declined to answer")


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "choice", "choice": "a", "confidence": 1.0, "probabilities": []},
        {"type": "predicate", "probability": 1.5},
        {"type": "predicate", "probability": float("1e9")},
    ],
)
async def test_an_answer_of_another_form_is_a_failure(server: JudgeServer, wrong: dict[str, Any]) -> None:
    server.answer = wrong
    with pytest.raises(RewardFailure, match="another form"):
        await judged(server)


async def test_options_that_were_not_given_are_a_failure(server: JudgeServer) -> None:
    told = [{"value": "other", "probability": 1.0}]
    server.answer = {"type": "choice", "choice": "other", "confidence": 1.0, "probabilities": told}
    with pytest.raises(RewardFailure, match="not given"):
        await judged(server, question="choice", choices=WORTHS)


# ---- a chat model ------------------------------------------------------------------------------------------------


async def test_a_chat_models_first_token_is_the_decision_in_whatever_spelling(server: JudgeServer) -> None:
    server.top = top(**{"Yes": 0.4, " yes": 0.2, "No": 0.2, "maybe": 0.1})
    (reward,) = await judged(server, api="chat", body={"chat_template_kwargs": {"enable_thinking": False}})
    assert reward.value == pytest.approx(0.6 / 0.8)
    assert reward.detail["label_mass"] == pytest.approx(0.8)
    (body,) = server.asked
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_a_chat_model_replies_with_the_letter_or_number_of_an_option(server: JudgeServer) -> None:
    server.top = top(A=0.5, B=0.3, C=0.2)
    (reward,) = await judged(server, api="chat", question="choice", choices=WORTHS)
    assert reward.value == pytest.approx(0.5 + 0.3 * 0.4)
    assert "A: right\nB: partly\nC: wrong" in server.asked[0]["messages"][0]["content"]
    server.top = top(**{"0": 0.5, "1": 0.3, "2": 0.2})
    (reward,) = await judged(server, api="chat", question="score", levels=LEVELS)
    assert reward.value == pytest.approx(0.35)


async def test_a_chat_model_that_says_something_else_gives_nothing(server: JudgeServer) -> None:
    server.top = top(Well=0.9)
    (reward,) = await judged(server, api="chat")
    assert reward.value == 0.0
    assert "no label" in reward.detail["note"]


async def test_a_chat_model_without_log_probabilities_is_a_failure(server: JudgeServer) -> None:
    server.top = None
    with pytest.raises(RewardFailure, match="another form"):
        await judged(server, api="chat")


# ---- what may be asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"question": "choice"},
        {"question": "choice", "choices": {"a": 1}},
        {"question": "choice", "choices": {"a": 1, "b": 2}},
        {"question": "score", "levels": ["a"]},
        {"question": "score", "levels": ["a", "a"]},
        {"choices": {"a": 1, "b": 0}},
        {"template": "{answer}"},
        {"url": "http://elsewhere/v1"},
        {"body": {"model": "other"}},
    ],
)
def test_wrong_params_are_the_requests_fault(params: dict[str, Any]) -> None:
    made = RewardCatalogue.from_toml({"rewards": {"judged": {"source": "decisions", "url": URL, "model": "judge"}}})
    with pytest.raises(RewardRequestError, match=r"smc\.reward\.params"):
        made.source("judged", params, RewardRequest("Q"))
