"""What a request's ``temperature`` sets.

t > 0 is alpha = 1/t. 0 is greedy decoding with one particle, where it can be meant: many clients send 0 unasked, and a
client that named a preset or a reward asked for something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smc_decode.config import SMCConfig
from smc_decode.presets import Preset

from ..errors import invalid

_MIN_TEMPERATURE = 0.01  # below it the powers of p overflow; vLLM's value
_TRUNCATIONS = ("top_p", "top_k", "min_p")
_NOT_GREEDY = (
    "n_particles", "proposal_temperature", "lookahead", "rejuvenation", "bridge", "n_sweeps", "first_pass_size",
    "selection",
)  # fmt: skip
GREEDY: Mapping[str, Any] = {
    "n_particles": 1,
    "target": "tempered",
    "alpha": 1.0,
    "proposal_temperature": 0.0,
    "lookahead": {"rollouts": 0, "min_rollouts": None, "early_stop": None},
    "rejuvenation": {"steps": 0},
    "bridge": {"alpha": False, "reward": False},
    "n_sweeps": 1,
    "first_pass_size": None,
    "selection": "sample",
}


def with_temperature(
    values: Mapping[str, Any],
    temperature: float | None,
    own: Mapping[str, Any],
    preset: Preset,
    *,
    named: bool,
    guided: bool,
    warnings: list[str],
) -> dict[str, Any]:
    """``values`` with what ``temperature`` sets of SMCConfig. ``smc.alpha`` goes before it.

    ``own``: SMCConfig fields of ``smc``. ``named``: the client itself named the preset; ``guided``: or a reward.
    Raises APIError (400): 0 beside fields that greedy decoding has no place for.
    """
    if temperature is None or "alpha" in own:
        return dict(values)
    if temperature > 0:
        if temperature < _MIN_TEMPERATURE:
            warnings.append(f"temperature {temperature:g} was raised to {_MIN_TEMPERATURE}; 0 is greedy decoding")
        return {**values, "alpha": 1.0 / max(temperature, _MIN_TEMPERATURE)}
    if guided or (named and not _is_one_sample(preset)):
        alpha = preset.values.get("alpha", SMCConfig.model_fields["alpha"].default)
        asked = f"preset {preset.name!r}" if named else "a reward"
        warnings.append(
            f"temperature 0 is greedy decoding with one particle, which is not what {asked} asks for: alpha is the "
            f"preset's own, {alpha:g}; leave temperature out, or set smc.alpha"
        )
        return dict(values)
    for key in _NOT_GREEDY:
        if key in own and own[key] not in (1, None):
            raise invalid(
                f"temperature 0 is greedy decoding with one particle, which leaves no place for smc.{key}: leave "
                "temperature out, set smc.alpha, or name a preset, whose alpha then holds",
                f"smc.{key}",
            )
    # The likeliest token is never cut.
    return {**{key: value for key, value in values.items() if key not in _TRUNCATIONS}, **GREEDY}


def _is_one_sample(preset: Preset) -> bool:
    """Whether the preset is plain sampling, of which greedy decoding is the limit at temperature 0."""
    return preset.values.get("n_particles") == 1 and "rejuvenation" not in preset.values
