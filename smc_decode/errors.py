"""Errors of a run that are not the engine's or a potential's."""

from __future__ import annotations


class SMCError(Exception):
    """Base of the sampler's own errors."""


class ExtractorFault(SMCError):
    """An extractor's own code raised something, which is this error's ``__cause__``."""


class AllParticlesDead(SMCError):
    """Every particle has weight zero: nothing that was drawn satisfies the potential. ``log_z`` is -inf."""

    def __init__(self, block: int, n_particles: int) -> None:
        self.log_z = float("-inf")
        self.block = block
        super().__init__(
            f"all {n_particles} particles died at block {block}: the reward gives zero weight to everything that was "
            "drawn. Use more particles, a softer reward (finite penalties), or lookahead with a floor above 0."
        )
