import pytest

from smc_decode import events, run
from tests.enumeration import MODELS
from tests.harness import config_of, engine_of, pool, potential_of

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
    pooled = pool(model, runs=150, n_particles=64, bridge={**bridge, "ess": 0.8})
    assert pooled.ratios.mean() == pytest.approx(1.0, abs=0.06)
    assert pooled.distance(model.posterior) < 0.06
