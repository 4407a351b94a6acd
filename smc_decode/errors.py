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
        self.n_particles = n_particles
        super().__init__(
            f"all {n_particles} particles died at block {block}: the reward gives zero weight to everything that was "
            "drawn. Use more particles, a softer reward (finite penalties), or lookahead with a floor above 0."
        )


class NoValidDocument(AllParticlesDead):
    """Every document that was drawn breaks the schema that was asked for; ``problem`` is what is wrong with one."""

    def __init__(self, block: int, n_particles: int, problem: str) -> None:
        super().__init__(block, n_particles)
        self.problem = problem
        self.args = (
            f"no document that was drawn keeps to the schema ({problem}): draw more (smc.n_particles), or say in the "
            "messages what the schema wants",
        )
