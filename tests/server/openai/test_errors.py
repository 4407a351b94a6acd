"""Every error is OpenAI's shape, with a status that says who has to change what; and the server goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smc_decode.engines.base import EngineError
from smc_decode.potentials import Evaluation, FunctionPotential, PotentialError, RewardFailure
from smc_decode.potentials.options import MissingExtra, RewardRequestError
from tests.server.conftest import Client, MakeClient, chat, completion
from tests.server.toy import SlowEngine, script, toy_engine


class OneReward:
    """A catalogue with one reward, which is the given function of (tokens, finished)."""

    def __init__(self, f: Any) -> None:
        self._f = f
        self.closed = False

    def infos(self) -> list[Any]:
        return []

    def build(self, name: str, params: Any, *, reward_scale: float, request: Any) -> Any:
        if name != "mine":
            raise RewardRequestError(f"unknown reward {name!r}; allowed: mine", "smc.reward.name")
        return FunctionPotential(self._f, kind="telescoping")

    async def aclose(self) -> None:
        self.closed = True


def fails(error: Exception) -> Any:
    def f(tokens: tuple[int, ...], finished: bool) -> float:
        raise error

    return f


WITH_REWARD = {"preset": "smc-reward", "n_particles": 4, "block_size": 4, "reward": {"name": "mine"}}


def check(reply: Any, status: int, code: str | None = None, param: str | None = None, says: str = "") -> dict:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["code"], str)
    if code is not None:
        assert error["code"] == code
    if param is not None:
        assert error["param"] == param
    assert says in error["message"]
    return error


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": []}, "prompt", "empty"),
        ({"prompt": ["a", ""]}, "prompt[1]", "empty"),
        ({"prompt": [[]]}, "prompt[0]", "no tokens"),
        ({"prompt": [5000]}, "prompt", "vocabulary of 261"),
        ({"prompt": [-1]}, "prompt", "must be a string"),
        ({"prompt": [1, "a"]}, "prompt", "must be a string"),
        ({"prompt": None}, "prompt", "must be a string"),
        ({"prompt": "a" * 600}, "prompt", "context of 512"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": "2"}, "n", "integer"),
        ({"n": True}, "n", "integer"),
        ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
        ({"temperature": 2.5}, "temperature", "less than or equal to 2"),
        ({"top_p": 1.5}, "top_p", "less than or equal to 1"),
        ({"max_tokens": -1}, "max_tokens", "greater than or equal to 0"),
        ({"max_tokens": 0}, "max_tokens", "echo"),
        ({"best_of": 2, "n": 3}, "best_of", "n (3)"),
        ({"suffix": "x"}, "suffix", "not supported"),
        ({"stop": [str(i) for i in range(65)]}, "stop", "at most 64"),
        ({"stop": ""}, "stop", "empty string"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream"),
        ({"logprobs": 6}, "logprobs", "less than or equal to 5"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "token id"),
        ({"logit_bias": {"9999": 1}}, "logit_bias", "vocabulary"),
        ({"stop_token_ids": [9999]}, "stop_token_ids", "vocabulary"),
        ({"seed": 2**70}, "seed", "less than"),
        ({"nucleus": 1}, "nucleus", "allowed: "),
        ({"smc": {"n_particle": 3}}, "smc.n_particle", "n_particles"),
        ({"smc": {"n_particles": 0}}, "smc.n_particles", "greater than"),
        ({"smc": {"n_particles": 1000}}, "smc.n_particles", "limit of 256"),
        ({"smc": {"lookahead": {"rolouts": 1}}}, "smc.lookahead.rolouts", "rollouts"),
        ({"smc": {"preset": "magic"}}, "smc.preset", "best-of-n"),
        ({"smc": {"resampling": "magic"}}, "smc.resampling", "systematic"),
        ({"smc": {"target": "magic"}}, "smc.target", "tempered"),
        ({"smc": {"stream_mode": "magic"}}, "smc.stream_mode", "commit"),
        ({"smc": {"reward": {"name": "magic"}}}, "smc.reward.name", "unit_tests"),
        ({"smc": {"reward": {"nam": "x"}}}, "smc.reward.nam", "name"),
        ({"smc": {"reward": {"name": "unit_tests", "params": {"tset": ""}}}}, "smc.reward", ""),
    ],
)
async def test_wrong_fields_are_a_400_that_names_them(
    client: Client, fields: dict[str, Any], param: str, says: str
) -> None:
    error = check(await client.post("/v1/completions", json=completion(**fields)), 400, says=says)
    assert (error["param"] or "").startswith(param)
    assert (await client.post("/v1/completions", json=completion())).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "hi"}, "messages", "list"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "assistant"),
        ({"messages": [{"role": "user"}]}, "messages[0]", "needs content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "empty"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
            "image_url",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]", "tool_call_id"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages", "begin with the user"),
        ({"audio": {"voice": "alloy", "format": "mp3"}}, "audio", ""),
        ({"modalities": ["audio"]}, "modalities", "text"),
        ({"functions": [{"name": "f"}]}, "functions", ""),
        ({"web_search_options": {}}, "web_search_options", ""),
        ({"top_logprobs": 2}, "top_logprobs", "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "20"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "differ"),
        ({"tool_choice": "required"}, "tool_choice", "tools"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema"),
        ({"response_format": {"type": "json_object"}}, None, "grammar"),
        ({"chat_template_kwargs": {"chat_template": "{{ x }}"}}, "chat_template_kwargs.chat_template", "may not"),
        ({"continue_final_message": True}, "continue_final_message", "assistant"),
        ({"metadata": {"k": 1}}, "metadata", ""),
        ({"smc": {"block_siz": 1}}, "smc.block_siz", "block_size"),
    ],
)
async def test_wrong_chat_fields_are_a_400_that_names_them(
    client: Client, fields: dict[str, Any], param: str | None, says: str
) -> None:
    error = check(await client.post("/v1/chat/completions", json=chat(**fields)), 400, says=says)
    if param is not None:
        assert (error["param"] or "").startswith(param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"model": NaN}',
        b'{"model": "\xff"}',
        b'{"temperature": 1e999, "model": "toy", "prompt": "a"}',
        b"[" * 100_000,
        b'{"model": "toy", "prompt": "a", "smc": ' + b'{"reward":' * 500 + b"1" + b"}" * 501,
        b'{"prompt": "a"}',
        b'{"model": "toy"}',
        b'{"model": "toy", "prompt": "\\ud800"}',
    ],
)
async def test_malformed_bodies_are_a_400(client: Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    for path in ("/v1/completions", "/v1/chat/completions"):
        check(await client.post(path, content=body, headers=headers), 400)


async def test_a_body_of_another_type_is_a_400(client: Client) -> None:
    text = json.dumps(completion())
    reply = await client.post("/v1/completions", content=text, headers={"content-type": "text/plain"})
    check(reply, 400, says="application/json")


async def test_an_unknown_model_is_a_404_that_lists_the_names(client: Client) -> None:
    for model in ("gpt-9", "toy:nope", ":base", "toy:", ""):
        error = check(await client.post("/v1/completions", json=completion(model=model)), 404, "model_not_found")
        assert "'toy'" in error["message"]
    check(await client.get("/v1/models/org/other"), 404, "model_not_found")


async def test_unknown_routes_and_methods_have_the_same_shape(client: Client) -> None:
    check(await client.get("/v1/engines"), 404, "not_found")
    reply = await client.get("/v1/completions")
    check(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"
    check(await client.delete("/v1/models"), 405)


async def test_a_large_body_is_a_413(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=1000)
    check(await client.post("/v1/completions", json=completion(prompt="a" * 2000)), 413, "request_too_large")

    async def chunks():  # type: ignore[no-untyped-def]
        for _ in range(20):
            yield b" " * 100

    headers = {"content-type": "application/json"}
    check(await client.post("/v1/completions", content=chunks(), headers=headers), 413)


async def test_all_particles_dead_is_a_422_that_clients_do_not_retry(make_client: MakeClient) -> None:
    client = make_client(catalogue=OneReward(lambda tokens, finished: float("-inf")))
    reply = await client.post("/v1/completions", json=completion(smc=WITH_REWARD))
    check(reply, 422, "all_particles_dead", says="softer reward")
    assert reply.headers["x-should-retry"] == "false"


async def test_a_reward_that_gives_nan_is_a_400(make_client: MakeClient) -> None:
    client = make_client(catalogue=OneReward(lambda tokens, finished: float("nan")))
    check(await client.post("/v1/completions", json=completion(smc=WITH_REWARD)), 400)
    client = make_client(catalogue=OneReward(fails(PotentialError("not a number"))))
    check(await client.post("/v1/completions", json=completion(smc=WITH_REWARD)), 400, "invalid_reward")


async def test_a_reward_that_fails_is_a_503(make_client: MakeClient) -> None:
    client = make_client(catalogue=OneReward(fails(RewardFailure("judge unreachable"))))
    reply = await client.post("/v1/completions", json=completion(smc=WITH_REWARD))
    check(reply, 503, "reward_unavailable", says="judge unreachable")
    assert "retry-after" in reply.headers


@pytest.mark.parametrize("policy", ["keep", "floor"])
async def test_a_failing_reward_may_be_gone_without_and_the_answer_says_so(
    make_client: MakeClient, policy: str
) -> None:
    client = make_client(catalogue=OneReward(fails(RewardFailure("judge unreachable"))))
    smc = {**WITH_REWARD, "reward": {"name": "mine", "on_failure": policy}}
    reply = await client.post("/v1/completions", json=completion(smc=smc))
    assert reply.status_code == 200
    assert any("judge unreachable" in warning for warning in reply.json()["smc"]["warnings"])


async def test_keep_leaves_the_weights_as_they_were() -> None:
    from smc_decode.potentials import Prefix
    from smc_decode.potentials.guard import RewardGuard

    class Flaky:
        name, kind, log_scale, cacheable, needs_logprobs = "flaky", "telescoping", 1.0, True, False
        down = False

        async def evaluate(self, batch: Any) -> Any:
            if self.down:
                raise RewardFailure("gone")
            return [Evaluation(1.5, 0.5) for _ in batch]

    inner = Flaky()
    guard = RewardGuard(inner, "keep")  # type: ignore[arg-type]
    await guard.evaluate([Prefix((1, 2), False)])
    inner.down = True
    known, unknown = await guard.evaluate([Prefix((1, 2, 3), False), Prefix((9,), False)])
    assert (known.log_value, unknown.log_value) == (1.5, 0.0)
    assert guard.failures == 2


async def test_an_engine_that_died_is_a_503_and_health_says_so(make_client: MakeClient) -> None:
    engine = SlowEngine(0.0)
    client = make_client(engine)
    assert (await client.get("/health")).status_code == 200
    engine.dead = True
    check(await client.post("/v1/completions", json=completion()), 503, "engine_unavailable", says="killed")
    check(await client.get("/health"), 503, "engine_unavailable")
    check(await client.get("/ready"), 503, "engine_unavailable")
    engine.dead = False
    assert (await client.get("/health")).status_code == 200


async def test_what_needs_an_extra_that_is_not_installed_is_a_400_that_names_it(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: Any, **__: Any) -> None:
        raise MissingExtra("this needs math_verify: pip install 'smc-decode[rewards]'")

    monkeypatch.setattr("smc_decode.workers.pool.WorkerPool.call", without)
    client = make_client(toy_engine(script(r"so \boxed{x^2 + 7}")))
    smc = {"preset": "self-consistency", "n_particles": 2, "extractor": "boxed"}
    for stream in (False, True):
        reply = await client.post("/v1/completions", json=completion(smc=smc, max_tokens=30, stream=stream))
        if stream:
            assert '"missing_extra"' in reply.text
        else:
            check(reply, 400, "missing_extra", says="smc-decode[rewards]")


async def test_a_fault_of_the_servers_own_is_a_500_that_tells_nothing_of_it(make_client: MakeClient) -> None:
    client = make_client(catalogue=OneReward(fails(KeyError("secret"))))
    reply = await client.post("/v1/completions", json=completion(smc=WITH_REWARD))
    error = check(reply, 500, "internal_error")
    assert "secret" not in error["message"]
    assert reply.headers["x-should-retry"] == "false"


async def test_a_request_beyond_the_deadline_is_a_504(make_client: MakeClient) -> None:
    engine = SlowEngine(5.0)
    client = make_client(engine, request_timeout_s=0.05)
    check(await client.post("/v1/completions", json=completion()), 504, "deadline_exceeded")
    assert engine.working == 0
    assert client.app.state.admission.used == 0  # type: ignore[attr-defined]


async def test_errors_carry_the_requests_id(client: Client) -> None:
    reply = await client.get("/nowhere", headers={"x-request-id": "abc-1"})
    assert reply.headers["x-request-id"] == "abc-1"
    reply = await client.get("/nowhere", headers={"x-request-id": "no spaces, please"})
    assert len(reply.headers["x-request-id"]) == 32


def test_engine_errors_are_translated_by_class() -> None:
    from server.errors import translate

    assert translate(EngineError("x")).status == 503
    assert translate(RuntimeError("x")).status == 500


async def test_a_request_whose_rewards_have_used_their_seconds_is_told_what_to_change(make_client: MakeClient) -> None:
    client = make_client(reward_seconds=1e-6)
    smc = {"preset": "smc-reward", "reward": {"name": "regex", "params": {"pattern": "[a-f]+"}}}
    reply = await client.post("/v1/completions", json=completion(smc={**smc, "n_particles": 4, "block_size": 4}))
    check(reply, 422, "reward_budget_spent", says="server.reward_seconds")
    assert reply.headers["x-should-retry"] == "false"


async def test_token_ids_beyond_the_context_are_refused_before_they_are_decoded(make_client: MakeClient) -> None:
    engine = toy_engine(max_model_len=64)
    engine.tokenizer.decode = fails(AssertionError("decoded"))  # type: ignore[union-attr]
    client = make_client(engine=engine)
    for fields in ({}, {"max_tokens": 0, "echo": True}, {"prompt": [[97] * 10, [97] * 400_000]}):
        body = completion(**{"prompt": [97] * 400_000, **fields})
        check(await client.post("/v1/completions", json=body), 400, "context_length_exceeded")
