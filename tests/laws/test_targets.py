import json
import math

import numpy as np
import pytest

from smc_decode import sample_sync
from smc_decode.config import SMCConfig
from smc_decode.engines import TableEngine
from smc_decode.laws.targets import TARGETS, Target, log_increment, log_ratio, matched_log_z
from smc_decode.sampler.target import TargetLaw
from smc_decode.sampler.trajectory import Trajectory
from tests.enumeration import MODELS, Model, mod_logits, soft, sum_is_multiple_of_three
from tests.laws.test_metropolis import proposal_logprobs


def log_z_per_token(model, tokens):
    out = []
    for t in range(len(tokens)):
        log_p = model.logprobs(tokens[:t])
        if model.top_k:
            log_p = log_p[log_p >= np.sort(log_p)[-model.top_k]]
        out.append(math.log(np.exp(model.alpha * log_p).sum()))
    return out


@pytest.mark.parametrize("name", MODELS)
def test_the_ratio_is_the_targets_transitions_over_the_proposals(name):
    model = MODELS[name]
    matched = "proposal_temperature" not in model.settings
    for tokens, log_m in list(model.sequences())[::17]:
        log_p = [float(model.logprobs(tokens[:t])[token]) for t, token in enumerate(tokens)]
        log_q = proposal_logprobs(model, tokens)
        ratio = log_ratio(model.target, model.alpha, log_p, log_q, log_z_per_token(model, tokens), matched=matched)
        assert ratio == pytest.approx(log_m - sum(log_q), abs=1e-9)


LISTS = ([-1.0, -0.5, -2.0], [-0.25, -1.0, -1.5], [-0.125, -0.5, 0.25])
"""log p, log q and log z of three tokens, which no model ever gave together: each formula has a value of its own."""


@pytest.mark.parametrize(
    ("target", "matched", "value"),
    [
        ("tempered", True, 0.0),  # exactly, whatever the numbers are: nothing is asked of the engine
        ("tempered", False, 2.0 * -3.5 + 0.375 + 2.75),
        ("powered", True, 2.0 * -3.5 + 2.75),
        ("powered", False, 2.0 * -3.5 + 2.75),
    ],
)
def test_the_ratio_takes_of_the_lists_what_its_target_has(target, matched, value):
    assert log_ratio(target, 2.0, *LISTS, matched=matched) == value


@pytest.mark.parametrize("name", ["powered-eos-product", "powered-top-k"])
def test_log_z_follows_from_raw_and_proposal_log_probabilities_where_tau_is_one_over_alpha(name):
    model = MODELS[name]
    for tokens, _ in list(model.sequences())[::13]:
        log_p = [float(model.logprobs(tokens[:t])[token]) for t, token in enumerate(tokens)]
        derived = matched_log_z(model.alpha, log_p, proposal_logprobs(model, tokens))
        assert derived == pytest.approx(log_z_per_token(model, tokens), abs=1e-9)


def test_a_dead_particle_stays_dead_without_nan():
    assert log_increment(-math.inf, -math.inf) == -math.inf
    assert log_increment(1.0, -math.inf) == -math.inf
    assert log_increment(1.5, 1.0) == 0.5


def test_bridging_raises_alpha_from_one_and_the_potential_from_nothing():
    law = TargetLaw(SMCConfig(target="powered", alpha=3.0, bridge={"alpha": True, "reward": True}))
    assert (law.alpha(0.0), law.alpha(0.5), law.alpha(1.0)) == (1.0, 2.0, 3.0)
    assert (law.exponent(0.0), law.exponent(1.0)) == (0.0, 1.0)
    path = Trajectory((1,), (-1.0,), (-0.5,), log_potential=2.0)
    assert law.log_over_proposal(path, 0.5) == pytest.approx(2.0 * -1.0 + 0.5 + 1.0)


@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-eos-product"])
def test_with_the_exact_future_as_proposal_and_lookahead_every_single_path_weighs_z(name):
    """The optimally twisted proposal: the sum of the increments is log Z whatever was drawn (N = 1)."""
    model = MODELS[name]
    rng = np.random.default_rng(0)
    for _ in range(30):
        tokens, weight, value = (), 0.0, 0.0
        while not model.complete(tokens):
            end = len(tokens) + model.block_size
            nexts = list(model.sequences(tokens, end=end))
            here = model.log_potential(tokens) if tokens else 0.0
            log_terms = [m + model.log_potential(x) - here + model.log_future(x) for x, m in nexts]
            total = float(np.logaddexp.reduce(log_terms))
            pick = rng.choice(len(nexts), p=np.exp(np.array(log_terms) - total))
            new, log_m = nexts[pick]
            log_q = log_terms[pick] - total
            log_target = log_m - log_q + model.log_potential(new) - here + model.log_future(new)
            weight += log_increment(log_target, value)
            tokens, value = new, model.log_future(new)
        assert weight == pytest.approx(model.log_z, abs=1e-9)


TRUTH = json.loads(
    """{"C1": [0.6792068592696321, 0.878104714], "C2": [-3.610477844353409, 0.5536036294],
        "C3": [-0.7978104718801186, 0.3798445598]}"""
)


@pytest.mark.parametrize(
    ("case", "model"),
    [
        ("C1", Model("C1", mod_logits(4), 4, 6, 2, log_psi=soft)),
        ("C2", Model("C2", mod_logits(4, -1.0), 4, 6, 2, target="powered", log_psi=soft)),
        ("C3", Model("C3", mod_logits(4), 4, 6, 2, kind="terminal", log_psi=sum_is_multiple_of_three)),
    ],
)
def test_the_enumerator_reproduces_answers_that_were_worked_out_elsewhere(case, model):
    log_z, first_is_two = TRUTH[case]
    assert model.log_z == pytest.approx(log_z, abs=1e-12)
    assert sum(p for x, p in model.posterior.items() if x[0] == 2) == pytest.approx(first_is_two, abs=1e-9)


def test_targets_say_what_they_need_of_the_engine():
    tempered, powered = TARGETS["tempered"], TARGETS["powered"]
    assert tempered.needs_log_z
    assert tempered.normalised
    assert not powered.needs_log_z
    assert not powered.normalised


def test_a_registered_target_is_drawn_from():
    """m = p^(alpha/2): a target of one's own, known by its name."""
    TARGETS.register("halved")(Target(lambda alpha, p, z: 0.5 * alpha * sum(p), normalised=False, needs_log_z=False))
    try:
        config = SMCConfig(target="halved", alpha=2.0, n_particles=400, block_size=1, max_tokens=1)
        engine = TableEngine(lambda tokens: np.log([0.7, 0.2, 0.1]), 3, None)
        result = sample_sync(engine, (), None, config, seed=0)
        shares = [sum(p.weight for p in result.particles if p.token_ids == (v,)) for v in range(3)]
        assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.08)
    finally:
        TARGETS.remove("halved")
