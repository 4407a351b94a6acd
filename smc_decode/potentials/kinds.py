"""The kinds of source that a catalogue can offer, each with its options and what a request may set by default."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from smc_decode.potentials.base import RewardSource
from smc_decode.potentials.cache import ContentCache
from smc_decode.potentials.models.judge_models import JudgeModel, load_here, reach
from smc_decode.potentials.models.judges import HostOptions, LabelModel, ModelOptions, RewardModel
from smc_decode.potentials.models.local_models import LocalRewardModel, PoolingTask
from smc_decode.potentials.models.remote_models import RemoteRewardModel
from smc_decode.potentials.options import Options, RewardConfigError, RewardRequest
from smc_decode.workers.pool import WorkerPool

if TYPE_CHECKING:
    from smc_decode.potentials.models.verifier import VerifierOptions


@dataclass
class Resources:
    """What sources are made of. ``sandbox`` and ``engine`` are None where there are none, and the reasons say why.

    ``engine`` is the generator. ``engines`` gives named further ones (judges and reward models) once they are loaded.
    """

    sandbox: Any = None
    sandbox_reason: str = "no sandbox is running"
    engine: Any = None
    workers: WorkerPool | None = None
    models: Mapping[str, Any] = field(default_factory=dict)
    allow_client_tests: bool = False

    def worker_pool(self) -> WorkerPool:
        """The worker processes, whose pool is made when it is first needed."""
        if self.workers is None:
            self.workers = WorkerPool()
        return self.workers


@dataclass(frozen=True)
class Context:
    """What a kind gets to make a source: the reward's name, the request, the resources; ``shared`` makes a thing once
    per reward name and keeps it for all requests, ``common`` once for all rewards; ``member`` gives another reward of
    the catalogue by name."""

    name: str
    request: RewardRequest
    resources: Resources
    where: str
    shared: Callable[[str, Callable[[], Any]], Any]
    common: Callable[[Hashable, Callable[[], Any]], Any]
    member: Callable[[str, Mapping[str, Any], str], RewardSource]

    def cache(self) -> ContentCache[Any]:
        found: ContentCache[Any] = self.shared("cache", ContentCache)
        return found

    def reward_model(
        self, options: ModelOptions, task: PoolingTask, step: str | None, logits: bool = False
    ) -> RewardModel:
        """The model that ``options`` name: one that was handed in, a remote one, or one that is loaded at the start or
        when it is first used. ``step``: the token that stands after each step."""
        given: RewardModel | None = self.resources.models.get(options.model)
        if given is not None:
            return given

        def make() -> RewardModel:
            if options.url is not None:
                return RemoteRewardModel(
                    options.url,
                    options.model,
                    api_key_env=options.api_key_env,
                    logits=logits,
                    timeout=options.timeout,
                )
            return LocalRewardModel(options.model, task, step, logits=logits, **options.engine)

        model: RewardModel = self.common((task, step, logits, options.model, *_host(options)), make)
        return model

    def judge(self, options: VerifierOptions) -> LabelModel:
        """The generator, a model that was handed in, or one that :meth:`RewardCatalogue.start` loads."""
        if options.model is None:
            generator: LabelModel = self.resources.engine
            return generator
        given: LabelModel | None = self.resources.models.get(options.model)
        if given is not None:
            return given
        name, url, settings = options.model, options.url, dict(options.engine)

        def make() -> JudgeModel:
            if url is None:
                return JudgeModel(name, lambda: load_here(name, settings))
            there = {**settings, "api_key_env": options.api_key_env, "timeout": options.timeout}
            return JudgeModel(f"{name} at {url}", lambda: reach(name, url, there))

        judge: LabelModel = self.common(("judge", name, *_host(options)), make)
        return judge


def _host(options: HostOptions) -> tuple[Hashable, ...]:
    """What tells two engines of one model apart."""
    settings = json.dumps(options.engine, sort_keys=True, default=str)
    return (settings,) if options.url is None else (settings, options.url, options.api_key_env, options.timeout)


@dataclass(frozen=True)
class Kind:
    """One kind of source.

    ``request_params``: what a request may set unless the operator says otherwise. ``code_params``: those that carry
    code which will be run (``name=value``: that make the request's text such code). ``operator_only``: those that no
    request may ever set. ``missing``: why it cannot work with these resources and operator's options, or ''.
    ``builtin``: offered without configuration. ``model``: the model that its sources ask.
    """

    source: str
    description: str
    options: type[Options]
    create: Callable[[Any, Context], RewardSource]
    request_params: tuple[str, ...] = ()
    code_params: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    operator_only: tuple[str, ...] = ()
    missing: Callable[[Resources, Mapping[str, Any]], str] = lambda resources, options: ""
    builtin: bool = True
    model: Callable[[Any, Context], Any] | None = None

    def unavailable(self, resources: Resources, options: Mapping[str, Any]) -> str:
        """Why this kind does not work here, or ''."""
        absent = [module for module in self.modules if find_spec(module) is None]
        if absent:
            return f"needs {', '.join(absent)}: pip install 'smc-decode[rewards]'"
        return self.missing(resources, options)


def _no_sandbox(resources: Resources, options: Mapping[str, Any]) -> str:
    return "" if resources.sandbox is not None else resources.sandbox_reason


_CODE = ("prompt", "entry_point", "answer", "syntax_weight", "pending", "run_prefixes")


def _unit_tests() -> Kind:
    from smc_decode.potentials.code import unit_tests as module

    return Kind(
        "unit_tests",
        "Share of unit tests passed in the sandbox, and valid syntax (weight 0.3)",
        module.UnitTestOptions,
        lambda options, context: module.create(
            options, context.request, context.resources.sandbox, name=context.name, cache=context.cache()
        ),
        ("test", "tests", *_CODE),
        ("test", "tests", "prompt"),
        missing=_no_sandbox,
    )


def _prompt_examples() -> Kind:
    from smc_decode.potentials.code import prompt_examples as module

    return Kind(
        "prompt_examples",
        "The examples written in the prompt as unit tests; without any, syntax and confidence",
        module.PromptExampleOptions,
        lambda options, context: module.create(
            options, context.request, context.resources.sandbox, name=context.name, cache=context.cache()
        ),
        (*_CODE, "probes"),
        ("prompt",),
        missing=_no_sandbox,
    )


def _confidence() -> Kind:
    from smc_decode.potentials.models import confidence as module

    return Kind(
        "confidence",
        "The model's own confidence: exp of the mean log-probability, of all tokens, the tail or the least sure run",
        module.ConfidenceOptions,
        lambda options, context: module.Confidence(options, name=context.name),
        ("statistic", "window"),
    )


def _stdin_tests() -> Kind:
    from smc_decode.potentials.code import stdin_tests as module

    return Kind(
        "stdin_tests",
        "Share of input/output cases that a program passes in the sandbox, and valid syntax (weight 0.3)",
        module.StdinTestOptions,
        lambda options, context: module.StdinTests(
            options, context.request, context.resources.sandbox, name=context.name, cache=context.cache()
        ),
        ("cases", "answer", "syntax_weight", "pending", "run_prefixes", "tolerance"),
        ("answer=continuation",),
        missing=_no_sandbox,
    )


def _arithmetic() -> Kind:
    from smc_decode.potentials.mathematics import arithmetic as module

    return Kind(
        "arithmetic",
        "Share of the equalities in the worked steps that hold",
        module.ArithmeticOptions,
        lambda options, context: module.Arithmetic(
            context.resources.worker_pool(), options, name=context.name, cache=context.cache()
        ),
        ("empty", "max_equalities"),
        modules=("sympy", "latex2sympy2_extended"),
    )


def _self_consistency() -> Kind:
    from smc_decode.potentials.mixtures import self_consistency as module

    return Kind(
        "self_consistency",
        "Share of the population that reaches the same answer",
        module.SelfConsistencyOptions,
        lambda options, context: module.SelfConsistency(options, name=context.name),
        ("extractor",),
    )


def _json_schema() -> Kind:
    from smc_decode.potentials.text import json_schema as module

    return Kind(
        "json_schema",
        "JSON that meets a schema",
        module.JsonSchemaOptions,
        lambda options, context: module.JsonSchema(options, context.resources.worker_pool(), name=context.name),
        ("schema", "fenced", "syntax_weight", "pending"),
        modules=("jsonschema",),
    )


def _regex() -> Kind:
    from smc_decode.potentials.text import regular_expression as module

    return Kind(
        "regex",
        "A regular expression that the answer matches",
        module.RegularExpressionOptions,
        lambda options, context: module.RegularExpression(options, context.resources.worker_pool(), name=context.name),
        ("pattern", "match", "strip", "pending"),
        modules=("regex",),
    )


def _no_engine(resources: Resources, options: Mapping[str, Any]) -> str:
    if resources.engine is None:
        return "no engine is running"
    return "" if hasattr(resources.engine, "label_logprobs") else "the engine gives no log-probabilities of labels"


def _no_model(resources: Resources, options: Mapping[str, Any]) -> str:
    model, url, key = options.get("model"), options.get("url"), options.get("api_key_env")
    if not model:
        return "the operator has named no model (model = ...)"
    if key and key not in os.environ:
        return f"the environment variable {key} is not set"
    if model in resources.models or url or find_spec("vllm") is not None:
        return ""
    return "needs vLLM, or the url of a vLLM server"


_HOST = ("model", "url", "api_key_env", "timeout", "engine")


def _prm() -> Kind:
    from smc_decode.potentials.models import process_reward as module

    def model(options: module.ProcessRewardOptions, context: Context) -> RewardModel:
        step = options.separator if options.head == "steps" else None
        return context.reward_model(options, "token_classify", step)

    return Kind(
        "prm",
        "A process reward model: a score for each step",
        module.ProcessRewardOptions,
        lambda options, context: module.ProcessReward(
            options, context.request, model(options, context), name=context.name, cache=context.cache()
        ),
        ("aggregate",),
        operator_only=(*_HOST, "template", "head", "separator"),
        missing=_no_model,
        builtin=False,
        model=model,
    )


def _orm() -> Kind:
    from smc_decode.potentials.models import outcome_reward as module

    def model(options: module.OutcomeRewardOptions, context: Context) -> RewardModel:
        return context.reward_model(options, "classify", None, options.scale == "logit")

    return Kind(
        "orm",
        "An outcome reward model: a score for the whole answer",
        module.OutcomeRewardOptions,
        lambda options, context: module.OutcomeReward(
            options, context.request, model(options, context), name=context.name, cache=context.cache()
        ),
        ("judge_prefixes",),
        operator_only=(*_HOST, "template"),
        missing=_no_model,
        builtin=False,
        model=model,
    )


def _verifier() -> Kind:
    from smc_decode.potentials.models import verifier as module

    return Kind(
        "verifier",
        "A language model is asked whether the answer is right: the odds of Yes against No",
        module.VerifierOptions,
        lambda options, context: module.Verifier(
            options, context.request, context.judge(options), name=context.name, cache=context.cache()
        ),
        ("template", "suffix", "layout", "judge_prefixes", "yes", "no"),
        operator_only=_HOST,
        missing=lambda resources, options: (_no_model if options.get("model") else _no_engine)(resources, options),
        model=lambda options, context: context.judge(options),
    )


def _function() -> Kind:
    from smc_decode.potentials.own import entry_point as module

    def missing(resources: Resources, options: Mapping[str, Any]) -> str:
        try:
            module.load(str(options.get("function", "")))
        except RewardConfigError as error:
            return str(error)
        return ""

    return Kind(
        "function",
        "A Python function of the operator's",
        module.EntryPointOptions,
        lambda options, context: module.EntryPoint(
            options,
            context.request,
            context.shared("runner", lambda: module.Runner(options.function, options.parallel)),
            name=context.name,
        ),
        ("params",),
        operator_only=("function", "batched", "cacheable", "parallel"),
        missing=missing,
        builtin=False,
    )


def _http() -> Kind:
    from smc_decode.potentials.own import http as module

    def missing(resources: Resources, options: Mapping[str, Any]) -> str:
        key = options.get("api_key_env")
        return f"the environment variable {key} is not set" if key and key not in os.environ else ""

    return Kind(
        "http",
        "A reward service of the operator's",
        module.HTTPOptions,
        lambda options, context: module.HTTPReward(
            options,
            context.request,
            context.shared("service", lambda: module.RewardService(options)),
            name=context.name,
        ),
        ("params",),
        operator_only=tuple(
            name for name in module.HTTPOptions.model_fields if name not in ("params", "judge_prefixes")
        ),
        missing=missing,
        builtin=False,
    )


def _ensemble() -> Kind:
    from smc_decode.potentials.mixtures import ensemble as module

    return Kind(
        "ensemble",
        "A weighted sum or product of other rewards",
        module.EnsembleOptions,
        lambda options, context: module.create(options, context.member, name=context.name, where=context.where),
        ("members", "combine", "params", "pending"),
        operator_only=("weights",),
    )


_KINDS: tuple[Callable[[], Kind], ...] = (
    _unit_tests,
    _prompt_examples,
    _stdin_tests,
    _arithmetic,
    _confidence,
    _self_consistency,
    _json_schema,
    _regex,
    _prm,
    _orm,
    _verifier,
    _function,
    _http,
    _ensemble,
)


def all_kinds() -> dict[str, Kind]:
    """Every kind by the name that ``source = ...`` gives it."""
    kinds = [make() for make in _KINDS]
    return {kind.source: kind for kind in kinds}


async def close(thing: object) -> None:
    """Close a shared object that can be closed."""
    for name in ("aclose", "close"):
        method = getattr(thing, name, None)
        if callable(method):
            result = method()
            if isinstance(result, Awaitable):
                await result
            return
