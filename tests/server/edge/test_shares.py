"""Keys share the processes of rewards: what one key's programs do, another key does not wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from server.edge.auth import read_keys
from server.settings import ServerSettings
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.sandbox.results import AssertionReport
from tests.server.conftest import MakeClient, completion
from tests.server.toy import VOCAB, toy_engine

TEST = "def check(candidate):\n    assert candidate(1) == 2\n"
BEGIN = "    return "


def names(tokens: tuple[int, ...]) -> np.ndarray:
    """A model that returns names of letters a-f, without an end."""
    logprobs = np.full(VOCAB, -np.inf)
    if len(tokens) < len(BEGIN):
        logprobs[ord(BEGIN[len(tokens)])] = 0.0
        return logprobs
    logprobs[ord("a") : ord("g")] = np.log(1 / 6)
    return logprobs


class OneBox:
    """A sandbox for one program at a time. The first program loops until the quick key waits for its turn."""

    max_parallel = 1

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.quick_waits = lambda: False

    async def arun_assertions(self, source: str, *args: Any, **kwargs: Any) -> AssertionReport:
        self.ran.append("loops" if "loops" in source else "quick")
        while len(self.ran) == 1 and not self.quick_waits():
            await asyncio.sleep(0)
        return AssertionReport(1.0, 1, True, (), "", 0.0)


async def test_a_key_whose_programs_loop_costs_another_key_one_turn_a_program(
    make_client: MakeClient, tmp_path: Any
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("loops K-loops\nquick K-quick\n")
    box, engine = OneBox(), toy_engine(names, sees_prompt=False)
    catalogue = RewardCatalogue.default(sandbox=box, engine=engine, allow_client_tests=True)
    box.quick_waits = lambda: catalogue.resources.sandbox_places().waiting("quick") == 4
    client = make_client(
        engine=engine, catalogue=catalogue, keys=read_keys(ServerSettings(api_key_file=keys), {}), particle_slots=64
    )

    def ask(name: str, n: int) -> Any:
        # prefixes are not run, and each answer is another program
        code = f"def f(x):\n    {name} = 1\n"
        params = {"test": TEST, "entry_point": "f", "prompt": code, "run_prefixes": False}
        smc = {"preset": "best-of-n", "n_particles": n, "reward": {"name": "unit_tests", "params": params}}
        headers = {"Authorization": f"Bearer K-{name}"}
        return client.post("/v1/completions", json=completion(smc=smc, max_tokens=24), headers=headers)

    many = asyncio.ensure_future(ask("loops", 32))
    while not box.ran and not many.done():
        await asyncio.sleep(0)
    assert not many.done(), many.result().text
    few = await ask("quick", 4)
    assert few.status_code == 200, few.text
    assert (await many).status_code == 200
    first = box.ran.index("quick")
    assert first <= 2
    assert box.ran[first : first + 7] == ["quick", "loops"] * 3 + ["quick"]
    assert box.ran.count("loops") == 32
