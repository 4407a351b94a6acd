import pytest

from smc_decode import PRESETS, preset, sample
from tests.enumeration import MODELS
from tests.harness import engine_of, potential_of

MODEL = MODELS["tempered-eos-product"]
NAMED = [
    "base",
    "low-temperature",
    "best-of-n",
    "self-consistency",
    "power-smc",
    "mcmc-power",
    "tempering",
    "smc-reward",
    "paper",
    "smc",
    "search",
]


def test_every_decoder_of_the_design_is_a_preset():
    assert set(NAMED) <= set(PRESETS)
    assert all(p.description for p in PRESETS.values())


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("rewarded", [True, False])
async def test_every_preset_runs_on_the_one_sampler(name, rewarded):
    overrides = {"max_tokens": 6, "extractor": "tokens"}
    if not PRESETS[name].one_block:
        overrides["block_size"] = 2
    config = preset(name, reward=rewarded, **overrides)
    result = await sample(engine_of(MODEL), (), potential_of(MODEL) if rewarded else None, config, seed=0)
    assert result.answer.finished


def test_one_sample_presets_have_one_particle_and_one_block():
    for name in ("base", "low-temperature"):
        config = preset(name, max_tokens=100)
        assert (config.n_particles, config.block_size) == (1, 100)
    assert preset("base").temperature == 1.0
    assert preset("low-temperature").temperature == 0.25


def test_best_of_n_never_resamples_and_takes_the_best():
    config = preset("best-of-n", max_tokens=64)
    assert (config.block_size, config.ess_threshold, config.selection) == (64, 0.0, "best")


def test_the_paper_preset_has_the_papers_settings():
    code, mathematics = preset("paper"), preset("paper-math")
    for config, block, temperature in ((code, 64, 0.1), (mathematics, 512, 0.3)):
        assert (config.alpha, config.n_particles, config.max_tokens) == (4.0, 16, 3072)
        assert (config.block_size, config.lookahead.rollouts, config.rejuvenation.steps) == (block, 2, 2)
        assert config.lookahead.temperature == temperature
        assert config.rejuvenation.mode == "paper"


def test_the_default_is_power_sampling_without_a_reward():
    assert preset("smc").target == "tempered"
    assert preset("smc", reward=False).target == "powered"


def test_the_default_spreads_its_draws_and_looks_ahead_late():
    config = preset("smc")
    assert config.proposal_draws == "systematic"
    assert config.recycles
    assert config.lookahead.start == 0.75
    assert not preset("smc", reward=False).lookahead.rollouts


def test_a_first_pass_may_tell_the_rest_how_long_answers_are():
    assert preset("smc", first_pass_size=3, later_passes="rest").pass_sizes == [3, 13]
    assert preset("smc", first_pass_size=3, later_passes="rest", n_particles=2).pass_sizes == [2]


def test_tempering_is_one_ladder_of_chains():
    config = preset("tempering")
    assert config.exchanges
    assert config.n_particles == config.rejuvenation.rungs
    assert config.target == "powered"


def test_a_search_stops_at_full_reward_and_votes_by_behaviour():
    config = preset("search")
    assert config.stop_at_reward == 1.0
    assert (config.selection, config.extractor) == ("vote", "behaviour")
    assert config.pass_sizes == [1, 1, 2, 4, 8]
    assert preset("search", reward=False).pass_sizes == [16]


def test_overrides_are_merged_into_nested_parts():
    config = preset("smc", lookahead={"rollouts": 5}, alpha=3.0)
    assert config.lookahead.rollouts == 5
    assert config.rejuvenation.steps == preset("smc").rejuvenation.steps
    assert config.alpha == 3.0


def test_an_unknown_preset_is_refused_with_the_names_of_the_known():
    with pytest.raises(ValueError, match="unknown preset 'best'; allowed: base, low-temperature"):
        preset("best")
