"""Targets as sums over tokens. docs/method.md, sections 2 and 3.

With q_t the proposal at temperature tau and z_t = sum_v p(v)^alpha:

    Target I  ("tempered"):  m_t = p^alpha / z_t
    Target II ("powered"):   m_t = p^alpha

The functions give log prod_t m_t / q_t over the tokens of a sequence. At tau = 1/alpha ("matched") Target I's is
exactly 0 and log z_t = alpha log p - log q needs no second pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smc_decode.registry import Registry

Logs = Sequence[float]


@dataclass(frozen=True, slots=True)
class Target:
    """The token law m_t of a target.

    ``log_m(alpha, logprobs, log_z)``: sum over the tokens of log m_t, from log p and log z_t of each.
    ``normalised``: m_t sums to one and is p^alpha / z_t, so that it is q itself where tau = 1/alpha.
    ``needs_log_z``: ``log_m`` reads ``log_z``.
    """

    log_m: Callable[[float, Logs, Logs], float]
    normalised: bool
    needs_log_z: bool


TARGETS: Registry[Target] = Registry(
    "target", group="smc_decode.targets", valid=lambda thing: isinstance(thing, Target)
)

TEMPERED = TARGETS.register("tempered")(
    Target(lambda alpha, logprobs, log_z: alpha * sum(logprobs) - sum(log_z), normalised=True, needs_log_z=True)
)
POWERED = TARGETS.register("powered")(
    Target(lambda alpha, logprobs, log_z: alpha * sum(logprobs), normalised=False, needs_log_z=False)
)


def log_ratio(
    target: str,
    alpha: float,
    logprobs: Logs,
    proposal_logprobs: Logs,
    log_z: Logs,
    *,
    matched: bool,
) -> float:
    """sum_t [log m_t - log q_t] (docs/method.md, equation 3).

    Args:
        target: a name in :data:`TARGETS`.
        logprobs: log p of each token, raw. proposal_logprobs: log q of each. log_z: log z_t of each, where the target
            needs it.
        matched: q = p^alpha / z.
    """
    law = TARGETS[target]
    if law.normalised and matched:
        return 0.0
    return law.log_m(alpha, logprobs, log_z) - sum(proposal_logprobs)


def matched_log_z(alpha: float, logprobs: Logs, proposal_logprobs: Logs) -> tuple[float, ...]:
    """log z_t = alpha log p(x_t) - log q(x_t), where q is the proposal at temperature 1/alpha."""
    return tuple(alpha * p - q for p, q in zip(logprobs, proposal_logprobs, strict=True))


def log_increment(log_importance: float, previous: float) -> float:
    """log w_k = log gamma_k L_k / q - log gamma_{k-1} L_{k-1} / q; -inf once dead, never NaN."""
    return -math.inf if -math.inf in (log_importance, previous) else log_importance - previous
