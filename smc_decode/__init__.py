"""Reward-guided Sequential Monte Carlo decoding. Importing this package imports neither torch nor vllm."""

from smc_decode.config import Bridge, Lookahead, Rejuvenation, SMCConfig
from smc_decode.errors import AllParticlesDead, SMCError
from smc_decode.moved import LIBRARY
from smc_decode.presets import PRESETS, preset
from smc_decode.result import Particle, SMCResult, Usage
from smc_decode.sampler.run import run, sample, sample_sync

LIBRARY.install()

__all__ = [
    "PRESETS",
    "AllParticlesDead",
    "Bridge",
    "Lookahead",
    "Particle",
    "Rejuvenation",
    "SMCConfig",
    "SMCError",
    "SMCResult",
    "Usage",
    "preset",
    "run",
    "sample",
    "sample_sync",
]
