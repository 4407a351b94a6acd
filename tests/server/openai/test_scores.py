"""POST /v1/smc/score: what a reward says of answers that the client gives."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest

from server.edge.auth import Keys
from server.settings import PresetTable
from smc_decode.potentials.base import RewardFailure
from smc_decode.potentials.catalogue import RewardCatalogue
from tests.server.conftest import Client, MakeClient, completion
from tests.server.toy import END, toy_engine

REGEX = {"name": "regex", "params": {"pattern": "a+"}}


def ask(**fields: Any) -> dict[str, Any]:
    body = {"model": "toy", "prompt": "q", "reward": REGEX, "answers": ["aaa", "b", ""], **fields}
    return {key: value for key, value in body.items() if value is not ...}


async def post(client: Client, **fields: Any) -> httpx.Response:
    return await client.post("/v1/smc/score", json=ask(**fields))


async def scores(client: Client, **fields: Any) -> list[dict[str, Any]]:
    reply = await post(client, **fields)
    assert reply.status_code == 200, reply.text
    return reply.json()["scores"]


def failing(prompt: str, answer: str, finished: bool) -> float:
    raise RewardFailure("the judge is away")


def judge(prompt: str, answer: str, finished: bool) -> Any:
    return (0.5 if finished else 0.25), {"prompt": prompt, "answer": answer}


def catalogue(engine: Any, **functions: str) -> RewardCatalogue:
    rewards = {
        name: {"source": "function", "function": f"{__name__}:{of}", "judge_prefixes": name == "mine"}
        for name, of in functions.items()
    }
    return RewardCatalogue.from_toml({"rewards": rewards}, engine=engine)


async def test_answers_are_scored_in_order_with_the_details_of_the_reward(client: Client) -> None:
    first, second, third = await scores(client)
    assert first["reward"] == 1.0
    assert second["reward"] < 1.0
    assert third["reward"] < 1.0
    assert isinstance(first["detail"], dict)


async def test_a_score_is_what_a_run_says_of_the_same_answer(client: Client) -> None:
    for reward in ({"name": "confidence"}, REGEX):
        smc = {"preset": "smc-reward", "n_particles": 4, "block_size": 8, "reward": reward}
        asked = completion(max_tokens=400, smc=smc, return_token_ids=True)
        choice = (await client.post("/v1/completions", json=asked)).json()["choices"][0]
        assert choice["token_ids"][-1] == END
        (score,) = await scores(client, prompt="abc", reward=reward, answers=[choice["text"]])
        assert score["reward"] == pytest.approx(choice["reward"], abs=1e-12)


async def test_log_probabilities_are_those_of_the_model_given_the_prompt(client: Client) -> None:
    (score,) = await scores(client, reward="confidence", answers=["ab"], finished=False)
    echoed = completion(prompt="qab", echo=True, logprobs=0, max_tokens=0)
    told = (await client.post("/v1/completions", json=echoed)).json()["choices"][0]["logprobs"]["token_logprobs"]
    assert score["reward"] == pytest.approx(math.exp((told[1] + told[2]) / 2))


async def test_unfinished_answers_are_judged_as_prefixes(make_client: MakeClient) -> None:
    engine = toy_engine()
    client = make_client(engine, catalogue(engine, mine="judge"))
    assert [each["reward"] for each in await scores(client, reward="mine")] == [0.5] * 3
    assert [each["reward"] for each in await scores(client, reward="mine", finished=False)] == [0.25] * 3


async def test_a_last_message_that_is_to_be_continued_is_a_prefix_of_every_answer(make_client: MakeClient) -> None:
    engine = toy_engine()
    client = make_client(engine, catalogue(engine, mine="judge"))
    messages = [{"role": "user", "content": "what?"}, {"role": "assistant", "content": "It is "}]
    fields = {"prompt": ..., "messages": messages, "reward": "mine", "answers": ["7", "8"]}
    told = await scores(client, **fields, continue_final_message=True, add_generation_prompt=False)
    assert [each["detail"]["answer"] for each in told] == ["It is 7", "It is 8"]
    told = await scores(client, **fields)
    assert [each["detail"]["answer"] for each in told] == ["7", "8"]


async def test_an_answer_is_judged_as_it_was_sent_whatever_its_tokens_are(make_client: MakeClient) -> None:
    engine = toy_engine()
    client = make_client(engine, catalogue(engine, mine="judge"))
    answers = ["", "<|end|> \x00 🙂", " é\r\n"]
    assert [each["detail"]["answer"] for each in await scores(client, reward="mine", answers=answers)] == answers


async def test_a_presets_own_reward_judges_where_the_request_names_none(make_client: MakeClient) -> None:
    client = make_client(presets={"mine": PresetTable(base="best-of-n", reward=REGEX)})
    assert (await scores(client, model="toy:mine", reward=...))[0]["reward"] == 1.0
    by_default = make_client(presets={"mine": PresetTable(base="best-of-n", reward=REGEX)}, preset="mine")
    assert (await scores(by_default, reward=...))[0]["reward"] == 1.0
    missing = await post(client, reward=...)
    assert missing.status_code == 400
    assert missing.json()["error"]["param"] == "reward"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"answers": []}, "answers"),
        ({"answers": ["a", 1]}, "answers[1]"),
        ({"answers": "a"}, "answers"),
        ({"answers": ...}, "answers"),
        ({"answers": ["a"] * 9}, "answers"),
        ({"answers": ["a", "b" * 512]}, "answers[1]"),
        ({"prompt": "a" * 600}, None),
        ({"prompt": ...}, None),
        ({"messages": [{"role": "user", "content": "a"}]}, None),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [99999]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ..., "messages": []}, "messages"),
        ({"continue_final_message": True}, None),
        ({"reward": "no-such"}, "reward.name"),
        ({"reward": {"name": "regex", "params": {"patern": "a"}}}, "reward.params.patern"),
        ({"reward": {"name": "regex", "params": {}}}, "reward.params.pattern"),
        ({"reward": {"name": "regex", "params": {"pattern": "("}}}, "reward"),
        ({"reward": {"name": "regex", "on_failure": "floor"}}, "reward.on_failure"),
        ({"reward": 7}, "reward"),
        ({"smc": {}}, "smc"),
        ({"finished": "yes"}, "finished"),
    ],
)
async def test_what_is_wrong_is_a_400_that_names_the_field(
    make_client: MakeClient, fields: dict[str, Any], param: str | None
) -> None:
    reply = await post(make_client(max_particles=8), **fields)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["message"]
    assert "smc.reward" not in error["message"]
    if param is not None:
        assert error["param"] == param


async def test_sources_that_judge_complete_answers_only_say_so(make_client: MakeClient) -> None:
    engine = toy_engine()
    reply = await post(make_client(engine, catalogue(engine, whole="judge")), reward="whole", finished=False)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "finished"


async def test_models_that_are_not_there_are_a_404(client: Client) -> None:
    reply = await post(client, model="gpt-9")
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"


async def test_a_reward_that_fails_is_a_503(make_client: MakeClient) -> None:
    engine = toy_engine()
    reply = await post(make_client(engine, catalogue(engine, mine="failing")), reward="mine")
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "reward_unavailable"
    assert reply.json()["error"]["param"] == "reward"


async def test_keys_and_limits_hold_here_too(make_client: MakeClient) -> None:
    client = make_client(keys=Keys({"kim": "sesame"}), requests_per_minute=1)
    assert (await post(client)).status_code == 401
    client.headers["authorization"] = "Bearer sesame"
    assert (await post(client)).status_code == 200
    limited = await post(client)
    assert limited.status_code == 429
    assert int(limited.headers["retry-after"]) >= 1
    assert client.app.state.admission.used == 0  # type: ignore[attr-defined]


async def test_code_is_taken_from_clients_on_this_machine_only(make_client: MakeClient) -> None:
    params = {"test": "def check(f):\n    assert f(1) == 1", "entry_point": "f"}
    client = make_client(keys=Keys({"kim": "sesame"}))
    client.headers["authorization"] = "Bearer sesame"
    reply = await post(client, reward={"name": "unit_tests", "params": params})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] in ("reward.params.test", "reward.name")
