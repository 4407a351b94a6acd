"""From a request to what the sampler is asked: SMCConfig, reward, seed and number of draws.

Precedence, lowest first: preset, the protocol's own fields, ``smc``. A field that cannot be honoured is a 400; what had
to give way to keep an ordinary client working is a warning in the answer.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pydantic import ValidationError

from smc_decode.answers.thinking import Thinking
from smc_decode.config import SMCConfig
from smc_decode.engines.base import EngineInfo
from smc_decode.potentials.accounts import Account
from smc_decode.potentials.base import Potential
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.guard import RewardGuard
from smc_decode.potentials.options import RewardRequest, RewardRequestError
from smc_decode.potentials.text.document import ValidDocument
from smc_decode.potentials.text.json_schema import check_schema
from smc_decode.presets import Preset, merge

from ..errors import invalid, too_long, wrong_field
from ..settings import ServerSettings
from .fields import RewardChoice, SMCFields, split_smc
from .population import least_population, with_news, without_idle_particles
from .presets import OfferedPreset, PresetBook
from .request import Prompt, RunRequest
from .temperature import with_temperature

_SCHEMA_SECONDS = 2.0
_REWEIGHTING = (
    "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "min_tokens", "ignore_eos",
)  # fmt: skip


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
    document: ValidDocument | None = None
    """What looks at the documents of a run whose form is a JSON schema; it is in the potential too."""
    thinking: Thinking | None = None
    """How rewards, votes and stop strings take texts apart; None: they look at all of them."""

    @property
    def rewarded(self) -> bool:
        """Whether a reward judges the answers."""
        return self.potential is not None and (self.document is None or self.document.rewarded)

    @property
    def slots(self) -> int:
        """Sequences that the engine holds for this run at a time."""
        return self.config.n_particles * max(1, self.config.lookahead.rollouts)


@dataclass(frozen=True)
class Plans:
    """The runs of one request, in the order of its prompts."""

    runs: tuple[Plan, ...]
    options: SMCFields

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is known to be said before the first run begins, each once."""
        return tuple(dict.fromkeys(warning for plan in self.runs for warning in plan.warnings))


@dataclass(frozen=True)
class _Asked:
    """What a request asks of every one of its prompts."""

    preset: OfferedPreset
    options: SMCFields
    own: Mapping[str, Any]
    values: Mapping[str, Any]
    reward: RewardChoice | None
    n: int
    least: int
    seed: int
    warnings: tuple[str, ...]


class Planner:
    """Plans runs for one engine, with the presets and rewards that are offered."""

    def __init__(
        self, info: EngineInfo, catalogue: RewardCatalogue | None, presets: PresetBook, settings: ServerSettings
    ) -> None:
        self._info = info
        self._catalogue = catalogue
        self._presets = presets
        self._settings = settings

    async def plan(self, request: RunRequest, prompts: Sequence[Prompt], *, local: bool, owner: str = "") -> Plans:
        """A run for each prompt. ``local``: the client is on this machine, and its code may be run. ``owner``: whose
        share of the rewards' processes the runs use.

        Raises APIError (400, 404) or RewardRequestError.
        """
        asked = self._read(request)
        account = self._account(owner)
        runs = [await self._plan_one(asked, prompt, local, account) for prompt in prompts]
        return Plans(tuple(runs), asked.options)

    def check(self, request: RunRequest) -> None:
        """Look at a request that needs no run. Raises APIError (400, 404)."""
        self._read(request)

    async def judge(
        self, model: str, choice: RewardChoice | None, prompt: Prompt, *, local: bool, owner: str, final: bool
    ) -> Potential:
        """The reward that ``choice``, or else the preset of ``model``, names, without a run. ``final``: it looks at the
        answers of a model that thinks aloud, and not at its thoughts. ``owner``: as for :meth:`plan`.

        Raises APIError (400, 404) or RewardRequestError.
        """
        preset, _ = self._preset(model, None)
        if choice is None and preset.reward is not None:
            choice = RewardChoice.model_validate(dict(preset.reward))
        if choice is None:
            raise invalid("reward is needed: give its name, or a model whose preset has one", "reward", "missing_field")
        account = self._account(owner)
        return await self._build_reward(choice, SMCConfig().reward_scale, prompt, local, account, final=final)

    def _account(self, owner: str) -> Account:
        """What pays for the rewards of one request."""
        return Account(owner, self._settings.reward_seconds or None)

    def _read(self, request: RunRequest) -> _Asked:
        """Check all that does not depend on the prompt."""
        warnings: list[str] = []
        options, own = split_smc(request.smc, request.names, warnings)
        preset, named = self._preset(request.model, options.preset)
        reward = options.reward
        if reward is None and preset.reward is not None and request.smc.get("reward", ...) is not None:
            reward = RewardChoice.model_validate(dict(preset.reward))
        values = with_temperature(
            request.values,
            request.temperature,
            own,
            preset.preset,
            named=named,
            guided=options.reward is not None,
            warnings=warnings,
        )
        least = max(request.n, request.at_least)
        values = merge(values, own)
        values = merge(values, least_population(values, preset.preset, least))
        values.update(_bearing_target(values, preset.preset, reward is not None, warnings))
        if reward is None:
            warnings += _missing_reward(preset.preset)
        seed = secrets.randbits(53) if request.seed is None else request.seed
        return _Asked(preset, options, own, values, reward, request.n, least, seed % 2**64, tuple(warnings))

    def _preset(self, model: str, wanted: str | None) -> tuple[OfferedPreset, bool]:
        """The preset, and whether the client named it itself."""
        of_model = self._presets.of_model(model)
        if wanted is None:
            return of_model or self._presets.get(self._presets.default), of_model is not None
        preset = self._presets.get(wanted)
        if of_model is not None and of_model.name != preset.name:
            raise invalid(
                f"the model asks for preset {of_model.name!r} and smc.preset for {preset.name!r}: give one of them",
                "smc.preset",
            )
        return preset, True

    async def _plan_one(self, asked: _Asked, prompt: Prompt, local: bool, account: Account) -> Plan:
        warnings = list(asked.warnings)
        max_tokens = self._max_tokens(asked, prompt, warnings)
        config = self._config(asked, {**asked.values, "max_tokens": max_tokens}, warnings)
        potential: Potential | None = None
        guard: RewardGuard | None = None
        if asked.reward is not None:
            final = asked.options.reads == "final"
            potential = await self._build_reward(asked.reward, config.reward_scale, prompt, local, account, final=final)
            policy = asked.reward.on_failure or self._settings.reward_failure
            if policy != "fail":
                potential = guard = RewardGuard(potential, policy)
        document = await self._document(config, potential, warnings)
        potential = potential if document is None else document
        name = asked.preset.name
        thinking = prompt.thinking if asked.options.reads == "final" else None
        return Plan(prompt, config, potential, guard, asked.seed, asked.n, name, tuple(warnings), document, thinking)

    def _config(self, asked: _Asked, values: Mapping[str, Any], warnings: list[str]) -> SMCConfig:
        preset = asked.preset.preset
        has_reward = asked.reward is not None
        try:
            chosen = preset.config(reward=has_reward, **values)
        except ValidationError as error:
            raise wrong_field(error, SMCConfig, "smc") from None
        config = chosen
        if not has_reward:
            config = without_idle_particles(chosen, asked.least, asked.own, warnings)
            if "block_size" not in values and (config is not chosen or "block_size" not in preset.values):
                config = with_news(config)
        most = self._settings.max_particles
        if config.n_particles > most:
            message = f"smc.n_particles: {config.n_particles} is more than this server's limit of {most}"
            raise invalid(message, "smc.n_particles")
        return config

    def _max_tokens(self, asked: _Asked, prompt: Prompt, warnings: list[str]) -> int:
        """The request's, the preset's or the server's number, but no more than is left of the context."""
        limit = self._info.max_model_len
        given = asked.values.get("max_tokens")
        usual = asked.preset.preset.values.get("max_tokens", self._settings.default_max_tokens)
        wanted: int = usual if given is None else given
        if limit is None or not isinstance(wanted, int):
            return wanted  # what is no number is found wrong with the other fields
        rest = limit - len(prompt.token_ids)
        if rest < 1:
            raise too_long(len(prompt.token_ids), limit, prompt.name)
        if given is not None and given > rest:
            told = f"max_tokens {given} was lowered to {rest}, what the prompt leaves of the context of {limit}"
            warnings.append(told)
        return min(wanted, rest)

    async def _document(
        self, config: SMCConfig, potential: Potential | None, warnings: list[str]
    ) -> ValidDocument | None:
        """The check of a form that is a JSON schema. Raises APIError (400) for what is no schema."""
        schema = _schema_of(config.grammar)
        if schema is None or self._catalogue is None:
            return None
        if find_spec("jsonschema") is None:
            warnings.append("documents are not checked against their schema: pip install 'smc-decode[rewards]'")
            return None
        workers = self._catalogue.resources.worker_pool()
        try:
            await asyncio.to_thread(check_schema, schema, workers, _SCHEMA_SECONDS)
        except RewardRequestError as error:
            raise invalid(str(error).replace(error.param, "the schema"), None) from None
        info = self._info
        return ValidDocument(
            potential,
            schema,
            workers,
            max_tokens=config.max_tokens,
            eos_token_ids=info.eos_token_ids,
            stop=config.stop,
        )

    async def _build_reward(
        self, choice: RewardChoice, scale: float, prompt: Prompt, local: bool, account: Account, *, final: bool
    ) -> Potential:
        if self._catalogue is None:
            raise invalid("this server offers no rewards: leave smc.reward out", "smc.reward")
        request = RewardRequest(
            prompt.text, prompt.messages, local, prompt.continues, prompt.thinking if final else None, account
        )
        # params are a client's text, which may take long to read
        potential = await asyncio.to_thread(
            self._catalogue.build, choice.name, choice.params, reward_scale=scale, request=request
        )
        return await potential if inspect.isawaitable(potential) else potential


def _schema_of(grammar: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The JSON schema of a form, if it is one."""
    schema = None if grammar is None else grammar.get("json_schema")
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise invalid(f"the schema is no JSON: {error}") from None
    return schema if isinstance(schema, dict) else None


def _missing_reward(preset: Preset) -> list[str]:
    if preset.name == "base" or not preset.uses_reward or preset.without_reward is not None:
        return []
    return [f"preset {preset.name!r} is made for a reward and has none here: set smc.reward"]


def _bearing_target(values: Mapping[str, Any], preset: Preset, has_reward: bool, warnings: list[str]) -> dict[str, Any]:
    """The tempered target for penalties and biases where a preset, and not the client, chose the powered one."""
    if "target" in values or not any(key in values for key in _REWEIGHTING):
        return {}
    chosen: dict[str, Any] = dict(preset.values)
    if not has_reward:
        chosen |= preset.without_reward or {}
    if chosen.get("target") != "powered":
        return {}
    warnings.append("penalties, biases, min_tokens and ignore_eos need target 'tempered', which was used")
    return {"target": "tempered"}
