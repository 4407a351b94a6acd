"""Moves: kernels that leave the current target invariant."""
