import json

import httpx
import pytest

from benchmarks.methods import parse_method
from benchmarks.prompts import Prompt
from benchmarks.solvers import EngineSolver, RewardSpec, ServerSolver, SolverError
from smc_decode.potentials.catalogue import RewardCatalogue
from tests.benchmarks.toy import RIGHT, engine

REPLY = {
    "choices": [{"text": "    return 1\n", "finish_reason": "stop", "weight": 0.5, "reward": 1.0}],
    "usage": {"completion_tokens": 7, "smc": {"sampled": 60, "rollout": 20, "mh": 4, "reward_calls": 3}},
    "smc": {"log_z": -1.5, "ess": [3.0], "resampled": [True], "acceptance_rate": 0.5, "blocks": 1},
}


def server(handler):
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url="http://test/v1/")
    return ServerSolver("http://test/v1", client=client)


async def solve(solver, method="smc:alpha=4", reward=None, messages=None):
    prompt = Prompt("def f():\n", messages, ("\ndef ",))
    return await solver.solve(prompt, parse_method(method, 4), reward, seed=3, max_tokens=50, extractor="code")


async def test_a_server_is_told_preset_fields_reward_and_seed():
    asked = []

    def handler(request):
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "tiny"}]})
        asked.append((request.url.path, json.loads(request.content)))
        return httpx.Response(200, json=REPLY)

    outcome = await solve(server(handler), reward=RewardSpec("prompt_examples", {"entry_point": "f"}))
    path, body = asked[0]
    assert path == "/v1/completions"
    assert body["model"] == "tiny"
    assert (body["seed"], body["max_tokens"], body["stop"]) == (3, 50, ["\ndef "])
    assert body["smc"] == {
        "preset": "smc", "n_particles": 4, "alpha": 4,
        "reward": {"name": "prompt_examples", "params": {"entry_point": "f"}},
    }  # fmt: skip
    assert outcome.answers[0].text == "    return 1\n"
    assert (outcome.account.drawn, outcome.account.kept, outcome.account.dropped) == (84, 7, 77)
    assert outcome.numbers["log_z"] == -1.5


async def test_all_particles_dead_is_an_unsolved_problem_and_other_errors_end_the_run():
    error = {"error": {"message": "dead", "code": "all_particles_dead"}}
    models = {"data": [{"id": "tiny"}]}
    solver = server(
        lambda r: httpx.Response(200, json=models) if r.method == "GET" else httpx.Response(422, json=error)
    )
    outcome = await solve(solver)
    assert outcome.chosen is None
    assert outcome.failure == "dead"
    with pytest.raises(SolverError, match="503"):
        await solve(server(lambda request: httpx.Response(503, text="busy")))


async def test_an_engine_gives_the_whole_population_and_every_selection_rule():
    solver = EngineSolver(engine(), RewardCatalogue.default())
    outcome = await solve(solver, "best-of-n", RewardSpec("regex", {"pattern": r"\s*return x \+ 1\n"}))
    await solver.close()
    assert len(outcome.answers) == 4
    assert outcome.answers[outcome.chosen].reward == max(answer.reward for answer in outcome.answers)
    assert all(sum(shares) == pytest.approx(1.0) for shares in outcome.rules.values())
    rewards = [answer.reward == 1.0 for answer in outcome.answers]
    assert rewards == [answer.text == RIGHT for answer in outcome.answers]


async def test_a_preset_without_reward_gets_none():
    solver = EngineSolver(engine(), None)
    outcome = await solve(solver, "base", RewardSpec("regex", {"pattern": "x"}))
    assert outcome.answers[0].reward is None
