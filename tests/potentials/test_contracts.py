"""Every reward source keeps the contract of a potential, by the checker that users have too."""

from __future__ import annotations

import json

import httpx
import pytest

from smc_decode.potentials import FunctionReward, RewardCatalogue, RewardPotential, RewardRequest
from smc_decode.potentials.code.prompt_examples import SyntaxAndConfidence
from smc_decode.potentials.code.unit_tests import CodeOptions, CodeTask
from smc_decode.potentials.guard import RewardGuard
from smc_decode.potentials.kinds import KINDS
from smc_decode.testing import check_potential
from smc_decode.testing.potentials import ANSWERS
from tests.potentials.models.test_reward_models import OPTIONS, Judge

PROMPT = 'def triple(x):\n    """Three times x.\n\n    >>> triple(2)\n    6\n    """\n'
SCHEMA = {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"], "additionalProperties": False}
CODE = ("    return 3 * x\n", "    if x:\n        return x\n    return 0\n", "    return (x\n", *ANSWERS[:4])
CASES: dict[str, tuple[dict, dict, tuple[str, ...]]] = {
    # the operator's options, the request's params, and answers beside those that are tried for all
    "unit_tests": ({}, {"tests": ["assert triple(2) == 6", "assert triple(0) == 0"], "entry_point": "triple"}, CODE),
    "prompt_examples": ({}, {}, CODE),
    "stdin_tests": ({}, {"cases": [{"stdin": "2\n", "stdout": "6\n"}]}, ("```python\nprint(3 * int(input()))\n```\n",)),
    "arithmetic": ({"timeout": 20}, {}, ("2 + 2 = 5, then 3 * 3 = 9 and 1 + 1 = 2 apples", *ANSWERS)),
    "confidence": ({}, {"statistic": "lowest", "window": 3}, ANSWERS),
    "self_consistency": ({}, {"extractor": "text"}, ANSWERS),
    "json_schema": ({"timeout": 20}, {"schema": SCHEMA}, ('{"a": [1], "b": 2}', '{"a": 1}', "{}", *ANSWERS)),
    "regex": ({"timeout": 5}, {"pattern": "[a-z ]+[0-9]*"}, ("ab 12", "ab!", *ANSWERS)),
    "reasoning_gym": ({"timeout": 20}, {"dataset": "chain_sum", "seed": 1}, ("<answer>-4</answer>", "-4", *ANSWERS)),
    "prm": ({"model": "steps"}, {"aggregate": "min"}, ("a 9\n\nb 5\n\nc 8", *ANSWERS)),
    "orm": ({"model": "whole"}, {"judge_prefixes": True}, ANSWERS),
    "verifier": ({"model": "judge", **OPTIONS}, {"judge_prefixes": True}, ANSWERS),
    "decisions": ({"url": "http://judge/v1", "model": "judge", "judge_prefixes": True}, {}, ANSWERS),
    "function": ({"function": f"{__name__}:shortness", "judge_prefixes": True}, {}, ANSWERS),
    "http": ({"url": "http://rewards/score", "judge_prefixes": True}, {}, ANSWERS),
    "ensemble": ({}, {"members": {"confidence": 1, "regex": 2}, "params": {"regex": {"pattern": ".*7"}}}, ANSWERS),
}


def shortness(prompt, answer, finished):
    return 1 / (1 + len(answer)), {"finished": finished}


class Models:
    """Stand-ins for reward models: what they say depends on the text alone."""

    async def classify(self, texts):
        return [[0.0, (len(text) % 11) / 10] for text in texts]

    async def classify_tokens(self, texts):
        return [[[0.0, (index % 10) / 10] for index in range(text.count("<extra_0>"))] for text in texts]


def test_there_is_a_case_for_every_kind():
    assert set(KINDS) == set(CASES)


@pytest.mark.parametrize("kind", CASES)
async def test_every_kind_of_source_keeps_the_contract(kind, sandbox, workers, monkeypatch):
    def answered(request):
        if kind == "decisions":
            share = 1 / (1 + len(json.loads(request.content)["input"]))
            return httpx.Response(200, json={"answers": [{"type": "predicate", "probability": share}]})
        answers = json.loads(request.content)["answers"]
        return httpx.Response(200, json={"rewards": [1 / (1 + len(item["text"])) for item in answers]})

    options, params, answers = CASES[kind]
    models = {"steps": Models(), "whole": Models(), "judge": Judge()}
    made = RewardCatalogue.from_toml(
        {"rewards": {"tried": {"source": kind, **options}}}, sandbox=sandbox, workers=workers, models=models
    )
    if kind in ("http", "decisions"):
        client = httpx.AsyncClient
        monkeypatch.setattr(
            httpx, "AsyncClient", lambda **given: client(**given | {"transport": httpx.MockTransport(answered)})
        )
    source = made.source("tried", params, RewardRequest(PROMPT))
    await check_potential(source, answers)


async def test_what_prompts_without_examples_get_keeps_the_contract():
    await check_potential(SyntaxAndConfidence(CodeTask("def f(x):\n", "f", chat=False), CodeOptions()), CODE)


async def test_a_guarded_potential_keeps_the_contract():
    inner = RewardPotential(FunctionReward(lambda text, finished: 1 / (1 + len(text))), 4.0)
    for policy in ("keep", "floor"):
        await check_potential(RewardGuard(inner, policy))
