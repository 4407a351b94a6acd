"""From a request's fields to what the sampler is asked: SMCConfig, reward, seed and number of draws.

Precedence, lowest first: preset, standard fields, ``smc``. A field that cannot be honoured is a 400; what had to
give way to keep an ordinary client working is a warning in the answer.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from server.openai.body import explain
from server.openai.errors import invalid
from server.openai.protocol import ChatBody, CompletionBody, RewardChoice, SamplingBody, SMCFields
from server.runs.presets import OfferedPreset
from server.runs.reward_guard import RewardGuard
from smc_decode.config import SMCConfig
from smc_decode.potentials.base import Potential
from smc_decode.potentials.options import RewardRequest
from smc_decode.presets import merge

if TYPE_CHECKING:
    from server.runs.services import Services

_BLOCK_OF_ONE = 16
"""Tokens of a block where blocks are nothing but how often a stream has news."""
_LEAST_TEMPERATURE = 0.01  # below it the powers of p overflow; vLLM's value
_GREEDY_OWN = (
    "n_particles", "proposal_temperature", "lookahead", "rejuvenation", "bridge", "n_sweeps", "first_pass", "selection",
)  # fmt: skip
_REWEIGHTING = (
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "min_tokens",
    "ignore_eos",
)
_ALLOWED = sorted({*SMCFields.model_fields, *SMCConfig.model_fields})


@dataclass(frozen=True)
class Prompt:
    """What is to be continued, as tokens and as the text that rewards read."""

    token_ids: tuple[int, ...]
    text: str
    messages: Sequence[Mapping[str, Any]] | None = None
    name: str = "prompt"
    """The field that errors name."""
    continues: bool = False
    """The answer goes on with the last message."""


@dataclass(frozen=True)
class Orders:
    """What a request asks of every one of its prompts, before the prompts are looked at."""

    preset: OfferedPreset
    fields: SMCFields
    values: Mapping[str, Any]
    """SMCConfig fields of the standard part of the request and of ``smc``."""
    reward: RewardChoice | None
    n: int
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """One prompt's run."""

    prompt: Prompt
    config: SMCConfig
    potential: Potential | None
    guard: RewardGuard | None
    seed: int
    n: int
    preset: str
    warnings: tuple[str, ...]

    @property
    def slots(self) -> int:
        """Sequences that the engine holds for this run at a time."""
        return self.config.n_particles * max(1, self.config.lookahead.rollouts)


def read_orders(services: Services, body: SamplingBody, grammar: Mapping[str, Any] | None = None) -> Orders:
    """Check all that does not depend on the prompt. Raises APIError (400, 404)."""
    named = services.presets.of_model(body.model)
    fields, own = _split_smc(body.smc or {})
    preset = named or services.presets.get(services.presets.default)
    if fields.preset is not None:
        preset = services.presets.get(fields.preset)
        if named is not None and named.name != preset.name:
            raise invalid(
                f"the model asks for preset {named.name!r} and smc.preset for {preset.name!r}: give one of them",
                "smc.preset",
            )
    reward = fields.reward
    if reward is None and preset.reward is not None and (body.smc or {}).get("reward", ...) is not None:
        reward = RewardChoice.model_validate(dict(preset.reward))
    warnings: list[str] = []
    values = dict(_standard(body, services))
    if grammar is not None:
        values["grammar"] = dict(grammar)
    values.update(_temperature(body, own, values, warnings))
    values = merge(values, own)
    values = merge(values, _population(body, values, preset))
    values.update(_bearing_target(values, preset, reward is not None, warnings))
    uses_reward = preset.preset.uses_reward and preset.preset.without_reward is None
    if reward is None and uses_reward and preset.name != "base":
        warnings.append(f"preset {preset.name!r} is made for a reward and has none here: set smc.reward")
    seed = secrets.randbits(53) if body.seed is None else body.seed
    return Orders(preset, fields, values, reward, body.draws, seed, tuple(warnings))


async def make_plan(services: Services, orders: Orders, prompt: Prompt, *, local: bool) -> Plan:
    """The run of one prompt. Raises APIError (400) or RewardRequestError."""
    warnings = list(orders.warnings)
    values = dict(orders.values)
    values["max_tokens"] = _max_tokens(services, orders, prompt, warnings)
    has_reward = orders.reward is not None
    try:
        config = orders.preset.preset.config(reward=has_reward, **values)
    except ValidationError as error:
        raise explain(error, SMCConfig, "smc") from None
    chosen = "block_size" in values or "block_size" in orders.preset.preset.values
    if not has_reward and not chosen and _blocks_are_free(config):
        config = config.model_copy(update={"block_size": min(_BLOCK_OF_ONE, config.max_tokens)})
    if config.n_particles > services.settings.max_particles:
        raise invalid(
            f"smc.n_particles: {config.n_particles} is more than this server's limit of "
            f"{services.settings.max_particles}",
            "smc.n_particles",
        )
    potential: Potential | None = None
    guard: RewardGuard | None = None
    if orders.reward is not None:
        potential = await _build_reward(services, orders.reward, config, prompt, local)
        policy = orders.reward.on_failure or services.settings.reward_failure
        if policy != "fail":
            potential = guard = RewardGuard(potential, policy)
    return Plan(
        prompt=prompt,
        config=config,
        potential=potential,
        guard=guard,
        seed=orders.seed % 2**64,
        n=orders.n,
        preset=orders.preset.name,
        warnings=tuple(warnings),
    )


def _blocks_are_free(config: SMCConfig) -> bool:
    """Whether the law is the same at any block size: a single particle without rollouts, moves or a bridge.

    Streamed or not, such a run has the same blocks, so that a seed gives the same text.
    """
    plain = not config.lookahead.rollouts and not config.rejuvenation.steps and config.n_sweeps == 1
    return config.n_particles == 1 and plain and not (config.bridge.alpha or config.bridge.reward)


def _split_smc(smc: Mapping[str, Any]) -> tuple[SMCFields, dict[str, Any]]:
    """The server's own fields of ``smc``, and those of SMCConfig."""
    for key in smc:
        if key not in _ALLOWED:
            raise invalid(f"smc.{key} is not known; allowed: {', '.join(_ALLOWED)}", f"smc.{key}", "unknown_field")
    try:
        fields = SMCFields.model_validate({key: v for key, v in smc.items() if key in SMCFields.model_fields})
    except ValidationError as error:
        raise explain(error, SMCFields, "smc") from None
    return fields, {key: v for key, v in smc.items() if key in SMCConfig.model_fields}


def _standard(body: SamplingBody, services: Services) -> Mapping[str, Any]:
    """The standard fields that are SMCConfig fields under the same meaning."""
    values: dict[str, Any] = {
        "max_tokens": body.max_tokens or None,
        # Nothing but the likeliest token is what OpenAI's 0 means.
        "top_p": 1e-6 if body.top_p == 0 else body.top_p,
        "top_k": None if body.top_k is None else max(body.top_k, 0),
        "min_p": body.min_p,
        "repetition_penalty": body.repetition_penalty,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "logit_bias": _logit_bias(body, services),
        "min_tokens": body.min_tokens,
        "ignore_eos": body.ignore_eos,
        "stop": list(body.stop_strings) or None,
        "stop_token_ids": body.stop_token_ids or None,
    }
    if isinstance(body, ChatBody) and body.max_completion_tokens is not None:
        values["max_tokens"] = body.max_completion_tokens
    for token_id in body.stop_token_ids or ():
        _check_token(token_id, services, "stop_token_ids")
    return {key: value for key, value in values.items() if value is not None}


def _logit_bias(body: SamplingBody, services: Services) -> dict[int, float] | None:
    if not body.logit_bias:
        return None
    bias = {}
    for key, value in body.logit_bias.items():
        if not (key.isascii() and key.isdigit()):
            raise invalid(f"logit_bias: {key!r} is not a token id: keys are whole numbers in quotes", "logit_bias")
        _check_token(int(key), services, "logit_bias")
        bias[int(key)] = float(value)
    return bias


def _check_token(token_id: int, services: Services, param: str) -> None:
    size = services.engine.info.vocab_size
    if token_id >= size:
        raise invalid(f"{param}: token {token_id} is outside the model's vocabulary of {size}", param)


def _temperature(
    body: SamplingBody, own: Mapping[str, Any], values: dict[str, Any], warnings: list[str]
) -> dict[str, Any]:
    """alpha = 1/temperature, or greedy decoding with one particle at 0. ``smc.alpha`` goes before."""
    temperature = body.temperature
    if temperature is None or "alpha" in own:
        return {}
    if temperature > 0:
        if temperature < _LEAST_TEMPERATURE:
            warnings.append(f"temperature {temperature:g} was raised to {_LEAST_TEMPERATURE}; 0 is greedy decoding")
        return {"alpha": 1.0 / max(temperature, _LEAST_TEMPERATURE)}
    for key in _GREEDY_OWN:
        if key in own and own[key] not in (1, None):
            raise invalid(
                f"temperature 0 is greedy decoding with one particle, which leaves no place for smc.{key}: leave "
                "temperature out, or set smc.alpha",
                f"smc.{key}",
            )
    for key in ("top_p", "top_k", "min_p"):
        values.pop(key, None)  # the likeliest token is never cut
    return {
        "n_particles": 1,
        "target": "tempered",
        "alpha": 1.0,
        "proposal_temperature": 0.0,
        "lookahead": {"rollouts": 0, "min_rollouts": None, "early_stop": None},
        "rejuvenation": {"steps": 0},
        "bridge": {"alpha": False, "reward": False},
        "n_sweeps": 1,
        "first_pass": None,
        "selection": "sample",
    }


def _population(body: SamplingBody, values: Mapping[str, Any], preset: OfferedPreset) -> dict[str, Any]:
    """At least ``n`` and ``best_of`` particles, unless the request sets their number itself."""
    if "n_particles" in values:
        return {}
    wanted = max(body.draws, (body.best_of or 1) if isinstance(body, CompletionBody) else 1)
    usual = preset.preset.values.get("n_particles", SMCConfig.model_fields["n_particles"].default)
    return {"n_particles": wanted} if wanted > usual else {}


def _bearing_target(
    values: Mapping[str, Any], preset: OfferedPreset, has_reward: bool, warnings: list[str]
) -> dict[str, Any]:
    """The tempered target for penalties and biases where a preset, and not the client, chose the powered one."""
    if "target" in values or not any(key in values for key in _REWEIGHTING):
        return {}
    chosen: dict[str, Any] = dict(preset.preset.values)
    if not has_reward:
        chosen |= preset.preset.without_reward or {}
    if chosen.get("target") != "powered":
        return {}
    warnings.append("penalties, biases, min_tokens and ignore_eos need target 'tempered', which was used")
    return {"target": "tempered"}


def _max_tokens(services: Services, orders: Orders, prompt: Prompt, warnings: list[str]) -> int:
    """The request's, the preset's or the server's number, but no more than is left of the context."""
    limit = services.engine.info.max_model_len
    asked = orders.values.get("max_tokens")
    usual = orders.preset.preset.values.get("max_tokens", services.settings.default_max_tokens)
    wanted = usual if asked is None else asked
    if limit is None or not isinstance(wanted, int):
        return wanted  # type: ignore[no-any-return]
    rest = limit - len(prompt.token_ids)
    if rest < 1:
        raise invalid(
            f"the prompt has {len(prompt.token_ids)} tokens, and the model's context of {limit} leaves no place for an "
            "answer: shorten it",
            prompt.name,
            "context_length_exceeded",
        )
    if asked is not None and asked > rest:
        warnings.append(f"max_tokens {asked} was lowered to {rest}, what the prompt leaves of the context of {limit}")
    return min(wanted, rest)


async def _build_reward(
    services: Services, choice: RewardChoice, config: SMCConfig, prompt: Prompt, local: bool
) -> Potential:
    catalogue = services.catalogue
    if catalogue is None:
        raise invalid("this server offers no rewards: leave smc.reward out", "smc.reward")
    request = RewardRequest(prompt.text, prompt.messages, local, prompt.continues)
    # params are client's text, which may take long to read
    potential = await asyncio.to_thread(
        catalogue.build, choice.name, choice.params, reward_scale=config.reward_scale, request=request
    )
    return await potential if inspect.isawaitable(potential) else potential
