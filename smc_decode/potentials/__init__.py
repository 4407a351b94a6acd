"""Potentials and reward sources. See docs/rewards.md. Importing this imports no kind of source, and so none of what
they need (HTTP clients, SymPy, engines)."""

from smc_decode.potentials.base import (
    Evaluation,
    Potential,
    PotentialError,
    PotentialFault,
    PotentialKind,
    Prefix,
    Reward,
    RewardFailure,
    RewardPotential,
    RewardSource,
)
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.declaration import Context, Kind, Resources
from smc_decode.potentials.function import FunctionPotential, FunctionReward
from smc_decode.potentials.guard import RewardGuard
from smc_decode.potentials.kinds import KINDS
from smc_decode.potentials.offers import RewardInfo
from smc_decode.potentials.options import MissingExtra, Options, RewardConfigError, RewardRequest, RewardRequestError

__all__ = [
    "KINDS",
    "Context",
    "Evaluation",
    "FunctionPotential",
    "FunctionReward",
    "Kind",
    "MissingExtra",
    "Options",
    "Potential",
    "PotentialError",
    "PotentialFault",
    "PotentialKind",
    "Prefix",
    "Resources",
    "Reward",
    "RewardCatalogue",
    "RewardConfigError",
    "RewardFailure",
    "RewardGuard",
    "RewardInfo",
    "RewardPotential",
    "RewardRequest",
    "RewardRequestError",
    "RewardSource",
]
