"""Ensembles: sums and products of other rewards."""

from __future__ import annotations

import json

import pytest

from smc_decode.potentials import Reward, RewardFailure, RewardPotential
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.mixtures.ensemble import Ensemble, EnsembleOptions, read_weights
from smc_decode.potentials.options import RewardConfigError, RewardRequest, RewardRequestError, validate
from tests.potentials.answers import FakeSandbox, answer, report


class Fixed:
    needs_logprobs = False

    def __init__(self, value, prefixes=True, cacheable=True, name="fixed"):
        self.value, self.prefixes, self.cacheable, self.name = value, prefixes, cacheable, name

    async def rewards(self, batch):
        if isinstance(self.value, Exception):
            raise self.value
        assert self.prefixes or all(prefix.finished for prefix in batch)
        return [Reward(self.value)] * len(batch)


async def mixed(members, combine="sum", finished=True):
    return (await Ensemble(members, combine).rewards([answer("x", finished)]))[0].value


async def test_a_sum_and_a_product_are_weighted():
    members = [(Fixed(0.9), 3), (Fixed(0.1), 1)]
    assert await mixed(members) == pytest.approx(0.7)
    assert await mixed(members, "product") == pytest.approx(0.9**0.75 * 0.1**0.25)
    assert await mixed([(Fixed(0.0), 1), (Fixed(1.0), 9)], "product") == 0.0


async def test_a_member_that_judges_complete_answers_only_is_pending_before():
    members = [(Fixed(0.9), 1), (Fixed(0.1, prefixes=False, cacheable=False), 1)]
    assert await mixed(members) == pytest.approx(0.5)
    assert await mixed(members, finished=False) == pytest.approx(0.7)
    ensemble = Ensemble(members)
    assert ensemble.prefixes
    assert not ensemble.cacheable


async def test_alone_a_judge_of_complete_answers_gains_nothing_from_an_early_end():
    judge = Fixed(0.5, prefixes=False)
    alone = RewardPotential(Ensemble([(judge, 1)]), reward_scale=4.0)
    early, late = answer("x", True), answer("x", False)
    assert RewardPotential(judge, reward_scale=4.0).kind == "terminal"  # psi = 1 of late, exp(2) of early
    assert alone.kind == "telescoping"
    assert [each.log_value for each in await alone.evaluate([early, late])] == [2.0, 2.0]


async def test_a_failure_of_a_member_is_a_failure():
    with pytest.raises(RewardFailure, match="down"):
        await mixed([(Fixed(1.0), 1), (Fixed(RewardFailure("down")), 1)])


async def test_a_request_can_mix_the_catalogues_rewards():
    made = RewardCatalogue.default(sandbox=FakeSandbox(lambda source: report(1, 1)))
    params = {
        "members": {"unit_tests": 1, "regex": 1},
        "params": {"unit_tests": {"test": "def check(c):\n    assert c() == 1"}, "regex": {"pattern": "x"}},
    }
    request = RewardRequest("def f():\n")
    source = made.source("ensemble", params, request)
    assert (await source.rewards([answer("    return 1\n")]))[0].value == pytest.approx(0.5)
    with pytest.raises(RewardRequestError) as caught:
        made.source("ensemble", {**params, "members": {"unit_tests": 1, "nope": 1, "regex": 1}}, request)
    assert caught.value.param == "smc.reward.params.params.nope"
    nested = {"members": {"ensemble": 1}}
    for _ in range(6):
        nested = {"members": {"ensemble": 1}, "params": {"ensemble": nested}}
    with pytest.raises(RewardRequestError, match="more than"):
        made.source("ensemble", nested, request)
    with pytest.raises(RewardRequestError, match="allow-client-tests"):
        made.source("ensemble", params, RewardRequest("def f():\n", None, client_is_local=False))
    await made.aclose()


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"members": {}}, "members"),
        ({"members": {"a": -1}}, "negative"),
        ({"members": {"a": 0}}, "positive"),
        ({"members": {"a": 1}, "params": {"b": {}}}, "b is no member"),
        ({"members": {"a": 1}, "combine": "max"}, "'sum'"),
    ],
)
def test_wrong_members_are_refused(params, match):
    with pytest.raises(RewardRequestError, match=match):
        validate(EnsembleOptions, params, "smc.reward.params")


def test_fitted_weights_come_from_a_file(tmp_path):
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"weights": {"a": 0.25, "b": 0.75}}))
    assert read_weights(str(path), ["b", "a"]) == {"b": 0.75, "a": 0.25}
    with pytest.raises(RewardConfigError, match=r"weights\.json has no weights for a, c"):
        read_weights(str(path), ["a", "c"])
