import asyncio
import math
from pathlib import Path

import pytest

from smc_decode.potentials import (
    FunctionPotential,
    FunctionReward,
    PotentialError,
    Prefix,
    RewardFailure,
    RewardPotential,
)
from smc_decode.potentials.base import Reward
from smc_decode.potentials.mixtures.ensemble import Ensemble
from smc_decode.potentials.mixtures.self_consistency import SelfConsistency
from tests.potentials.answers import answer


class Half:
    """A reward source that likes everything by half."""

    name, prefixes, cacheable, needs_logprobs = "half", True, True, False

    async def rewards(self, batch):
        return [Reward(0.5, {"why": "always"})] * len(batch)


async def test_a_function_is_asked_with_tokens_and_whether_they_are_complete():
    potential = FunctionPotential(lambda tokens, finished: len(tokens) + (10 if finished else 0))
    values = await potential.evaluate([Prefix((1, 2), False), Prefix((1,), True)])
    assert [value.log_value for value in values] == [2.0, 11.0]


async def test_no_function_is_psi_one():
    assert (await FunctionPotential(None).evaluate([Prefix((1,), True)]))[0].log_value == 0.0


async def test_minus_infinity_is_allowed():
    assert (await FunctionPotential(lambda t, f: -math.inf).evaluate([Prefix((), True)]))[0].log_value == -math.inf


def test_an_unknown_kind_is_refused_with_the_names_of_the_known():
    with pytest.raises(PotentialError, match="product, telescoping, terminal"):
        FunctionPotential(None, kind="sum")


async def test_a_reward_enters_as_exp_of_scale_times_reward():
    potential = RewardPotential(Half(), 4.0)
    evaluation = (await potential.evaluate([Prefix((1,), True)]))[0]
    assert (evaluation.log_value, evaluation.reward) == (2.0, 0.5)
    assert (potential.kind, potential.log_scale) == ("telescoping", 4.0)


async def test_a_source_that_answers_for_too_few_prefixes_has_failed():
    class Short(Half):
        async def rewards(self, batch):
            return []

    with pytest.raises(RewardFailure, match="0 rewards for 1"):
        await RewardPotential(Short(), 1.0).evaluate([Prefix((1,), True)])


def test_text_is_decoded_only_when_asked_for():
    asked = []
    prefix = Prefix((1, 2), True, decode=lambda ids: asked.append(ids) or "text")
    assert not asked
    assert prefix.text == prefix.text == "text"
    assert len(asked) == 1
    with pytest.raises(PotentialError, match="no tokenizer"):
        _ = Prefix((1,), True).text


async def test_a_reward_of_the_text_is_a_number_a_pair_or_a_reward():
    answers = [answer("ab"), answer("abcd", False)]
    for f in (
        lambda text, finished: len(text) / 10,
        lambda text, finished: (len(text) / 10, {"finished": finished}),
        lambda text, finished: Reward(len(text) / 10, at_most=0.9),
    ):
        rewards = await FunctionReward(f, name="length").rewards(answers)
        assert [reward.value for reward in rewards] == [0.2, 0.4]
    assert rewards[0].at_most == 0.9


async def test_an_async_reward_is_asked_for_the_whole_batch_at_once():
    running = []

    async def judge(text, finished):
        running.append(text)
        await asyncio.sleep(0)
        return 1.0 if len(running) == 2 else 0.0

    rewards = await FunctionReward(judge).rewards([answer("a"), answer("b")])
    assert [reward.value for reward in rewards] == [1.0, 1.0]


def test_a_reward_of_complete_answers_makes_a_terminal_potential():
    assert RewardPotential(FunctionReward(lambda text, finished: 1.0, prefixes=False), 1.0).kind == "terminal"


def test_a_potential_has_the_reasons_of_its_source():
    mixed = Ensemble([(Half(), 1.0), (SelfConsistency(), 1.0)])
    assert "population" in RewardPotential(mixed, 1.0).inexact
    assert RewardPotential(Half(), 1.0).inexact is None


USERS_FILE = """
from collections.abc import Sequence

from smc_decode.potentials import (
    Evaluation, FunctionReward, Kind, Options, Potential, Prefix, Reward, RewardPotential, RewardSource,
)
from smc_decode.testing import check_potential


class Short(Potential):
    name = "short"
    kind = "telescoping"
    log_scale = 0.0

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        return [Evaluation(-len(prefix.token_ids) / 10) for prefix in batch]


class Polite(RewardSource):
    prefixes = False

    def __init__(self, word: str) -> None:
        self.word = word
        self.cacheable = True

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        return [Reward(float(self.word in prefix.text)) for prefix in batch]


class PoliteOptions(Options):
    word: str = "please"


async def slow(text: str, finished: bool) -> float:
    return 0.5


KIND = Kind("polite answers", PoliteOptions, lambda options, context: Polite(options.word), ("word",))
POTENTIALS: list[Potential] = [
    Short(),
    RewardPotential(Polite("please"), 4.0),
    RewardPotential(FunctionReward(lambda text, finished: float(finished)), 4.0),
    RewardPotential(FunctionReward(slow), 4.0),
]


async def test_mine() -> None:
    await check_potential(Short())
    await check_potential(Polite("please"))
"""


def test_a_users_file_passes_mypys_strict_mode(tmp_path):
    api = pytest.importorskip("mypy.api")
    path = tmp_path / "users.py"
    wrong = 'class Wrong(Short):\n    kind = "sum"\n'
    path.write_text(USERS_FILE + wrong)
    said, errors, _ = api.run(["--config-file", str(Path(__file__).parents[2] / "pyproject.toml"), str(path)])
    [found] = [line for line in said.splitlines() if ": error: " in line]
    assert errors == ""
    assert f":{len((USERS_FILE + wrong).splitlines())}: error: Incompatible types in assignment" in found
    assert "Literal['sum']" in found
