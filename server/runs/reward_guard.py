"""An old name: the guard is in the library now."""

from smc_decode.potentials.guard import RewardGuard

__all__ = ["RewardGuard"]
