"""Known decoders as configurations of the one sampler. docs/method.md, "Presets"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smc_decode.config import SMCConfig


@dataclass(frozen=True, slots=True)
class Preset:
    """``values`` are SMCConfig fields. ``one_block``: the block is max_tokens long, so that nothing is resampled.
    ``uses_reward``: reads the request's reward; ``without_reward`` are the fields that change where there is none."""

    name: str
    description: str
    values: Mapping[str, Any]
    uses_reward: bool = True
    one_block: bool = False
    without_reward: Mapping[str, Any] | None = None

    def config(self, *, reward: bool = True, **overrides: Any) -> SMCConfig:
        """The configuration, with ``overrides`` on top (nested parts are merged).

        Raises pydantic.ValidationError (a ValueError) that names the field.
        """
        values: dict[str, Any] = dict(self.values)
        if not reward and self.without_reward is not None:
            values = merge(values, self.without_reward)
        values = merge(values, overrides)
        if self.one_block and "block_size" not in overrides:
            values["block_size"] = values.get("max_tokens", SMCConfig.model_fields["max_tokens"].default)
        return SMCConfig.model_validate(values)


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``top`` on it; mappings inside are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in top.items():
        if hasattr(value, "model_dump"):
            value = value.model_dump(exclude_unset=True)
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


_ALL = (
    Preset("base", "one sample of the model at temperature 1", {"n_particles": 1}, False, True),
    Preset(
        "low-temperature",
        "one sample at temperature 1/alpha",
        {"n_particles": 1, "alpha": 4.0},
        False,
        True,
    ),
    Preset(
        "best-of-n",
        "N independent samples, the one with the highest reward",
        {"n_particles": 16, "ess_threshold": 0.0, "selection": "best"},
        one_block=True,
    ),
    Preset(
        "self-consistency",
        "N independent samples, majority vote over the extracted answers (Wang et al., arXiv 2203.11171)",
        {"n_particles": 16, "ess_threshold": 0.0, "selection": "vote", "extractor": "boxed"},
        False,
        True,
    ),
    Preset(
        "power-smc",
        "SMC on the powered base distribution p^alpha (arXiv 2602.10273), log Z kept",
        {"target": "powered", "alpha": 4.0, "n_particles": 16},
        False,
    ),
    Preset(
        "mcmc-power",
        "Metropolis-Hastings on p^alpha, one chain (Reasoning with Sampling, arXiv 2510.14901), exact acceptance",
        {
            "target": "powered",
            "alpha": 4.0,
            "n_particles": 1,
            "block_size": 192,
            "rejuvenation": {"steps": 10},
        },
        False,
    ),
    Preset(
        "tempering",
        "replica exchange: chains at a ladder of powers of the model, which swap states without asking the model",
        {
            "target": "powered",
            "alpha": 4.0,
            "n_particles": 4,
            "block_size": 192,
            "ess_threshold": 0.0,
            "rejuvenation": {"steps": 8, "move": "exchange", "rungs": 4, "lowest": 0.25},
        },
    ),
    Preset(
        "smc-reward",
        "prefix-only SMC with the reward as potential, no lookahead and no moves (Lew et al., arXiv 2306.03081)",
        {"n_particles": 16},
    ),
    Preset(
        "paper",
        "arXiv 2604.16453 as published, for code: a heuristic, log Z is not available",
        {
            "n_particles": 16,
            "alpha": 4.0,
            "block_size": 64,
            "max_tokens": 3072,
            "resampling": "multinomial",
            "lookahead": {"rollouts": 2, "temperature": 0.1, "reuse": False},
            "rejuvenation": {"steps": 2, "mode": "paper", "when": "resampled"},
        },
    ),
    Preset(
        "paper-math",
        "arXiv 2604.16453 as published, for mathematics: blocks of 512, rollouts at temperature 0.3",
        {
            "n_particles": 16,
            "alpha": 4.0,
            "block_size": 512,
            "max_tokens": 3072,
            "resampling": "multinomial",
            "lookahead": {"rollouts": 2, "temperature": 0.3, "reuse": False},
            "rejuvenation": {"steps": 2, "mode": "paper", "when": "resampled"},
        },
    ),
    Preset(
        "smc",
        "the default: draws spread evenly, late lookahead, every rollout an answer; without a reward, power sampling",
        {
            "n_particles": 16,
            "alpha": 2.0,
            "block_size": 64,
            "reward_scale": 10.0,
            "proposal_draws": "systematic",
            "lookahead": {"rollouts": 2, "start": 0.75},
        },
        without_reward={
            "target": "powered",
            "lookahead": {"rollouts": 0, "start": 0.0},
            "rejuvenation": {"steps": 1, "every": 4},
        },
    ),
    Preset(
        "parts",
        "for answers whose parts are judged as they end (functions of a module): what fails early is dropped early",
        {
            "n_particles": 16,
            "alpha": 1.5,
            "block_size": 16,
            "reward_scale": 20.0,
            "proposal_draws": "systematic",
        },
    ),
    Preset(
        "search",
        "the fewest tokens to an answer with full reward: growing passes until there is one, else a vote",
        {
            "n_particles": 16,
            "first_pass_size": 1,
            "alpha": 4.0,
            "block_size": 32,
            "ess_threshold": 0.0,
            "reward_scale": 20.0,
            "stop_at_reward": 1.0,
            "selection": "vote",
            "extractor": "behaviour",
        },
        without_reward={"first_pass_size": None, "extractor": "text"},
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _ALL}
DEFAULT_PRESET = "smc"


def preset(name: str, *, reward: bool = True, **overrides: Any) -> SMCConfig:
    """The configuration of a preset. ``reward``: whether the run has one.

    Raises ValueError for an unknown name; the message lists the names.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; allowed: {', '.join(PRESETS)}")
    return PRESETS[name].config(reward=reward, **overrides)
