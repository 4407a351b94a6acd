"""Between our messages and vLLM: the parameters that a request becomes, and the reply that its output becomes."""

from __future__ import annotations

from typing import Any

from vllm.pooling_params import PoolingParams
from vllm.sampling_params import RequestOutputKind, SamplingParams

from smc_decode.engines.vllm.inside.merging import Row
from smc_decode.engines.vllm.inside.partial_hits import LIMIT, SOURCE
from smc_decode.engines.vllm.inside.sampler import ARGUMENT
from smc_decode.engines.vllm.messages import Generate, Generated, Pool, Pooled, Reply, Request, Score, Scored


def parameters(request: Request, *, weighs: bool, partial_hits: bool) -> SamplingParams | PoolingParams:
    """``weighs``: our sampler is there; ``partial_hits``: hits within a cache block are."""
    if isinstance(request, Pool):
        return PoolingParams(task=request.task, use_activation=request.activation)
    if isinstance(request, Score):
        return _score_parameters(request, partial_hits)
    return _generate_parameters(request, weighs)


def _generate_parameters(request: Generate, weighs: bool) -> SamplingParams:
    shaping, greedy = request.shaping, request.temperature == 0
    columns = len(request.labels) if request.labels else len(request.columns)
    params = SamplingParams(
        max_tokens=request.max_tokens,
        temperature=0.0 if greedy else 1.0,
        # Greedy requests need none; the weighing sampler has noise of its own.
        seed=None if weighs or greedy else request.seed,
        top_k=0 if greedy else shaping.top_k,
        top_p=1.0 if greedy else shaping.top_p,
        min_p=0.0 if greedy else shaping.min_p,
        min_tokens=shaping.min_tokens,
        logit_bias=dict(shaping.logit_bias) or None,
        stop_token_ids=request.stop_token_ids,
        # The caller's stop tokens hold the model's own: nothing is decided here.
        ignore_eos=True,
        logprobs=columns if request.logprobs or request.labels else None,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
        extra_args=_wanted(request),
    )
    # Set afterwards: the constructor refuses temperatures above 2 and raises those below 0.01.
    params.temperature = request.temperature
    return params


def row_parameters(row: Row, source: str | None) -> SamplingParams:
    """For a row of several sequences. ``source``: vLLM's id of the request whose cache blocks it adopts.

    Its members get what they asked for from the sampler, so vLLM has nothing to tell; but it works log p out only for
    requests that ask.
    """
    params = _generate_parameters(row.request(), weighs=True)
    arguments = params.extra_args.setdefault(ARGUMENT, {})
    arguments["row"] = row
    arguments["greedy"] = row.law.temperature == 0
    if params.logprobs is not None:
        params.logprobs = 0
    if source is not None:
        params.extra_args[SOURCE] = source
    return params


def _score_parameters(request: Score, partial_hits: bool) -> SamplingParams:
    params = SamplingParams(
        max_tokens=1,
        temperature=0.0,
        prompt_logprobs=request.top,
        flat_logprobs=True,
        detokenize=False,
        ignore_eos=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )
    params.skip_reading_prefix_cache = not request.use_cache
    if request.use_cache and partial_hits:
        # The last token before the first that is asked for has to be computed.
        params.extra_args = {LIMIT: request.start - 1}
    return params


def _wanted(request: Generate) -> dict[str, Any]:
    """What :class:`~smc_decode.engines.vllm.inside.sampler.Wanted` is made of; fields that say nothing are left out."""
    wanted: dict[str, Any] = {}
    shaping = request.shaping
    if request.temperature > 0:
        wanted["seed"] = request.seed
    if request.columns:
        wanted |= {
            "columns": request.columns,
            "alpha": request.alpha,
            "greedy": request.temperature == 0,
            "truncates": shaping.truncates or shaping.min_tokens > 0,
        }
    if request.labels:
        wanted["labels"] = request.labels
    if shaping.penalises or shaping.grammar is not None:
        wanted |= {"shaping": shaping, "generated": request.generated}
    if request.excluded:
        wanted["excluded"] = request.excluded
    return {ARGUMENT: wanted} if wanted else {}


def reply(request: Request, output: Any) -> Reply:
    """What a finished request's output says."""
    if isinstance(request, Pool):
        return Pooled(request.id, output.outputs.data.float().cpu().numpy())
    if isinstance(request, Score):
        return _scored(request, output)
    completion = output.outputs[0]
    return Generated(
        id=request.id,
        token_ids=list(completion.token_ids),
        values=_columns(completion.logprobs, request),
        stopped=completion.finish_reason == "stop",
        cached=output.num_cached_tokens or 0,
        computed=len(completion.token_ids),
        rows=len(completion.token_ids),
    )


def _scored(request: Score, output: Any) -> Scored:
    flat = output.prompt_logprobs
    first = max(request.start, 1)
    token_ids: list[int] = []
    logprobs: list[float] = []
    top: list[list[tuple[int, float]]] = []
    for position in range(first, len(request.prompt)):
        begin, end = flat.start_indices[position], flat.end_indices[position]
        token_ids.append(flat.token_ids[begin])
        logprobs.append(flat.logprobs[begin])
        top.append(list(zip(flat.token_ids[begin + 1 : end], flat.logprobs[begin + 1 : end], strict=True)))
    cached = output.num_cached_tokens or 0
    return Scored(request.id, token_ids, logprobs, top, valid_from=cached + 1)


def _columns(flat: Any, request: Generate) -> list[list[float]]:
    """Per column, its values over the drawn tokens."""
    if flat is None:
        return []
    width = 1 + (len(request.labels) if request.labels else len(request.columns))
    starts, values = flat.start_indices, flat.logprobs
    return [[values[start + column] for start in starts] for column in range(width)]
