"""What /v1/completions does with each field, end to end on a model of bytes."""

from __future__ import annotations

import math

import pytest

from tests.server.conftest import Client, MakeClient, completion
from tests.server.toy import END, SlowEngine, script, toy_engine


async def post(client: Client, **fields: object) -> dict:
    reply = await client.post("/v1/completions", json=completion(**fields))
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_an_answer_has_the_shape_of_openais(client: Client) -> None:
    reply = await post(client)
    assert reply["object"] == "text_completion"
    assert reply["id"].startswith("cmpl-")
    (choice,) = reply["choices"]
    assert choice["index"] == 0
    assert choice["finish_reason"] in ("stop", "length")
    assert choice["logprobs"] is None
    assert choice["weight"] == 1.0
    usage = reply["usage"]
    assert usage["prompt_tokens"] == 3
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert set(usage["smc"]) == {
        "sampled",
        "rollout",
        "mh",
        "reused",
        "drafted",
        "computed_rows",
        "prompt_computed",
        "prompt_cached",
        "reward_calls",
        "reward_cached",
    }
    assert {"log_z", "ess", "resampled", "acceptance_rate", "blocks", "preset", "trace_id"} <= set(reply["smc"])


async def test_the_same_seed_gives_the_same_answer(client: Client) -> None:
    one, two, other = [(await post(client, seed=seed))["choices"][0]["text"] for seed in (5, 5, 6)]
    assert one == two
    assert one != other


async def test_the_seed_that_was_drawn_is_told_and_repeats_the_run(client: Client) -> None:
    first = await post(client, seed=None)
    again = await post(client, seed=first["smc"]["seed"])
    assert again["choices"][0]["text"] == first["choices"][0]["text"]


async def test_negative_seeds_are_seeds(client: Client) -> None:
    assert (await post(client, seed=-3))["choices"] == (await post(client, seed=-3))["choices"]


async def test_n_draws_come_from_one_population(client: Client) -> None:
    reply = await post(client, n=5, smc={"preset": "smc-reward", "n_particles": 16})
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2, 3, 4]
    assert reply["smc"]["n_particles"] == 16


async def test_n_asks_for_as_many_particles_where_the_preset_has_fewer(client: Client) -> None:
    reply = await post(client, n=4)
    assert reply["smc"]["n_particles"] == 4
    assert len({choice["text"] for choice in reply["choices"]}) > 1


async def test_best_of_is_the_least_number_of_particles(client: Client) -> None:
    assert (await post(client, best_of=6))["smc"]["n_particles"] == 6


async def test_particles_set_by_the_request_are_kept(client: Client) -> None:
    assert (await post(client, n=3, best_of=8, smc={"n_particles": 2}))["smc"]["n_particles"] == 2


async def test_a_list_of_prompts_has_its_choices_prompt_by_prompt(client: Client) -> None:
    alone = [await post(client, prompt=prompt, n=2) for prompt in ("abc", "é")]
    both = await post(client, prompt=["abc", "é"], n=2)
    assert [choice["index"] for choice in both["choices"]] == [0, 1, 2, 3]
    assert [c["text"] for c in both["choices"]] == [c["text"] for reply in alone for c in reply["choices"]]
    assert both["usage"]["prompt_tokens"] == 5
    assert len(both["smc"]["runs"]) == 2


async def test_token_ids_are_prompts(client: Client) -> None:
    text, ids = await post(client, prompt="abc"), await post(client, prompt=[97, 98, 99])
    assert text["choices"][0]["text"] == ids["choices"][0]["text"]
    lists = await post(client, prompt=[[97, 98, 99], [97]])
    assert len(lists["choices"]) == 2


async def test_stop_strings_are_cut_away(client: Client) -> None:
    free = await post(client, seed=11, max_tokens=60)
    text = free["choices"][0]["text"]
    stop = text[4:6]
    cut = await post(client, seed=11, max_tokens=60, stop=stop)
    assert cut["choices"][0]["text"] == text[: text.index(stop)]
    assert cut["choices"][0]["finish_reason"] == "stop"


async def test_a_stop_string_may_span_blocks(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("one two three"), sees_prompt=False))
    reply = await post(client, stop=["two"], smc={"preset": "smc-reward", "n_particles": 2, "block_size": 5})
    assert reply["choices"][0]["text"] == "one "


async def test_max_tokens_ends_with_length(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("abcdefgh"), sees_prompt=False))
    choice = (await post(client, max_tokens=3))["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("abc", "length")
    choice = (await post(client, max_tokens=30))["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("abcdefgh", "stop")


async def test_without_max_tokens_the_servers_default_holds(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("a" * 400), sees_prompt=False), default_max_tokens=10)
    assert (await post(client, max_tokens=None))["usage"]["completion_tokens"] == 10


async def test_max_tokens_beyond_the_context_are_lowered_with_a_warning(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("a" * 400), sees_prompt=False, max_model_len=20))
    reply = await post(client, max_tokens=50)
    assert reply["usage"]["completion_tokens"] == 17
    assert "lowered to 17" in reply["smc"]["warnings"][0]


async def test_temperature_zero_is_greedy_with_one_particle(client: Client) -> None:
    greedy = [await post(client, temperature=0, seed=seed, smc={"preset": None}) for seed in (1, 2)]
    assert greedy[0]["choices"][0]["text"] == greedy[1]["choices"][0]["text"]
    assert greedy[0]["smc"]["n_particles"] == 1


async def test_temperature_zero_with_many_particles_is_refused(client: Client) -> None:
    reply = await client.post("/v1/completions", json=completion(temperature=0, smc={"n_particles": 4}))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "smc.n_particles"


async def test_temperature_sets_alpha_unless_smc_does(client: Client) -> None:
    trace = {"preset": "smc-reward", "trace": True}
    reply = await post(client, temperature=0.5, smc=trace)
    run = (await client.get(f"/v1/smc/runs/{reply['smc']['trace_id']}")).json()
    assert run["config"]["alpha"] == 2.0
    reply = await post(client, temperature=0.5, smc={**trace, "alpha": 3.0})
    run = (await client.get(f"/v1/smc/runs/{reply['smc']['trace_id']}")).json()
    assert run["config"]["alpha"] == 3.0


async def test_logprobs_are_the_base_models(client: Client) -> None:
    reply = await post(client, logprobs=2, temperature=0.5, max_tokens=12)
    logprobs = reply["choices"][0]["logprobs"]
    text = reply["choices"][0]["text"]
    assert "".join(logprobs["tokens"]) == text
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        assert text[offset:].startswith(token)
    for token, logprob, top in zip(*(logprobs[k] for k in ("tokens", "token_logprobs", "top_logprobs")), strict=True):
        assert top[token] == logprob
        assert 1 <= len(top) <= 3
        assert sum(math.exp(value) for value in top.values()) <= 1 + 1e-9


async def test_the_alternatives_contain_the_greedy_token_by_its_own_name(client: Client) -> None:
    logprobs = (await post(client, logprobs=1, temperature=0, max_tokens=10))["choices"][0]["logprobs"]
    for token, top in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True):
        assert max(top, key=top.get) == token


async def test_echo_with_no_tokens_scores_the_prompt_without_smc(make_client: MakeClient) -> None:
    engine = SlowEngine()
    client = make_client(engine)
    reply = await post(client, prompt=["abca", "ab"], echo=True, max_tokens=0, logprobs=1)
    assert engine.calls == 0
    first, second = reply["choices"]
    assert first["text"] == "abca"
    assert first["logprobs"]["tokens"] == ["a", "b", "c", "a"]
    assert first["logprobs"]["token_logprobs"][0] is None
    assert first["logprobs"]["top_logprobs"][0] is None
    assert all(value < 0 for value in first["logprobs"]["token_logprobs"][1:])
    assert first["logprobs"]["text_offset"] == [0, 1, 2, 3]
    assert second["text"] == "ab"
    assert reply["usage"] == {"prompt_tokens": 6, "completion_tokens": 0, "total_tokens": 6}


async def test_the_tokens_of_logprobs_join_to_the_text_whatever_a_character_is_made_of(client: Client) -> None:
    reply = await post(client, prompt="a é€ 🙂b", echo=True, max_tokens=0, logprobs=1)
    choice = reply["choices"][0]
    tokens, offsets = choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
    assert "".join(tokens) == choice["text"] == "a é€ 🙂b"
    assert offsets == [len("".join(tokens[:index])) for index in range(len(tokens))]
    tops = choice["logprobs"]["top_logprobs"]
    assert all(token in top for token, top in zip(tokens[1:], tops[1:], strict=True))


async def test_echo_with_tokens_has_the_prompts_logprobs_and_the_answers(client: Client) -> None:
    reply = await post(client, echo=True, max_tokens=1, logprobs=1, temperature=0)
    choice = reply["choices"][0]
    assert choice["text"].startswith("abc")
    assert len(choice["logprobs"]["tokens"]) == 4
    assert choice["logprobs"]["text_offset"] == [0, 1, 2, 3]


async def test_echo_without_logprobs_is_text_alone(client: Client) -> None:
    choice = (await post(client, echo=True))["choices"][0]
    assert choice["text"].startswith("abc")
    assert choice["logprobs"] is None


async def test_token_ids_are_returned_when_asked_for(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("abc"), sees_prompt=False))
    choice = (await post(client, prompt="é", return_token_ids=True))["choices"][0]
    assert choice["prompt_token_ids"] == [0xC3, 0xA9]
    assert choice["token_ids"] == [97, 98, 99, END]


async def test_stop_token_ids_end_the_answer(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("abcdef"), sees_prompt=False))
    choice = (await post(client, stop_token_ids=[99]))["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("abc", "stop")


async def test_truncations_shape_the_answer(client: Client) -> None:
    greedy = await post(client, temperature=0, prompt="ab")
    for fields in ({"top_k": 1}, {"top_p": 0}, {"min_p": 1.0}):
        free = await post(client, **fields, prompt="ab", seed=3)
        assert free["choices"][0]["text"][0] == greedy["choices"][0]["text"][0]


async def test_what_the_engine_cannot_do_is_refused(client: Client) -> None:
    reply = await client.post("/v1/completions", json=completion(logit_bias={"97": 5}))
    assert reply.status_code == 400
    assert "logit_bias" in reply.json()["error"]["message"]


async def test_a_client_that_knows_nothing_of_smc_is_power_sampled(client: Client) -> None:
    body = {"model": "toy", "prompt": "abc", "max_tokens": 20}
    reply = await client.post("/v1/completions", json=body)
    assert reply.status_code == 200
    assert reply.json()["smc"]["preset"] == "smc"
    assert reply.json()["smc"]["log_z"] is not None


@pytest.mark.parametrize("preset", ["base", "best-of-n", "power-smc", "smc-reward"])
async def test_presets_are_models(client: Client, preset: str) -> None:
    body = {"model": f"toy:{preset}", "prompt": "abc", "max_tokens": 12}
    reply = await client.post("/v1/completions", json=body)
    assert reply.json()["smc"]["preset"] == preset


async def test_two_different_presets_are_refused(client: Client) -> None:
    reply = await client.post("/v1/completions", json=completion(model="toy:smc", smc={"preset": "base"}))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "smc.preset"


async def test_an_operators_preset_is_offered(make_client: MakeClient) -> None:
    from server.settings import PresetTable

    client = make_client(presets={"mine": PresetTable(base="power-smc", n_particles=3)})
    reply = await client.post("/v1/completions", json={"model": "toy:mine", "prompt": "abc", "max_tokens": 9})
    assert reply.json()["smc"]["n_particles"] == 3
    listed = (await client.get("/v1/models")).json()["data"]
    assert "toy:mine" in [model["id"] for model in listed]


async def test_whole_numbers_may_be_written_with_a_point(client: Client) -> None:
    body = completion(max_tokens=4, n=2)
    plain = await client.post("/v1/completions", json=body)
    pointed = await client.post("/v1/completions", json={**body, "max_tokens": 4.0, "n": 2.0, "seed": 7.0})
    assert pointed.json()["choices"] == plain.json()["choices"]
    assert (await client.post("/v1/completions", json={**body, "max_tokens": 4.5})).status_code == 400
