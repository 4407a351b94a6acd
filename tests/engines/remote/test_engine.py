"""The remote engine in front of fake vLLM servers: what it draws, what it refuses, and what it lives through."""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import ValidationError
from starlette.responses import JSONResponse, PlainTextResponse, Response

from smc_decode import sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import Continuation, Engine, EngineError, EngineRequestError, Extend, Shaping
from smc_decode.engines.remote.engine import RemoteEngine, RemoteSettings
from smc_decode.testing import check_engine
from tests.engines.remote.fake_vllm import FakeVLLM, Fleet
from tests.enumeration import MODELS, mod_logits
from tests.harness import config_of, potential_of

VOCAB = 8
PROMPT = [1]


def server(**options: Any) -> FakeVLLM:
    return FakeVLLM(mod_logits(VOCAB), VOCAB, **options)


async def draw(engine: Engine, requests: Sequence[Extend]) -> list[Continuation]:
    drawn: dict[int, Continuation] = {}
    async for index, continuation in engine.extend(requests):
        drawn[index] = continuation
    return [drawn[i] for i in range(len(requests))]


async def population(engine: Engine, size: int, prompt: Sequence[int] = PROMPT) -> list[Any]:
    root = await engine.open(prompt)
    return [await engine.fork(root) for _ in range(size)]


# ---- the sampler over it --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "weighs", "runs", "settings"),
    [
        ("tempered-eos-product", False, 150, {}),
        ("powered-eos-product", False, 150, {"proposal_temperature": 1.0}),
        ("tempered-terminal-01", False, 100, {"lookahead": {"rollouts": 2}}),
        ("powered-no-eos-psi-1", False, 80, {"proposal_temperature": 1.0, "rejuvenation": {"steps": 1}}),
        ("powered-telescoping-uneven", True, 150, {}),
        ("tempered-tau-unmatched", True, 150, {}),
        ("powered-top-k", True, 150, {}),
        ("tempered-top-k-unmatched", True, 150, {}),
    ],
)
async def test_runs_over_http_give_the_enumerated_answer(
    name: str, weighs: bool, runs: int, settings: dict[str, Any]
) -> None:
    model = MODELS[name]
    fake = FakeVLLM(model.logprobs, model.vocab_size, model.eos, weighs=weighs)
    engine = await Fleet(fake, bundle=True).engine()
    config, potential = config_of(model, **settings), potential_of(model)
    ratios = np.zeros(runs)
    masses: dict[tuple[int, ...], float] = defaultdict(float)
    for seed in range(runs):
        result = await sample(engine, PROMPT, potential, config, seed=seed)
        ratios[seed] = math.exp(result.log_z - model.log_z)
        for particle in result.particles:
            masses[particle.token_ids] += ratios[seed] * particle.weight / runs
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / math.sqrt(runs)
    assert 0.5 * sum(abs(masses[x] - p) for x, p in model.posterior.items()) < 0.25
    assert engine.counters.posts == len(fake.drawn) < engine.counters.requests
    await engine.shutdown()


# ---- the contract ---------------------------------------------------------------------------------------------


async def test_in_front_of_servers_that_weigh_it_keeps_to_the_contract() -> None:
    report = await check_engine(await Fleet(server(weighs=True)).engine(), PROMPT)
    assert set(report.left_out) == {"own proposal", "excluded"}


async def test_in_front_of_plain_servers_what_they_cannot_tell_is_left_out_of_the_contract() -> None:
    report = await check_engine(await Fleet(server(), server()).engine(), PROMPT)
    assert set(report.left_out) == {"own proposal", "excluded", "temperature", "log z"}
    assert "does not tell proposal log-probabilities" in report.left_out["temperature"]


# ---- drawing --------------------------------------------------------------------------------------------------


async def test_at_temperature_one_log_q_is_log_p() -> None:
    engine = await Fleet(server()).engine()
    sequences = await population(engine, 3)
    for drawn in await draw(engine, [Extend(s, 5, seed=i, alpha=1.0) for i, s in enumerate(sequences)]):
        assert drawn.proposal_logprobs == drawn.logprobs
        assert drawn.log_z == [0.0] * len(drawn.token_ids)
    again = await engine.score([*PROMPT, *sequences[0].token_ids], 1)
    first = await draw(engine, [Extend(await engine.open(PROMPT), 5, seed=0)])
    assert [s.logprob for s in again] == pytest.approx(first[0].logprobs)


async def test_tokens_are_appended_and_forks_and_rewinds_are_copies() -> None:
    fake = server(eos=None)
    engine = await Fleet(fake).engine()
    (parent,) = await population(engine, 1)
    await draw(engine, [Extend(parent, 4)])
    child = await engine.fork(parent)
    await engine.rewind(child, 2)
    await draw(engine, [Extend(child, 3, seed=5)])
    assert len(parent.token_ids) == 4
    assert child.token_ids[:2] == parent.token_ids[:2]
    assert fake.drawn[-1]["prompt"] == [*PROMPT, *parent.token_ids[:2]]
    await engine.close(child)
    await engine.close(child)


async def test_seeds_reach_the_server_and_repeat_a_draw() -> None:
    fake = server()
    engine = await Fleet(fake).engine()

    async def run(offset: int) -> list[list[int]]:
        sequences = await population(engine, 4)
        drawn = await draw(engine, [Extend(s, 6, seed=offset + i) for i, s in enumerate(sequences)])
        return [c.token_ids for c in drawn]

    assert await run(2**63 + 3) == await run(2**63 + 3)
    assert sorted(body["seed"] for body in fake.drawn[:4]) == [3, 4, 5, 6]


async def test_server_defaults_do_not_shape_the_draw() -> None:
    fake = server()
    engine = await Fleet(fake).engine()
    await draw(engine, [Extend(await engine.open(PROMPT), 2)])
    (body,) = fake.drawn
    neutral = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    assert neutral.items() <= body.items()


async def test_eos_and_stop_tokens_end_an_answer_and_are_part_of_it() -> None:
    engine = await Fleet(server(eos=0)).engine()
    sequences = await population(engine, 3)
    ended, stopped, ignoring = await draw(
        engine,
        [
            Extend(sequences[0], 4, logprobs=False, shaping=Shaping(logit_bias={0: 100.0})),
            Extend(sequences[1], 4, logprobs=False, stop_token_ids=(3,), shaping=Shaping(logit_bias={3: 100.0})),
            Extend(sequences[2], 4, logprobs=False, shaping=Shaping(logit_bias={0: 100.0}, ignore_eos=True)),
        ],
    )
    assert (ended.finish_reason, ended.token_ids) == ("eos", [0])
    assert (stopped.finish_reason, stopped.token_ids) == ("stop", [3])
    assert (ignoring.finish_reason, ignoring.token_ids) == ("length", [0] * 4)


async def test_a_token_that_only_the_server_knows_to_end_answers_ends_them() -> None:
    engine = await Fleet(server(eos=0), eos_token_ids=()).engine()
    sequence = await engine.open(PROMPT)
    (drawn,) = await draw(engine, [Extend(sequence, 4, logprobs=False, shaping=Shaping(logit_bias={0: 100.0}))])
    assert (drawn.finish_reason, drawn.token_ids) == ("eos", [0])


async def test_min_tokens_counts_over_blocks() -> None:
    fake = server(eos=0)
    engine = await Fleet(fake).engine()
    (sequence,) = await population(engine, 1)
    for _ in range(3):
        await draw(engine, [Extend(sequence, 2, logprobs=False, shaping=Shaping(min_tokens=5))])
    assert [body["min_tokens"] for body in fake.drawn] == [2, 2, 1]
    assert 0 not in sequence.token_ids[:5]


async def test_greedy_drawing_takes_the_likeliest_token() -> None:
    engine = await Fleet(server(eos=None)).engine()
    (drawn,) = await draw(engine, [Extend(await engine.open(PROMPT), 3, temperature=0.0)])
    scores = await engine.score([*PROMPT, *drawn.token_ids], 1, top_logprobs=1)
    assert all(score.top == {score.token_id: score.logprob} for score in scores)
    assert drawn.proposal_logprobs == [0.0] * 3


async def test_scores_are_the_tables_own() -> None:
    logits = mod_logits(VOCAB)
    table = TableEngine(lambda tokens: logits(tokens[1:]), VOCAB, sees_prompt=True)
    engine = await Fleet(server()).engine()
    ids = [1, 5, 2, 2, 7]
    for start in range(len(ids) + 1):
        ours, theirs = await engine.score(ids, start, top_logprobs=3), await table.score(ids, start, top_logprobs=3)
        assert [s.token_id for s in ours] == [s.token_id for s in theirs]
        assert [s.logprob for s in ours] == pytest.approx([s.logprob for s in theirs])
        assert [sorted(s.top.values()) for s in ours] == [pytest.approx(sorted(s.top.values())) for s in theirs]


async def test_impossible_tokens_score_minus_infinity() -> None:
    def law(tokens: tuple[int, ...]) -> np.ndarray:
        return np.where(np.arange(VOCAB) == 3, -np.inf, mod_logits(VOCAB)(tokens))

    engine = await Fleet(FakeVLLM(law, VOCAB)).engine()
    assert (await engine.score([1, 3], 1))[0].logprob == -math.inf


@pytest.mark.parametrize("weighs", [False, True])
async def test_labels_of_verifiers_get_their_log_probabilities(weighs: bool) -> None:
    fake = server(weighs=weighs)
    engine = await Fleet(fake).engine()
    rows = await engine.label_logprobs([[1, 2], [1, 5, 5]], [6, 2])
    for ids, row in zip([[1, 2], [1, 5, 5]], rows, strict=True):
        for label in (6, 2):
            assert row[label] == pytest.approx((await engine.score([*ids, label], len(ids)))[0].logprob)


async def test_a_server_with_the_logits_processor_tells_log_q_and_log_z() -> None:
    fake = server(weighs=True, eos=None)
    engine = await Fleet(fake).engine()
    logits = mod_logits(VOCAB)
    table = TableEngine(lambda tokens: logits(tokens[1:]), VOCAB, sees_prompt=True)
    assert engine.info.exact_log_z
    shaping = Shaping(top_k=4)
    request = Extend(await engine.open(PROMPT), 3, temperature=0.7, alpha=2.0, shaping=shaping, seed=1)
    (drawn,) = await draw(engine, [request])
    assert fake.drawn[0]["vllm_xargs"] == {"smc_columns": "qz", "smc_alpha": 2.0}
    law = table._law((*PROMPT, *drawn.token_ids[:2]), 0.7, shaping)
    assert drawn.proposal_logprobs[2] == pytest.approx(law.log_q[drawn.token_ids[2]])
    assert drawn.log_z[2] == pytest.approx(law.log_z(2.0))


async def test_log_z_at_one_over_alpha_is_worked_out_here() -> None:
    fake = server(weighs=True)
    engine = await Fleet(fake).engine()
    (drawn,) = await draw(engine, [Extend(await engine.open(PROMPT), 3, temperature=0.5, alpha=2.0)])
    assert fake.drawn[0]["vllm_xargs"] == {"smc_columns": "q"}
    assert drawn.log_z == [2 * p - q for p, q in zip(drawn.logprobs, drawn.proposal_logprobs, strict=True)]


async def test_log_q_counts_only_when_all_replicas_tell_it() -> None:
    assert not (await Fleet(server(weighs=True), server()).engine()).info.exact_log_z
    assert (await Fleet(server(weighs=True), server(weighs=True)).engine()).info.exact_log_z


@pytest.mark.parametrize("value", [None, "-1", True, -9999.0, 0.5, math.nan])
async def test_a_log_q_that_is_none_is_an_engine_error(value: Any) -> None:
    fake = server(weighs=True)
    engine = await Fleet(fake).engine()
    body = {"token_ids": [1], "finish_reason": "length"}
    body |= {"logprobs": {"token_logprobs": [-1.0], "top_logprobs": [{"token_id:1": -1.0, "token_id:0": value}]}}
    fake.tamper = lambda reply: Response(json.dumps({"choices": [body]}))
    with pytest.raises(EngineError, match="http://one"):
        await draw(engine, [Extend(await engine.open(PROMPT), 1, temperature=0.5)])


# ---- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": 0.5}, "proposal log-probabilities at the temperature 0.5"),
        ({"alpha": 2.0}, "log z"),
        ({"shaping": Shaping(top_k=3)}, "of a shaped proposal"),
        ({"shaping": Shaping(logit_bias={1: 2.0})}, "of a shaped proposal"),
        ({"shaping": Shaping(presence_penalty=0.5), "logprobs": False}, "repetition_penalty"),
        ({"shaping": Shaping(frequency_penalty=0.5), "logprobs": False}, "repetition_penalty"),
        ({"shaping": Shaping(grammar={"regex": "a+"}), "logprobs": False}, "engine 'vllm'"),
        ({"temperature": 0.001, "logprobs": False}, "from 0.01 to 2"),
        ({"temperature": 2.5, "logprobs": False}, "from 0.01 to 2"),
        ({"shaping": Shaping(top_p=0.0), "logprobs": False}, "top_p"),
        ({"shaping": Shaping(logit_bias={99: 2.0}), "logprobs": False}, "logit_bias"),
        ({"max_new_tokens": 5000}, "context of 4095"),
        ({"stop_token_ids": (99,)}, "stop_token_ids"),
    ],
)
async def test_what_cannot_be_exact_is_refused_before_anything_is_sent(options: dict[str, Any], said: str) -> None:
    fake = server()
    engine = await Fleet(fake).engine()
    sequence = await engine.open(PROMPT)
    with pytest.raises(EngineRequestError, match=said):
        await draw(engine, [Extend(**({"sequence": sequence, "max_new_tokens": 2} | options))])
    assert fake.seen == []


async def test_a_matched_target_needs_no_log_probabilities_and_may_be_shaped() -> None:
    fake = server()
    engine = await Fleet(fake).engine()
    shaping = Shaping(top_k=3, top_p=0.9, min_p=0.01, repetition_penalty=1.1, logit_bias={2: 1.5})
    request = Extend(await engine.open(PROMPT), 3, temperature=0.25, logprobs=False, shaping=shaping)
    (drawn,) = await draw(engine, [request])
    assert drawn.logprobs == drawn.proposal_logprobs == []
    assert "logprobs" not in fake.drawn[0]
    wanted = {"top_k": 3, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.1, "logit_bias": {"2": 1.5}}
    assert wanted.items() <= fake.drawn[0].items()


async def test_a_reward_may_read_log_p_where_log_q_is_not_needed() -> None:
    engine = await Fleet(server()).engine()
    request = Extend(await engine.open(PROMPT), 3, temperature=0.25, proposal_logprobs=False)
    (drawn,) = await draw(engine, [request])
    assert len(drawn.logprobs) == len(drawn.token_ids)
    assert drawn.proposal_logprobs == []


async def test_what_the_server_refuses_is_the_requests_fault() -> None:
    fake = server()
    engine = await Fleet(fake, vocab_size=VOCAB + 1).engine()
    with pytest.raises(EngineRequestError, match="out of vocabulary"):
        await draw(engine, [Extend(await engine.open([1, VOCAB]), 2)])


async def test_a_server_that_reports_processed_log_probabilities_is_refused() -> None:
    with pytest.raises(EngineError, match="--logprobs-mode raw_logprobs"):
        await Fleet(server(mode="processed_logprobs")).engine()


async def test_a_server_that_allows_fewer_log_probabilities_is_refused() -> None:
    fake = server()
    fake.max_logprobs = 5
    with pytest.raises(EngineError, match=r"engine\.max_logprobs"):
        await Fleet(fake).engine()
    assert (await Fleet(fake, max_logprobs=5).engine()).info.max_logprobs == 5


async def test_another_tokenizer_is_refused() -> None:
    fake, other = server(), server()
    other.tokenizer._size = 7
    with pytest.raises(EngineError, match=r"engine\.tokenizer"):
        await Fleet(fake, other).engine()


async def test_a_tokenizer_that_is_only_where_the_server_is_is_asked_for() -> None:
    fleet = Fleet(server())
    with pytest.raises(EngineError, match=r"/models/fake.*Set engine\.tokenizer"):
        await RemoteEngine.create(fleet.settings, transport_of=fleet.networks.__getitem__)


async def test_a_model_that_is_not_served_is_refused_with_those_that_are() -> None:
    with pytest.raises(EngineError, match="it serves: fake"):
        await Fleet(server(), model="gemma").engine()


async def test_the_api_key_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = server()
    fake.key = "sesame"
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with pytest.raises(EngineError, match="api_key_env"):
        await Fleet(fake).engine()
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    await Fleet(fake).engine()
    monkeypatch.setenv("THE_KEY", "sesame")
    engine = await Fleet(fake, api_key_env="THE_KEY").engine()
    await draw(engine, [Extend(await engine.open(PROMPT), 2)])
    with pytest.raises(ValidationError, match="OTHER_KEY is not set"):
        RemoteSettings(urls=["http://one"], api_key_env="OTHER_KEY")


@pytest.mark.parametrize(
    "urls", [[], ["one:8000"], ["ftp://one"], ["http://u:p@one"], ["http://one", "http://one/v1/"], ["http://one?a=b"]]
)
def test_addresses_that_are_none_are_refused(urls: list[str]) -> None:
    with pytest.raises(ValidationError):
        RemoteSettings(urls=urls)


def test_an_address_may_be_a_clients_base_url() -> None:
    assert RemoteSettings(urls="http://one:8000/v1/").urls == ("http://one:8000",)


# ---- replies that are not vLLM's ------------------------------------------------------------------------------


def _replaced(**fields: Any) -> Any:
    def tamper(reply: dict[str, Any]) -> dict[str, Any]:
        reply["choices"][0].update(fields)
        return reply

    return tamper


GARBAGE = {
    "no object": lambda reply: [1, 2],
    "no choices": lambda reply: {},
    "two choices": lambda reply: {"choices": reply["choices"] * 2},
    "no ids": _replaced(token_ids=None),
    "ids that are no numbers": _replaced(token_ids=["1", "2", "3"]),
    "ids that are truths": _replaced(token_ids=[True, True, True]),
    "ids outside of the vocabulary": _replaced(token_ids=[1, 99, 2]),
    "too many ids": _replaced(token_ids=[1] * 4),
    "no tokens": _replaced(token_ids=[], finish_reason="stop"),
    "fewer tokens than asked for": _replaced(token_ids=[1]),
    "an end in the middle": _replaced(token_ids=[1, 0, 1]),
    "aborted": _replaced(finish_reason="abort"),
    "no log-probabilities": _replaced(logprobs=None),
    "too few log-probabilities": _replaced(logprobs={"token_logprobs": [-1.0], "top_logprobs": [{}]}),
    "positive": _replaced(logprobs={"token_logprobs": [0.5, -1.0, -1.0], "top_logprobs": [{}] * 3}),
    "impossible": _replaced(logprobs={"token_logprobs": [-9999.0, -1.0, -1.0], "top_logprobs": [{}] * 3}),
    "text": _replaced(logprobs={"token_logprobs": ["-1", -1.0, -1.0], "top_logprobs": [{}] * 3}),
    "not a number": lambda reply: Response(
        b'{"choices": [{"token_ids": [1, 1, 1], "finish_reason": "length", "logprobs": {"token_logprobs":'
        b' [NaN, -1, -1], "top_logprobs": [{}, {}, {}]}}]}'
    ),
    "no JSON": lambda reply: PlainTextResponse("<html>"),
    "nested without end": lambda reply: PlainTextResponse("[" * 200_000),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_a_reply_of_another_form_is_an_engine_error_that_names_the_server(name: str) -> None:
    fake = server(eos=None)
    fleet = Fleet(fake, eos_token_ids=(0,))
    engine = await fleet.engine()
    fake.tamper = GARBAGE[name]
    with pytest.raises(EngineError, match="http://one"):
        await draw(engine, [Extend(await engine.open(PROMPT), 3)])


async def test_a_reply_beyond_the_limit_is_not_read() -> None:
    fake = server()
    engine = await Fleet(fake, max_answer_bytes=1 << 16).engine()
    fake.tamper = lambda reply: PlainTextResponse(" " * (1 << 17))
    with pytest.raises(EngineError, match="max_answer_bytes"):
        await draw(engine, [Extend(await engine.open(PROMPT), 3)])


@pytest.mark.parametrize(
    "rows", [None, [None], [None, {"99": {"logprob": -1}}], [None, {"2": -1.0}], [None, {"3": {"logprob": -1.0}}]]
)
async def test_scores_of_other_tokens_are_an_engine_error(rows: Any) -> None:
    fake = server()
    engine = await Fleet(fake).engine()
    fake.tamper = _replaced(prompt_logprobs=rows)
    with pytest.raises(EngineError, match="http://one"):
        await engine.score([1, 2], 1)


# ---- faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        httpx.RemoteProtocolError("server disconnected"),
        httpx.ReadError("reset"),
        JSONResponse({"error": {"message": "queue is full"}}, 503),
        Response(status_code=502),
        Response(status_code=504),
        Response(status_code=429, headers={"retry-after": "0"}),
    ],
)
async def test_a_call_without_an_answer_is_made_again_with_the_same_seed(fault: Any) -> None:
    fake = server()
    engine = await Fleet(fake).engine()
    fake.faults = [fault, fault]
    await draw(engine, [Extend(await engine.open(PROMPT), 3, seed=4)])
    assert [body["seed"] for body in fake.drawn] == [4, 4, 4]
    assert engine.counters.retried == 2


async def test_tries_end() -> None:
    fake = server()
    engine = await Fleet(fake, retries=2).engine()
    fake.faults = [Response(status_code=502)] * 9
    with pytest.raises(EngineError, match="no answer in 3 tries"):
        await draw(engine, [Extend(await engine.open(PROMPT), 3)])


async def test_a_server_that_takes_too_long_is_not_asked_again() -> None:
    fake = server()
    engine = await Fleet(fake, timeout=0.05).engine()
    fake.gate = asyncio.Event()
    with pytest.raises(EngineError, match=r"engine\.timeout"):
        await draw(engine, [Extend(await engine.open(PROMPT), 3)])
    assert len(fake.drawn) == 1
    assert fake.working == 0


async def test_a_request_is_pinned_and_the_next_goes_to_the_replica_with_less_to_do() -> None:
    one, two = server(), server()
    engine = await Fleet(one, two).engine()
    first, second = await population(engine, 5), await population(engine, 3)
    for seed in range(3):
        await draw(engine, [Extend(s, 1, seed=seed) for s in first])
        await draw(engine, [Extend(s, 1, seed=seed) for s in second])
    assert {len(one.drawn), len(two.drawn)} == {15, 9}
    busy = one if len(one.drawn) == 15 else two
    third = await population(engine, 1)
    await draw(engine, [Extend(third[0], 1)])
    assert len(busy.drawn) == 15
    del first
    fourth = await population(engine, 1)
    await draw(engine, [Extend(fourth[0], 1)])
    assert len(busy.drawn) == 16


async def test_equal_replicas_are_chosen_by_the_prompts_beginning() -> None:
    fleet = Fleet(server(), server())
    engine = await fleet.engine()
    for _ in range(4):
        await draw(engine, [Extend(await engine.open([1, 2, 3]), 1)])
    assert {len(each.drawn) for each in fleet.servers} == {0, 4}
    for token in range(VOCAB):
        await draw(engine, [Extend(await engine.open([1, token]), 1)])
    assert all(len(each.drawn) > 0 for each in fleet.servers)


async def test_a_replica_that_dies_is_left_and_comes_back_when_it_passes_the_checks() -> None:
    fleet = Fleet(server(), server())
    engine = await fleet.engine()
    sequences = await population(engine, 4)
    await draw(engine, [Extend(s, 1, seed=1) for s in sequences])
    name, dead, other = ("one", *fleet.servers) if fleet.servers[0].drawn else ("two", *fleet.servers[::-1])
    fleet.network(name).cut = True
    await draw(engine, [Extend(s, 1, seed=2) for s in sequences])
    assert len(other.drawn) == 4
    assert sorted(up for _, up in engine.replicas) == [False, True]
    await engine.health()
    # It comes back as a server of another kind first, which is not let in.
    dead.mode = "processed_logprobs"
    dead.forget()
    fleet.network(name).cut = False
    while len(dead.seen) < 3:
        await asyncio.sleep(0.001)
    assert not all(up for _, up in engine.replicas)
    dead.mode = "raw_logprobs"
    while not all(up for _, up in engine.replicas):
        await asyncio.sleep(0.001)
    await engine.shutdown()


async def test_a_replica_that_dies_in_the_middle_of_a_call_loses_nothing() -> None:
    fleet = Fleet(server(eos=None), server(eos=None))
    engine = await fleet.engine()
    for each in fleet.servers:
        each.gate = asyncio.Event()
    sequences = await population(engine, 4)
    run = asyncio.create_task(draw(engine, [Extend(s, 3, seed=i) for i, s in enumerate(sequences)]))
    while sum(each.working for each in fleet.servers) < 4:
        await asyncio.sleep(0)
    name, dead, other = ("one", *fleet.servers) if fleet.servers[0].working else ("two", *fleet.servers[::-1])
    dead.tamper = lambda reply: Response(status_code=500)
    dead.up = False
    for each in fleet.servers:
        each.gate.set()
    drawn = await run
    assert [len(c.token_ids) for c in drawn] == [3] * 4
    assert sorted(body["seed"] for body in other.drawn) == [0, 1, 2, 3]
    fleet.network(name).cut = True
    await engine.shutdown()


async def test_with_all_replicas_gone_runs_and_health_fail_at_once() -> None:
    fleet = Fleet(server(), server(), probe_interval=60)
    engine = await fleet.engine()
    sequence = await engine.open(PROMPT)
    for network in fleet.networks.values():
        network.cut = True
    with pytest.raises(EngineError, match="no vLLM server answers"):
        await draw(engine, [Extend(sequence, 2)])
    with pytest.raises(EngineError, match="http://one: ConnectError"):
        await engine.health()
    await engine.shutdown()


async def test_a_replica_that_is_down_at_the_start_is_left_out_until_it_is_up() -> None:
    fleet = Fleet(server(), server())
    fleet.network("two").cut = True
    engine = await fleet.engine()
    assert engine.replicas == [("http://one", True), ("http://two", False)]
    fleet.network("two").cut = False
    while not all(up for _, up in engine.replicas):
        await asyncio.sleep(0.001)
    await engine.shutdown()


async def test_no_server_at_the_start_is_an_engine_error() -> None:
    fleet = Fleet(server())
    fleet.network("one").cut = True
    with pytest.raises(EngineError, match="no vLLM server answers"):
        await fleet.engine()


@pytest.mark.parametrize("closing", ["cancel", "aclose"])
async def test_a_reader_that_goes_away_aborts_what_has_not_finished(closing: str) -> None:
    fake = server(eos=None)
    engine = await Fleet(fake).engine()
    sequences = await population(engine, 3)
    requests = [Extend(s, 2, seed=i) for i, s in enumerate(sequences)]
    if closing == "aclose":
        async with aclosing(engine.extend(requests)) as stream:
            first = asyncio.ensure_future(anext(stream))
            index, _ = await first
            fake.gate = asyncio.Event()
            assert len(sequences[index].token_ids) == 2
    else:
        fake.gate = asyncio.Event()
        run = asyncio.create_task(draw(engine, requests))
        while fake.working < 3:
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert engine.counters.aborted == 3
        assert all(s.token_ids == [] for s in sequences)
    assert fake.working == 0


async def test_one_that_fails_ends_the_others() -> None:
    fake = server()
    engine = await Fleet(fake, retries=0).engine()
    sequences = await population(engine, 3)
    fake.faults = [Response(status_code=418)]
    with pytest.raises(EngineError, match="status 418"):
        await draw(engine, [Extend(s, 2) for s in sequences])
    assert fake.working == 0


async def test_the_engine_is_an_engine_and_shuts_down_twice() -> None:
    engine = await Fleet(server()).engine()
    protocol: Engine = engine
    assert isinstance(engine, RemoteEngine)
    assert protocol.info.name == "remote"
    assert protocol.info.max_model_len == 4095
    sequence = await engine.open(PROMPT)
    with pytest.raises(ValueError, match="fork it first"):
        await draw(engine, [Extend(sequence, 1), Extend(sequence, 1)])
    await engine.shutdown()
    await engine.shutdown()
    with pytest.raises(EngineError, match="shut down"):
        await draw(engine, [Extend(sequence, 1)])
