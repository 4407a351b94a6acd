"""What a contract checker says: the clause that is broken, or which were tried."""

from __future__ import annotations

from dataclasses import dataclass


class ContractError(AssertionError):
    """A clause of a contract does not hold. ``clause`` is its name, as the checker's documentation lists it."""

    def __init__(self, clause: str, message: str) -> None:
        self.clause = clause
        super().__init__(f"{clause}: {message}")


@dataclass(frozen=True, slots=True)
class Report:
    """``tried``: clauses that hold. ``left_out``: clauses that could not be tried, with the reason (an ability that is
    not declared, a request that was refused, a law that is too sure of itself)."""

    tried: tuple[str, ...]
    left_out: dict[str, str]
