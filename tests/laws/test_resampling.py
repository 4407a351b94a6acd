import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smc_decode import SMCConfig
from smc_decode.laws.resampling import CHOPTHIN_RATIO, SCHEMES, resample

WEIGHTS = {
    "uneven": np.array([0.5, 0.3, 0.15, 0.05]),
    "with a zero": np.array([0.0, 0.61, 0.0, 0.39, 0.0]),
    "nearly dead": np.array([1 - 3e-9, 1e-9, 1e-9, 1e-9]),
    "equal": np.full(8, 0.125),
}


def offspring_weights(name, weights, n, rng):
    """The summed weight of each parent's offspring, shape (number of parents,)."""
    ancestors, log_weights = resample(name, weights, n, rng)
    return np.bincount(ancestors, weights=np.exp(log_weights), minlength=weights.size)


ONE_UNIFORM = ("chopthin", "systematic")


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - set(ONE_UNIFORM)))
@pytest.mark.parametrize("case", WEIGHTS)
def test_every_scheme_gives_each_parent_n_times_its_weight_in_expectation(scheme, case):
    weights, n, runs = WEIGHTS[case], 7, 4000
    rng = np.random.default_rng(1)
    drawn = np.array([offspring_weights(scheme, weights, n, rng) for _ in range(runs)])
    error = np.maximum(drawn.std(axis=0), 1e-3) / np.sqrt(runs)
    assert np.all(np.abs(drawn.mean(axis=0) - n * weights) < 4.5 * error)


class Given(np.random.Generator):
    """Draws the number that it was given."""

    def __init__(self, uniform):
        super().__init__(np.random.PCG64(0))
        self.uniform = uniform

    def random(self, *args, **kwargs):
        return self.uniform


@pytest.mark.parametrize("scheme", ONE_UNIFORM)
@pytest.mark.parametrize("case", WEIGHTS)
def test_a_scheme_of_one_uniform_number_gives_each_parent_n_times_its_weight_on_average_over_it(scheme, case):
    """A parent's offspring weigh one of two amounts, which meet at two places: midpoints miss one step at most."""
    weights, n, points = WEIGHTS[case], 7, 300
    drawn = [offspring_weights(scheme, weights, n, Given((i + 0.5) / points)) for i in range(points)]
    steps = np.maximum(np.ptp(drawn, axis=0), 1.0)
    assert np.all(np.abs(np.mean(drawn, axis=0) - n * weights) <= steps / points)


@pytest.mark.parametrize("n", [1, 2, 8, 100])
def test_the_largest_number_below_one_draws_the_last_parent(n):
    """n - 1 and that number, over n, is one in floating point."""
    weights = np.full(n, 1.0 / n)
    ancestors, _ = resample("systematic", weights, n, Given(1.0 - 2.0**-53))
    assert ancestors[-1] == n - 1


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_every_scheme_gives_n_offspring_and_never_a_dead_parent(scheme):
    rng = np.random.default_rng(2)
    for _ in range(200):
        weights = rng.dirichlet(np.full(9, 0.3))
        weights[rng.integers(9)] = 0.0
        weights /= weights.sum()
        ancestors, log_weights = resample(scheme, weights, 9, rng)
        assert ancestors.shape == log_weights.shape == (9,)
        assert np.all(weights[ancestors] > 0)


@pytest.mark.parametrize("scheme", ["ssp", "residual", "systematic"])
def test_low_variance_schemes_stay_within_one_of_the_expected_number(scheme):
    rng = np.random.default_rng(3)
    for _ in range(300):
        weights = rng.dirichlet(np.full(6, 0.5))
        counts = np.bincount(resample(scheme, weights, 12, rng).ancestors, minlength=6)
        assert np.all(counts >= np.floor(12 * weights - 1e-9))
        if scheme != "residual":
            assert np.all(counts <= np.ceil(12 * weights + 1e-9))


def pieces(scaled, threshold):
    """Into how many each is chopped on average, by Gandy and Lau: below the threshold less than one."""
    chopped = np.maximum(1.0, scaled / (CHOPTHIN_RATIO * threshold / 2.0))
    return np.where(scaled < threshold, scaled / threshold, chopped)


@pytest.mark.parametrize("seed", range(6))
def test_chopthin_thins_below_and_chops_above_the_threshold_at_which_the_pieces_number_n(seed):
    n, points = 9, 240
    scaled = n * np.random.default_rng(seed).dirichlet(np.full(9, [0.3, 0.7, 2.0][seed % 3]))
    least, most = 1e-6, 2.0 * n
    for _ in range(200):
        middle = (least + most) / 2.0
        least, most = (middle, most) if pieces(scaled, middle).sum() > n else (least, middle)
    drawn = [resample("chopthin", scaled / n, n, Given((i + 0.5) / points)) for i in range(points)]
    counts = np.array([np.bincount(each.ancestors, minlength=n) for each in drawn])
    assert np.abs(counts.mean(axis=0) - pieces(scaled, most)).max() <= 1.5 / points
    for count, each in zip(counts, drawn, strict=True):
        for parent, log_weight in zip(each.ancestors, each.log_weights, strict=True):
            weight = most if scaled[parent] < most else scaled[parent] / count[parent]
            assert np.exp(log_weight) == pytest.approx(weight, rel=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=20), st.integers(0, 1000))
def test_chopthin_bounds_the_ratio_of_weights(values, seed):
    weights = np.array(values) / sum(values)
    _, log_weights = resample("chopthin", weights, weights.size, np.random.default_rng(seed))
    assert np.exp(log_weights.max() - log_weights.min()) <= CHOPTHIN_RATIO * (1 + 1e-6)


def test_an_unknown_scheme_is_refused_with_the_names_of_the_known():
    with pytest.raises(ValueError, match=r"unknown resampling 'best'; allowed: chopthin, multinomial"):
        resample("best", np.array([1.0]), 1, np.random.default_rng(0))


def test_a_scheme_of_ones_own_is_found_by_its_name():
    @SCHEMES.register("the heaviest", replace=True)
    def heaviest(weights, n, rng):
        return np.full(n, weights.argmax()), np.zeros(n)

    try:
        assert set(resample("the heaviest", WEIGHTS["uneven"], 4, np.random.default_rng(0))[0]) == {0}
        assert SMCConfig(resampling="the heaviest").resampling == "the heaviest"
    finally:
        SCHEMES.remove("the heaviest")
    with pytest.raises(ValueError, match="unknown resampling 'the heaviest'; allowed: chopthin, multinomial"):
        resample("the heaviest", WEIGHTS["uneven"], 4, np.random.default_rng(0))
