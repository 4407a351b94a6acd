"""The claim: E[Z^] = Z and the pooled population is the posterior, against enumeration.

Each case pools 750 runs. A deviation beyond 4 standard errors is an error in a formula, not bad luck: seeds are
fixed. test_traps.py puts the known wrong formulas in and sees these statements fail.
"""

import pytest

from smc_decode.laws.resampling import SCHEMES
from tests.enumeration import MODELS
from tests.harness import RUNS, pool

THREE = ["tempered-eos-product", "powered-eos-product", "tempered-terminal-01"]


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("name", THREE)
def test_every_resampling_scheme_estimates_z_without_bias(name, scheme):
    pooled = pool(MODELS[name], resampling=scheme, ess_threshold=1.0, n_particles=4)
    assert abs(pooled.deviation) < 4


VARIANTS = {
    "prefix only": {},
    "never resampled": {"ess_threshold": 0.0},
    "one rollout, reused": {"lookahead": {"rollouts": 1}},
    "two rollouts, chosen by weight": {"lookahead": {"rollouts": 2, "choice": "weighted"}},
    "eight rollouts, not reused, cold": {"lookahead": {"rollouts": 8, "reuse": False, "temperature": 0.6}},
    "adaptive rollouts, short": {"lookahead": {"rollouts": 4, "min_rollouts": 2, "horizon": 3}},
    "moves": {"rejuvenation": {"steps": 2}},
    "corrected moves": {"rejuvenation": {"steps": 1, "mode": "corrected"}},
    "lookahead and moves": {"lookahead": {"rollouts": 2}, "rejuvenation": {"steps": 1, "every": 2}},
    "growing passes": {"first_pass_size": 1},
}

# Every variant on one model, the main ones on the other target too, and every model with at least two variants.
CASES = [(THREE[0], variant) for variant in VARIANTS]
CASES += [(THREE[1], variant) for variant in ("prefix only", "two rollouts, chosen by weight", "lookahead and moves")]
CASES += [(name, "prefix only") for name in MODELS if name not in THREE[:2]]
CASES += [
    ("tempered-terminal-01", "lookahead and moves"),
    ("tempered-no-eos-telescoping", "moves"),
    ("tempered-no-eos-telescoping", "two rollouts, chosen by weight"),
    ("powered-no-eos-psi-1", "one rollout, reused"),
    ("tempered-hard-zeros", "moves"),
    ("tempered-terminal-01", "growing passes"),
    ("tempered-hard-zeros", "one rollout, reused"),
    ("tempered-600-nats", "eight rollouts, not reused, cold"),
    ("tempered-600-nats", "lookahead and moves"),
    ("powered-telescoping-uneven", "lookahead and moves"),
    ("powered-telescoping-uneven", "growing passes"),
    ("tempered-tau-unmatched", "lookahead and moves"),
    ("tempered-tau-unmatched", "corrected moves"),
    ("powered-tau-unmatched", "moves"),
    ("powered-top-k", "one rollout, reused"),
    ("tempered-top-k-unmatched", "moves"),
]

# One model after the other: the cases of a model share its reference, and neighbours run in one process.
CASES.sort(key=lambda case: list(MODELS).index(case[0]))

MORE = {("tempered-no-eos-telescoping", "moves"): 2 * RUNS}
"""Runs of a case whose weights are so uneven that its population is that of far fewer."""

REFERENCE: dict[str, float] = {}


def reference_spread(name):
    """The relative spread of Z^ of plain SMC that resamples at every block."""
    if name not in REFERENCE:
        REFERENCE[name] = pool(
            MODELS[name], runs=400, n_particles=6, resampling="multinomial", ess_threshold=1.0
        ).spread
    return REFERENCE[name]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_z_is_unbiased_and_the_pooled_population_is_the_posterior(name, variant):
    model = MODELS[name]
    pooled = pool(model, runs=MORE.get((name, variant), RUNS), n_particles=6, **VARIANTS[variant])
    assert abs(pooled.deviation) < 4
    if name == "tempered-600-nats":  # its Z^ is a lottery: most runs see none of the mass
        return
    # What is left is the noise of 4,500 weighted particles on up to 1,100 sequences.
    assert pooled.distance(model.posterior) < (0.12 if variant == "corrected moves" else 0.07)
    if variant not in ("corrected moves", "never resampled", "growing passes"):  # these pay in variance, by design
        assert pooled.spread < 1.5 * reference_spread(name)
