"""Particle Gibbs: conditional sweeps leave the posterior invariant."""

import asyncio
from collections import Counter

from smc_decode import sample
from tests.enumeration import MODELS, Model, mod_logits, soft
from tests.harness import config_of, engine_of, potential_of


def rough(tokens, finished):
    return 2.0 * soft(tokens, finished)


# Few sequences, so that few runs show the law of an answer.
SMALL = Model("31 sequences", mod_logits(3, -0.5), 3, 4, 2, target="powered", log_psi=rough)
EVEN = Model("27 sequences", mod_logits(3, eos=False), 3, 3, 1, eos=None, kind="telescoping", log_psi=rough)


def answers(model, runs, **settings):
    async def collect():
        engine, potential, config = engine_of(model), potential_of(model), config_of(model, **settings)
        return Counter(
            [(await sample(engine, (), potential, config, seed=seed)).answer.token_ids for seed in range(runs)]
        )

    return asyncio.run(collect())


def distance(model, counts):
    runs = counts.total()
    return 0.5 * sum(abs(counts[x] / runs - p) for x, p in model.posterior.items())


def test_sweeps_bring_the_answers_of_a_small_population_closer_to_the_posterior():
    plain = distance(SMALL, answers(SMALL, 400, n_particles=3, ess_threshold=1.0))
    swept = distance(SMALL, answers(SMALL, 400, n_particles=3, ess_threshold=1.0, n_sweeps=8))
    assert plain > 0.15  # self-normalised SMC at N = 3 is far off
    assert swept < 0.6 * plain


def test_sweeps_with_lookahead_find_the_posterior_too():
    plain = distance(EVEN, answers(EVEN, 400, n_particles=3, ess_threshold=1.0, lookahead={"rollouts": 1}))
    assert plain > 0.12
    settings = {"n_particles": 3, "ess_threshold": 1.0, "n_sweeps": 6, "lookahead": {"rollouts": 1}}
    # 400 answers: exact draws alone are about 0.05 off
    assert distance(EVEN, answers(EVEN, 400, **settings)) < 0.08


async def test_the_first_pass_alone_estimates_z():
    model = MODELS["tempered-eos-product"]
    once = await sample(engine_of(model), (), potential_of(model), config_of(model), seed=4)
    swept = await sample(engine_of(model), (), potential_of(model), config_of(model, n_sweeps=3), seed=4)
    assert swept.log_z == once.log_z
    assert swept.usage.sampled + swept.usage.drafted > 2 * once.usage.sampled


async def test_a_vote_is_held_over_all_passes_and_a_draw_over_the_last():
    model = MODELS["tempered-eos-product"]
    engine, potential = engine_of(model), potential_of(model)
    settings = {"n_particles": 3, "n_sweeps": 4}
    drawn = await sample(engine, (), potential, config_of(model, **settings), seed=4)
    voted = await sample(engine, (), potential, config_of(model, selection="vote", **settings), seed=4)
    assert len(drawn.particles) == 3
    # the reference of a conditional pass was counted in the pass that drew it
    assert len(voted.particles) == 3 + 3 * 2
    once = await sample(engine, (), potential, config_of(model, n_particles=3), seed=4)
    assert [p.log_weight for p in voted.particles[:3]] == [p.log_weight for p in once.particles]


def test_votes_over_many_passes_find_the_likeliest_answer():
    model = MODELS["powered-eos-product"]
    likeliest = max(model.posterior, key=model.posterior.__getitem__)
    once = answers(model, 200, n_particles=3, selection="vote")
    swept = answers(model, 200, n_particles=3, n_sweeps=8, selection="vote")
    assert swept[likeliest] > once[likeliest] + 20
