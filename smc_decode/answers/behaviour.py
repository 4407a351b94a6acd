"""Programs are equal where they do the same: what the reward saw them return, else their syntax."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from smc_decode.result import Particle


def behaviours(particles: Sequence[Particle]) -> dict[tuple[int, ...], Hashable]:
    """By token ids, what the reward saw the programs among ``particles`` do on further inputs
    (``potentials.code.probes``); those that were not seen are left out."""
    seen = {particle.token_ids: particle.detail.get("behaviour") for particle in particles}
    return {token_ids: ("does", behaviour) for token_ids, behaviour in seen.items() if behaviour}
