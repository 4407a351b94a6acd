"""Potentials and reward sources. See docs/rewards.md."""

from smc_decode.potentials.base import (
    Evaluation,
    Potential,
    PotentialError,
    Prefix,
    Reward,
    RewardFailure,
    RewardPotential,
    RewardSource,
)
from smc_decode.potentials.function import FunctionPotential

__all__ = [
    "Evaluation",
    "FunctionPotential",
    "Potential",
    "PotentialError",
    "Prefix",
    "Reward",
    "RewardFailure",
    "RewardPotential",
    "RewardSource",
]
