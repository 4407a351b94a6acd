"""Another law as the proposal: whatever it is, the weights make it the model's."""

import math
from dataclasses import replace

import numpy as np
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines import EngineRequestError, TableEngine
from smc_decode.engines.base import Continuation
from smc_decode.potentials import FunctionPotential
from tests.enumeration import Model, mod_logits, soft

PROMPT = (1,)


def table(logits, vocab_size=3, eos=0):
    """A table after a prompt of one token."""
    return TableEngine(lambda tokens: np.asarray(logits(tokens[1:]), dtype=float), vocab_size, eos, sees_prompt=True)


def own_law(tokens):
    """Nothing like the model, and it can draw everything."""
    return [-0.5, 0.1 * len(tokens), -0.8]


CASES = [
    Model("tempered", mod_logits(3), 3, 5, 2, alpha=1.0, log_psi=soft),
    Model("powered", mod_logits(3), 3, 5, 2, alpha=2.0, target="powered", log_psi=soft),
]
WAYS = [{}, {"lookahead": {"rollouts": 2}}, {"rejuvenation": {"steps": 1}}]


@pytest.mark.parametrize("settings", WAYS, ids=str)
@pytest.mark.parametrize("model", CASES, ids=lambda model: model.name)
async def test_draws_from_any_law_are_weighted_for_the_models_target(model, settings):
    engine, proposal = table(model.logits), table(own_law)
    config = SMCConfig(n_particles=8, block_size=2, max_tokens=5, target=model.target, alpha=model.alpha, **settings)
    potential = FunctionPotential(model.log_psi, model.kind)
    ratios, masses = [], {}
    for seed in range(400):
        result = await sample(engine, PROMPT, potential, config, seed=seed, proposal=proposal)
        assert result.exact
        ratios.append(math.exp(result.log_z - model.log_z))
        for particle in result.particles:
            masses[particle.token_ids] = masses.get(particle.token_ids, 0.0) + ratios[-1] * particle.weight
    spread = np.std(ratios) / math.sqrt(len(ratios))
    assert abs(np.mean(ratios) - 1.0) < 4 * spread
    total = sum(masses.values())
    distance = 0.5 * sum(abs(masses.get(x, 0.0) / total - mass) for x, mass in model.posterior.items())
    assert distance < 0.12


class UniformDraws(TableEngine):
    """An engine with a proposal of its own, which it declares: uniform draws, whatever the temperature."""

    @property
    def info(self):
        return replace(super().info, tempered_proposal=False, excludes=False)

    async def extend(self, requests):
        for index, request in enumerate(requests):
            rng = np.random.default_rng(request.seed)
            tokens = rng.integers(self.info.vocab_size, size=request.max_new_tokens).tolist()
            log_p = np.log([0.7, 0.2, 0.1])
            request.sequence.token_ids.extend(tokens)
            log_z = [math.log(float((np.exp(log_p) ** (request.alpha or 1.0)).sum()))] * len(tokens)
            log_q = [-math.log(3)] * len(tokens)
            yield index, Continuation(tokens, [float(log_p[t]) for t in tokens], log_q, log_z, "length")


async def test_an_engine_that_says_so_is_corrected_where_temperature_is_one_over_alpha():
    engine = UniformDraws(lambda tokens: np.log([0.7, 0.2, 0.1]), 3, None)
    config = SMCConfig(n_particles=2000, block_size=1, max_tokens=1)
    result = await sample(engine, (), None, config, seed=0)
    share = [sum(p.weight for p in result.particles if p.token_ids == (v,)) for v in range(3)]
    assert share == pytest.approx([0.7, 0.2, 0.1], abs=0.05)
    assert result.exact


async def test_what_the_two_cannot_do_together_is_refused():
    engine, proposal = table(mod_logits(3)), table(own_law)
    with pytest.raises(EngineRequestError, match="vocabulary"):
        await sample(engine, PROMPT, proposal=table(mod_logits(4), 4))
    with pytest.raises(EngineRequestError, match="needs a prompt"):
        await sample(engine, (), proposal=proposal)
    with pytest.raises(EngineRequestError, match="log z"):
        await sample(engine, PROMPT, None, SMCConfig(alpha=2.0), proposal=proposal)
