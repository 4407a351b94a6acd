"""Which model a reward asks: the generator, one that was handed in, one on a server, or one that is loaded here."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from smc_decode.potentials.declaration import Context, Loadable, Resources
from smc_decode.potentials.models.judge_models import JudgeModel, load_here, reach
from smc_decode.potentials.models.judges import HostOptions, LabelModel, ModelOptions, RewardModel
from smc_decode.potentials.models.local_models import LocalRewardModel, PoolingTask

if TYPE_CHECKING:
    from smc_decode.potentials.models.verifier import VerifierOptions

HOST = ("model", "url", "api_key_env", "timeout", "engine")
"""The options of HostOptions and ``model``, which no request may ever set."""


def reward_model(
    context: Context, options: ModelOptions, task: PoolingTask, step: str | None, logits: bool = False
) -> RewardModel:
    """The model that ``options`` name: one that was handed in, a remote one, or one that is loaded at the start or
    when it is first used. ``step``: the token that stands after each step."""
    given: RewardModel | None = context.resources.models.get(options.model)
    if given is not None:
        return given

    def make() -> RewardModel:
        if options.url is not None:
            from smc_decode.potentials.models.remote_models import RemoteRewardModel

            return RemoteRewardModel(
                options.url, options.model, api_key_env=options.api_key_env, logits=logits, timeout=options.timeout
            )
        return LocalRewardModel(options.model, task, step, logits=logits, **options.engine)

    model: RewardModel = context.common((task, step, logits, options.model, *_host(options)), make)
    return model


def judge(context: Context, options: VerifierOptions) -> LabelModel:
    """The generator, a model that was handed in, or one that ``RewardCatalogue.start`` loads."""
    if options.model is None:
        generator: LabelModel = context.resources.engine
        return generator
    given: LabelModel | None = context.resources.models.get(options.model)
    if given is not None:
        return given
    name, url, settings = options.model, options.url, dict(options.engine)

    def make() -> JudgeModel:
        if url is None:
            return JudgeModel(name, lambda: load_here(name, settings))
        there = {**settings, "api_key_env": options.api_key_env, "timeout": options.timeout}
        return JudgeModel(f"{name} at {url}", lambda: reach(name, url, there))

    found: LabelModel = context.common(("judge", name, *_host(options)), make)
    return found


def to_load(model: RewardModel | LabelModel) -> Loadable | None:
    """The model, if it is one of ours that is loaded here or reached first."""
    return model if isinstance(model, (LocalRewardModel, JudgeModel)) else None


def no_engine(resources: Resources, options: Mapping[str, Any]) -> str:
    """``missing`` of what asks the generator."""
    if resources.engine is None:
        return "no engine is running"
    return "" if resources.engine.info.labels else "the engine gives no log-probabilities of labels"


def no_model(resources: Resources, options: Mapping[str, Any]) -> str:
    """``missing`` of what asks a model beside the generator."""
    model, url, key = options.get("model"), options.get("url"), options.get("api_key_env")
    if not model:
        return "the operator has named no model (model = ...)"
    if key and key not in os.environ:
        return f"the environment variable {key} is not set"
    if model in resources.models or url or find_spec("vllm") is not None:
        return ""
    return "needs vLLM, or the url of a vLLM server"


def _host(options: HostOptions) -> tuple[Hashable, ...]:
    """What tells two engines of one model apart."""
    settings = json.dumps(options.engine, sort_keys=True, default=str)
    return (settings,) if options.url is None else (settings, options.url, options.api_key_env, options.timeout)
