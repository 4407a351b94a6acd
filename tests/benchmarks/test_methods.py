import pytest

from benchmarks.methods import DEFAULT_METHODS, MethodError, parse_method, plan


def test_a_method_is_a_preset_with_fields_on_top():
    method = parse_method("smc:alpha=4:lookahead.rollouts=1:resampling=residual", 8)
    config = method.config(reward=True, max_tokens=100, stop=("\ndef ",))
    assert (config.alpha, config.lookahead.rollouts, config.resampling) == (4.0, 1, "residual")
    assert (config.n_particles, config.max_tokens, config.stop) == (8, 100, ("\ndef ",))
    assert method.label == "smc:alpha=4:lookahead.rollouts=1:resampling=residual N=8"


def test_methods_of_one_particle_stay_at_it():
    assert [parse_method(name, 16).n_particles for name in ("base", "low-temperature", "mcmc-power")] == [1, 1, 1]


def test_a_method_may_say_its_own_number_of_particles():
    assert parse_method("smc:n_particles=5", 16).n_particles == 5


def test_one_block_methods_have_a_block_of_max_tokens():
    assert parse_method("best-of-n").config(reward=True, max_tokens=77).block_size == 77


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("beam", "allowed: base"),
        ("smc:alpha", "FIELD=VALUE"),
        ("smc:alhpa=2", "alhpa"),
        ("smc:alpha=-1", "alpha"),
        ("smc:resampling=lucky", "allowed"),
    ],
)
def test_a_wrong_method_says_what_is_allowed(spec, message):
    with pytest.raises(MethodError, match=message):
        parse_method(spec)


def test_budgets_run_every_method_at_every_n_but_independent_ones_at_the_largest():
    labels = [method.label for method in plan(["base", "best-of-n", "smc"], 16, [1, 2, 4])]
    assert labels == ["base N=1", "best-of-n N=4", "smc N=1", "smc N=2", "smc N=4"]


def test_a_search_at_n_draws_at_most_n_answers_in_passes():
    method = parse_method("search", 8)
    assert method.config(reward=True).pass_sizes == [1, 1, 2, 4]
    assert method.label == "search N=8"
    assert (method.width, parse_method("best-of-n", 8).width) == (2, 8)


def test_every_default_method_exists():
    assert len(plan(DEFAULT_METHODS, 16)) == len(DEFAULT_METHODS)
