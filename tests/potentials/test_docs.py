"""docs/rewards.md tells of every source and option, and its examples are taken by the catalogue."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.kinds import all_kinds
from smc_decode.potentials.options import RewardRequest, option_names
from smc_decode.testing import check_potential
from tests.potentials.answers import FakeSandbox, answer, report
from tests.potentials.models.test_reward_models import Judge

PAGE = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
EXAMPLES = [
    line
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    for line in re.sub(r",\n +", ", ", block).splitlines()
    if '"name"' in line and '"smc"' not in line
]
PYTHON = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class Brief" in block)
CONFIG = "\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize("source", sorted(all_kinds()))
def test_every_source_and_its_options_are_described(source):
    assert f"### {source}\n" in PAGE
    missing = [name for name in option_names(all_kinds()[source].options) if f"`{name}`" not in PAGE]
    missing = [name for name in missing if not re.search(rf"^{name} = ", CONFIG, re.MULTILINE)]
    assert missing == []


def test_there_is_an_example_of_every_source():
    assert len(EXAMPLES) >= len(all_kinds())


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_request_that_works(example, monkeypatch):
    monkeypatch.setenv("STYLE_KEY", "k")
    config = tomllib.loads(CONFIG)
    config["rewards"]["brief"]["function"] = "tests.potentials.own.test_entry_point:length"
    made = RewardCatalogue.from_toml(
        config, sandbox=FakeSandbox(lambda source: report(1, 1)), engine=Judge(), models={}
    )
    chosen = json.loads(example)
    prompt = "def double(x):\n    '''double(1) == 2'''\n"
    params = chosen.get("params", {})
    if chosen["name"] == "verifier":
        params = {**params, "yes": ["Yes"], "no": ["No"]}
    made.build(chosen["name"], params, reward_scale=4.0, request=RewardRequest(prompt))


async def test_the_reward_in_python_is_one_and_its_test_passes():
    page: dict = {}
    exec(PYTHON, page)
    await page["test_brief"]()
    await check_potential(page["short"])
    [evaluation] = await page["potential"].evaluate([answer("x" * 100)])
    assert evaluation.log_value == 2.0
