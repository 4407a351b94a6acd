"""Particle Gibbs: the kernel of a conditional pass, enumerated through the sampler, leaves the posterior invariant."""

from dataclasses import replace

import numpy as np
import pytest

from smc_decode import events, run, sample
from smc_decode.laws.resampling import Offspring
from smc_decode.laws.weights import log_mean_exp
from smc_decode.potentials import FunctionPotential
from tests.choices import EnumeratedEngine, EnumeratedGenerator, edges_of, traces, weights_of
from tests.enumeration import MODELS, Model, mod_logits, soft
from tests.harness import config_of, engine_of, potential_of

SMALL = {
    model.name: model
    for model in [
        Model("three-tokens", mod_logits(3), 3, 2, 1, log_psi=soft),
        Model("three-tokens-no-eos", mod_logits(3, eos=False), 3, 2, 1, eos=None, target="powered", log_psi=soft),
        Model("three-blocks", mod_logits(2), 2, 3, 1, target="powered", kind="telescoping", log_psi=soft),
        Model("two-blocks", mod_logits(2), 2, 2, 1, target="powered", kind="telescoping", log_psi=soft),
        Model("uneven-blocks", mod_logits(2, eos=False), 2, 3, 2, eos=None, target="powered", log_psi=soft),
    ]
}


async def answer_given(reference, choices, model, config, log_scale, amend):
    """The answer of a conditional pass after a first pass whose particles were all ``reference``."""
    generator, engine = EnumeratedGenerator(choices), EnumeratedEngine(model, choices)
    potential = FunctionPotential(model.log_psi, model.kind, log_scale=log_scale)
    engine.forced, passes, tokens = reference, 0, []
    async for event in run(engine, (), potential, config, seed=generator, amend=amend):
        if isinstance(event, events.BlockExtended):
            tokens, passes = event.token_ids, passes + (event.block == 0)
        elif isinstance(event, events.Weighted) and passes == 1:  # all are copies: nothing is to be chosen yet
            over = (event.block + 1) * model.block_size >= len(reference)
            engine.forced = None if over else reference
        elif isinstance(event, events.Weighted):
            generator.edges = edges_of(weights_of(event.log_weights), "multinomial")
        elif isinstance(event, events.Resampled) and passes == 2:
            assert amend is not None or event.ancestors.tolist() == [0, *sorted(generator.cells)]
        elif isinstance(event, events.Finished):
            assert passes == 2
            assert amend is not None or event.result.answer.token_ids == tokens[generator.cells[0]]
            return event.result.answer.token_ids
    raise AssertionError("a run ends with its result")


async def kernel(model, *, log_scale=None, amend=None, **settings):
    """K[x, y]: the probability that a conditional pass with reference x returns y; and the posterior."""
    config = config_of(model, n_sweeps=2, draft_draws=False, **settings)
    states = list(model.posterior)
    matrix = np.zeros((len(states), len(states)))
    for i, x in enumerate(states):
        async for probability, y in traces(
            lambda choices, x=x: answer_given(x, choices, model, config, log_scale, amend)
        ):
            matrix[i, states.index(y)] += probability
    return matrix, np.array([model.posterior[x] for x in states])


SETTINGS = {
    "resampled at every block": {"n_particles": 2, "ess_threshold": 1.0},
    "resampled where the ESS is low": {"n_particles": 2, "ess_threshold": 0.9},
    "never resampled": {"n_particles": 2, "ess_threshold": 0.0},
}
LOOKAHEAD = {"n_particles": 2, "ess_threshold": 1.0, "lookahead": {"rollouts": 1}}
CASES = [pytest.param(name, SETTINGS[setting], id=f"{name}, {setting}") for name in SMALL for setting in SETTINGS]
CASES += [
    pytest.param("two-blocks", {**LOOKAHEAD, "log_scale": 1.0}, id="lookahead, floor of a declared scale"),
    pytest.param("two-blocks", LOOKAHEAD, id="lookahead, floor of the largest seen"),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
async def test_the_kernel_of_a_conditional_pass_leaves_the_posterior_invariant(name, settings):
    matrix, posterior = await kernel(SMALL[name], **settings)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(len(posterior)), abs=1e-12)
    assert np.abs(posterior @ matrix - posterior).max() < 1e-10
    assert np.all(matrix > 0)  # it goes from everywhere to everywhere


async def test_trap_without_its_reference_a_pass_does_not_leave_the_posterior_invariant():
    """Particle 0 resampled like the others: the path that the pass was conditioned on may be lost."""

    def unconditional(algorithm):
        def resample(state):
            told = algorithm.resample(state)[1]
            if told is None:
                return state, None
            lost = state.resampled(Offspring(np.repeat(told.ancestors[1:], 2), np.zeros(2)))
            return lost, told

        return replace(algorithm, resample=resample)

    settings = SETTINGS["resampled at every block"]
    matrix, posterior = await kernel(SMALL["two-blocks"], amend=unconditional, **settings)
    assert np.abs(posterior @ matrix - posterior).max() > 1e-3


@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-eos-product", "powered-tau-unmatched"])
@pytest.mark.parametrize("lookahead", [{}, {"rollouts": 2}])
async def test_the_last_pass_carries_the_evidence_of_the_first(name, lookahead):
    """``log_weight``: the log of its mean over the population is log_z, after a sweep as without one."""
    model = MODELS[name]
    config = config_of(model, n_sweeps=3, lookahead=lookahead)
    for seed in range(5):
        result = await sample(engine_of(model), (), potential_of(model), config, seed=seed)
        assert log_mean_exp([p.log_weight for p in result.particles]) == pytest.approx(result.log_z, abs=1e-12)
        assert abs(result.log_z) > 0.01
