"""How far a target is raised in one step, by itself: levels and weights in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest

from smc_decode.engines.base import LiveSequence
from smc_decode.laws.weights import effective_sample_size
from smc_decode.sampler.state import Extension, LiveParticle, State
from smc_decode.sampler.tempering import Tempering
from smc_decode.sampler.trajectory import Trajectory
from tests.enumeration import MODELS
from tests.harness import context_of

HELD = LiveSequence([])


def tempering(n, ess=0.5):
    return Tempering(context_of(MODELS["tempered-eos-product"], bridge={"reward": True, "ess": ess}, n_particles=n))


def pairs(*log_potentials, log_weights=None):
    """Particles of weight one (or these), at level 0, with extensions of these potentials."""
    log_weights = log_weights or [0.0] * len(log_potentials)
    paths = [Trajectory((i,), (-1.0,), (-1.0,), log_potential=value) for i, value in enumerate(log_potentials)]
    return [
        (LiveParticle(path, HELD, log_weight), Extension(path, HELD))
        for path, log_weight in zip(paths, log_weights, strict=True)
    ]


def test_the_level_is_the_highest_that_leaves_the_effective_size_that_is_asked_for():
    """The weights at level b are those of before times psi^b."""
    log_potentials, log_weights = np.array([0.0, 4.0, -9.0, 2.0]), np.array([0.0, 0.5, -0.25, 0.125])
    level = tempering(4).level_for(0.0, pairs(*log_potentials, log_weights=log_weights.tolist()))
    assert 0.0 < level < 1.0
    assert effective_sample_size(log_weights + level * log_potentials) == pytest.approx(2.0)


def test_what_is_dead_or_dropped_has_no_part_in_it_but_counts_as_a_particle():
    """Two of four are left, at equal weights: half of the number, at any level; and less than that of five."""
    population = pairs(3.0, 3.0, 0.0, 90.0)
    population[2] = (population[2][0].dead(), population[2][1])
    population[3] = (population[3][0], replace(population[3][1], dropped=True))
    assert tempering(4).level_for(0.25, population) == 1.0
    assert tempering(5).level_for(0.25, population) == pytest.approx(0.25)


def test_a_target_that_is_raised_or_of_what_is_not_scored_stays_where_it_is():
    assert tempering(2).level_for(1.0, pairs(0.0, 90.0)) == 1.0
    assert tempering(2).level_for(0.25, pairs(0.0, None)) == 0.25


def test_at_its_target_a_population_is_not_weighed_to_find_the_level(monkeypatch):
    asked = []
    monkeypatch.setattr(Tempering, "_log_weight", lambda *arguments: asked.append(arguments) or 0.0)
    tempering(2).level_for(1.0, pairs(0.0, 90.0))
    assert not asked


def test_what_is_dead_is_not_weighed_anew():
    dead = pairs(1.0)[0][0].dead()
    assert tempering(1).reweighed(dead, 0.5) is dead


def test_a_population_at_its_end_is_raised_step_by_step_and_at_once_where_no_step_is_small_enough():
    """Of two weights, psi^b apart, an ESS of 1.9 bears a ratio of 1.595: log psi of 10, 1,000 and 100,000."""
    for log_potential, rise in [(10.0, 0.0467145), (1000.0, 0.000467145), (100_000.0, None)]:
        state = State(tuple(particle for particle, _ in pairs(0.0, log_potential)), level=0.0)
        raised = tempering(2, ess=0.95).raised_further(state)
        level = 1.0 if rise is None else raised.level
        assert rise is None or level == pytest.approx(rise, rel=1e-3)
        assert raised.level == level
        assert raised.log_weights == pytest.approx([0.0, level * log_potential])
        assert [particle.log_importance for particle in raised.particles] == pytest.approx([0.0, level * log_potential])


def test_a_rise_is_counted_from_where_the_target_is():
    """At a half already, and a long way from the next step that bears it: the last one goes to the end."""
    particles = tuple(replace(p, log_importance=0.5 * v) for (p, _), v in zip(pairs(0.0, 1e5), (0.0, 1e5), strict=True))
    raised = tempering(2, ess=0.95).raised_further(State(particles, level=0.5))
    assert raised.level == 1.0
    assert raised.log_weights == pytest.approx([0.0, 0.5e5])


def test_raising_keeps_the_stored_lookahead_in_the_importance():
    [(particle, _)] = pairs(2.0)
    raised = tempering(1).raised_to(State((replace(particle, log_value=0.25, log_importance=0.25),)), 0.5)
    assert raised.particles[0].log_importance == pytest.approx(1.25)
    assert raised.particles[0].log_weight == pytest.approx(1.0)
    assert raised.level == 0.5
    assert math.isfinite(raised.log_mean)
