import numpy as np
import pytest

from smc_decode import events, run
from smc_decode.laws.tempering import next_level
from smc_decode.laws.weights import effective_sample_size
from tests.enumeration import MODELS
from tests.harness import config_of, engine_of, pool, potential_of

VALUES = np.random.default_rng(0).normal(0.0, 3.0, 64)


def test_a_bridge_that_costs_no_ess_goes_to_exactly_one():
    assert next_level(lambda b: 0.01 * b * VALUES, 0.0, 0.7, 64) == 1.0


def test_bisection_stops_where_the_ess_is_the_one_asked_for():
    bridge = next_level(lambda b: b * VALUES, 0.0, 0.7, 64)
    assert 0.0 < bridge < 1.0
    assert effective_sample_size(bridge * VALUES) == pytest.approx(0.7 * 64, rel=1e-6)


def test_the_bridge_is_never_lowered():
    assert next_level(lambda b: 100.0 * b * VALUES, 0.4, 0.9, 64) == pytest.approx(0.4)


CASES = [
    ("tempered-eos-product", {"reward": True}),
    ("powered-eos-product", {"alpha": True, "reward": True}),
    ("powered-no-eos-psi-1", {"alpha": True}),
]


@pytest.mark.parametrize(("name", "bridge"), CASES)
async def test_a_bridged_run_ends_at_exactly_the_requested_target(name, bridge):
    model = MODELS[name]
    config = config_of(model, bridge={**bridge, "ess": 0.99}, rejuvenation={"steps": 1})
    stream = [e async for e in run(engine_of(model), (), potential_of(model), config, seed=0)]
    bridges = [e.bridge for e in stream if isinstance(e, events.Weighted)]
    assert bridges == sorted(bridges)
    assert bridges[-1] == 1.0
    assert bridges[0] < 1.0


@pytest.mark.parametrize(("name", "bridge"), CASES)
def test_bridged_runs_still_find_the_posterior(name, bridge):
    """Bridging adapts to the population: Z^ is consistent rather than unbiased, so N is larger here."""
    model = MODELS[name]
    pooled = pool(model, runs=300, n_particles=64, bridge={**bridge, "ess": 0.8})
    assert pooled.ratios.mean() == pytest.approx(1.0, abs=0.06)
    assert pooled.distance(model.posterior) < 0.06
