"""The same answer from a server as from an engine in this process."""

import httpx
import pytest

from benchmarks.methods import parse_method
from benchmarks.prompts import Prompt
from benchmarks.solvers import EngineSolver, RewardSpec, ServerSolver
from server.app import create_app
from server.settings import ServerSettings
from smc_decode.potentials.catalogue import RewardCatalogue
from tests.benchmarks.toy import engine


@pytest.mark.parametrize("method", ["best-of-n", "smc:block_size=8", "power-smc", "base"])
async def test_a_server_gives_the_answer_and_the_account_of_the_library(tmp_path, method):
    app = create_app(
        engine(), RewardCatalogue.default(), ServerSettings(served_model_name=("toy",), trace_dir=tmp_path)
    )
    transport = httpx.ASGITransport(app=app)
    there = ServerSolver("x", client=httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v1/"))
    here = EngineSolver(engine(), RewardCatalogue.default())
    reward = RewardSpec("regex", {"pattern": r"\s*return x \+ 1\n"})
    outcomes = []
    for solver in (there, here):
        outcomes.append(
            await solver.solve(
                Prompt("def f(x):", None, ("\ndef ",)), parse_method(method, 4), reward,
                seed=5, max_tokens=40, extractor="code",
            )
        )  # fmt: skip
        await solver.close()
    served, local = outcomes
    assert served.answers[0].text == local.answers[local.chosen].text
    assert served.answers[0].reward == local.answers[local.chosen].reward
    assert (served.account.drawn, served.account.rollout) == (local.account.drawn, local.account.rollout)
    # a server draws a single sample in blocks of its own
    assert served.numbers["ess"][-1] == pytest.approx(local.numbers["ess"][-1], abs=1e-3)
