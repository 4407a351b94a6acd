"""Contract checkers for what users write themselves, to be called from their own tests."""

from smc_decode.testing.potentials import check_potential

__all__ = ["check_potential"]
