"""Asking a potential, its own or a user's, so that nothing but typed errors and usable numbers come back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from smc_decode.engines.base import EngineError
from smc_decode.potentials.base import (
    Evaluation,
    Potential,
    PotentialError,
    PotentialFault,
    Prefix,
    RewardFailure,
    check_log_value,
    name_of,
    number,
)
from smc_decode.potentials.options import MissingExtra, RewardConfigError, RewardRequestError

TYPED = (PotentialError, RewardFailure, RewardConfigError, RewardRequestError, MissingExtra, EngineError)
"""What potentials may raise; whoever asked knows what to do about each."""


async def ask(potential: Potential, batch: Sequence[Prefix]) -> list[Evaluation]:
    """One evaluation per prefix, in order, with log-values that are finite or -inf.

    Raises:
        PotentialError: the potential gave something else; the message names it.
        PotentialFault: it raised; its error is the cause.
        RewardFailure, EngineError and so on, as the potential raised them.
    """
    who = f"potential {name_of(potential)!r}"
    with blaming(who):
        evaluations = await potential.evaluate(batch)
        if not isinstance(evaluations, Sequence) or len(evaluations) != len(batch):
            got = len(evaluations) if isinstance(evaluations, Sequence) else f"{evaluations!r:.100}, no list of"
            raise PotentialError(f"{who} gave {got} values for {len(batch)} prefixes")
        for evaluation in evaluations:
            _check(evaluation, who)
    return list(evaluations)


@contextmanager
def blaming(who: str) -> Iterator[None]:
    """What a user's code raises becomes a PotentialFault that says whose it was; typed errors pass.

    ``exit()`` in a reward counts as an error like others: it must not end the server.
    """
    try:
        yield
    except TYPED:
        raise
    except (Exception, SystemExit) as error:
        raise PotentialFault(f"{who} raised {type(error).__name__}: {error}") from error


def _check(evaluation: object, who: str) -> None:
    if not isinstance(evaluation, Evaluation):
        raise PotentialError(f"{who} gave {evaluation!r:.100}, which is no Evaluation")
    check_log_value(evaluation.log_value, who)
    reward = evaluation.reward
    if reward is not None and (math.isnan(number(reward, who, "a reward is a number")) or reward == math.inf):
        raise PotentialError(f"{who} shows the reward {reward}: it must be finite or -inf")
    if math.isnan(number(evaluation.at_most, who, "at_most is a number")):
        raise PotentialError(f"{who} gave nan for at_most")
