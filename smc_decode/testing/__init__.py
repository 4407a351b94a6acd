"""Contract checkers for engines and potentials of one's own; the project's tests run them on every one of its own."""

from smc_decode.testing.contract import ContractError, Report
from smc_decode.testing.engines import check_engine
from smc_decode.testing.potentials import check_potential

__all__ = ["ContractError", "Report", "check_engine", "check_potential"]
