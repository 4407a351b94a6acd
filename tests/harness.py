"""Runs of the sampler on enumerable models, and what they add up to."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from smc_decode import AllParticlesDead, SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.passes import Amend
from tests.enumeration import Model, Tokens

RUNS = 750


def engine_of(model: Model) -> TableEngine:
    return TableEngine(model.logprobs, model.vocab_size, model.eos)


def potential_of(model: Model) -> FunctionPotential | None:
    return None if model.log_psi is None else FunctionPotential(model.log_psi, model.kind)


def config_of(model: Model, **settings) -> SMCConfig:
    values = {
        "n_particles": 8,
        "block_size": model.block_size,
        "max_tokens": model.max_tokens,
        "target": model.target,
        "alpha": model.alpha,
        **model.settings,
        **settings,
    }
    return SMCConfig.model_validate(values)


def context_of(model: Model, potential=None, engine: TableEngine | None = None, **settings) -> RunContext:
    """What the parts of a run with these settings share; the model's potential if none is given."""
    config = config_of(model, **settings)
    potential = potential or potential_of(model)
    return RunContext.of(engine or engine_of(model), (), potential, config, seed=0, prompt_text="")


@dataclass(frozen=True)
class Pooled:
    """Z^ / Z of each run, and the population pooled over the runs by Z^ W (shape: sequence -> mass)."""

    ratios: np.ndarray
    masses: dict[Tokens, float]

    @property
    def deviation(self) -> float:
        """How many standard errors the mean of Z^ is from Z."""
        return float((self.ratios.mean() - 1.0) / (self.ratios.std() / math.sqrt(self.ratios.size)))

    @property
    def spread(self) -> float:
        return float(self.ratios.std())

    def distance(self, posterior: dict[Tokens, float]) -> float:
        """Total variation between the pooled population and the exact posterior."""
        keys = set(self.masses) | set(posterior)
        return 0.5 * sum(abs(self.masses.get(k, 0.0) - posterior.get(k, 0.0)) for k in keys)


async def _pool(model: Model, config: SMCConfig, runs: int, amend: Amend | None) -> Pooled:
    engine, potential = engine_of(model), potential_of(model)
    ratios = np.zeros(runs)
    masses: dict[Tokens, float] = defaultdict(float)
    for seed in range(runs):
        try:
            result = await sample(engine, (), potential, config, seed=seed, amend=amend)
        except AllParticlesDead:
            continue
        ratios[seed] = math.exp(result.log_z - model.log_z)
        for particle in result.particles:
            masses[particle.token_ids] += ratios[seed] * particle.weight
    total = sum(masses.values())
    return Pooled(ratios, {key: mass / total for key, mass in masses.items()})


def pool(model: Model, runs: int = RUNS, *, amend: Amend | None = None, **settings) -> Pooled:
    """Runs with the seeds from 0 on. ``amend``: what is changed in the algorithm of each."""
    return asyncio.run(_pool(model, config_of(model, **settings), runs, amend))
