"""How many particles a run draws, and in what blocks, where the request leaves that open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smc_decode.config import Bridge, Lookahead, Rejuvenation, SMCConfig
from smc_decode.presets import Preset

_BLOCK_OF_ONE = 16
"""Tokens of a block where blocks are nothing but how often a stream has news."""
_OF_A_POPULATION = frozenset(
    {
        "n_particles", "lookahead", "rejuvenation", "bridge", "n_sweeps", "first_pass_size", "resampling",
        "ess_threshold", "selection", "extractor",
    }
)  # fmt: skip


def least_population(values: Mapping[str, Any], preset: Preset, wanted: int) -> dict[str, Any]:
    """At least ``wanted`` particles, unless the request sets their number itself."""
    usual = preset.values.get("n_particles", SMCConfig.model_fields["n_particles"].default)
    return {"n_particles": wanted} if "n_particles" not in values and wanted > usual else {}


def without_idle_particles(config: SMCConfig, wanted: int, own: Mapping[str, Any], warnings: list[str]) -> SMCConfig:
    """Of a run without a reward: ``wanted`` particles where all weights are equal and further ones would be idle.

    A request that says itself what its population does (``own``, its fields of ``smc``) is left as it is.
    """
    if config.n_particles <= wanted or _OF_A_POPULATION & own.keys() or not _weights_are_equal(config):
        return config
    drawn = "1 particle was" if wanted == 1 else f"{wanted} particles were"
    warnings.append(
        f"without a reward all weights are equal at this alpha, so that {drawn} drawn and not {config.n_particles}: "
        "set smc.reward, or another alpha"
    )
    update: dict[str, Any] = {
        "n_particles": wanted,
        "target": "tempered",  # at alpha 1 the same law as the powered one
        "lookahead": Lookahead(),
        "rejuvenation": Rejuvenation(),
        "bridge": Bridge(),
        "n_sweeps": 1,
        "first_pass_size": None,
        "selection": "sample",
    }
    if "block_size" not in own:
        update["block_size"] = config.max_tokens
    return config.model_copy(update=update)


def with_news(config: SMCConfig) -> SMCConfig:
    """Shorter blocks for a single particle, so that a stream has news of it; its law is the same at any size.

    Streamed or not, such a run has the same blocks, so that a seed gives the same text.
    """
    plain = not config.lookahead.rollouts and not config.rejuvenation.steps and config.n_sweeps == 1
    if config.n_particles > 1 or not plain or config.bridge.alpha or config.bridge.reward:
        return config
    return config.model_copy(update={"block_size": min(_BLOCK_OF_ONE, config.max_tokens)})


def _weights_are_equal(config: SMCConfig) -> bool:
    """Whether every increment is 0 without a reward; a vote needs its population all the same."""
    if config.selection == "vote" or config.temperature == 0.0 or not config.locally_matched:
        return False
    # p^alpha is its own normalisation at alpha 1, unless its support is cut.
    return config.target == "tempered" or (config.alpha == 1.0 and not config.shaping.truncates)
