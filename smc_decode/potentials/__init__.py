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
from smc_decode.potentials.catalogue import RewardCatalogue, RewardInfo
from smc_decode.potentials.function import FunctionPotential
from smc_decode.potentials.options import MissingExtra, RewardConfigError, RewardRequest, RewardRequestError

__all__ = [
    "Evaluation",
    "FunctionPotential",
    "MissingExtra",
    "Potential",
    "PotentialError",
    "Prefix",
    "Reward",
    "RewardCatalogue",
    "RewardConfigError",
    "RewardFailure",
    "RewardInfo",
    "RewardPotential",
    "RewardRequest",
    "RewardRequestError",
    "RewardSource",
]
