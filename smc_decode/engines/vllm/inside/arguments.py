"""What vLLM's engine is started with, from our settings."""

from __future__ import annotations

import os
from typing import Any

from vllm.engine.arg_utils import EngineArgs

from smc_decode.engines.vllm.settings import VLLMSettings, cpu_dtype

_MAX_COLUMNS = 128
_CPU_STEP_TOKENS = 1024
_DEFAULT_LENGTH = 8192
_GIB = 1 << 30


def engine_args(settings: VLLMSettings) -> EngineArgs:
    """Raises ValueError for a ``max_model_len`` that the model does not have."""
    cpu = settings.resolved_device == "cpu"
    arguments: dict[str, Any] = {
        "model": settings.model,
        "dtype": settings.dtype or (cpu_dtype() if cpu else "auto"),
        "max_num_seqs": settings.max_num_seqs,
        "seed": settings.seed,
        "trust_remote_code": settings.trust_remote_code,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "enforce_eager": cpu if settings.enforce_eager is None else settings.enforce_eager,
        "enable_prefix_caching": True,
        "disable_log_stats": not settings.metrics,
        # The name in vLLM's metrics, where a folder of this machine has no place.
        "served_model_name": os.path.basename(os.path.normpath(settings.model)),
        # Token ids only: the tokenizer lives where text does.
        "skip_tokenizer_init": True,
        "max_model_len": _engine_length(settings),
    }
    arguments |= _memory(settings, cpu) | (_generator() if settings.pooling_task is None else _pooling(settings))
    return EngineArgs(**arguments)


def _memory(settings: VLLMSettings, cpu: bool) -> dict[str, Any]:
    """Sizes of the cache and of a step; left out: vLLM's own."""
    arguments: dict[str, Any] = {}
    block_size = settings.block_size or (32 if cpu else None)
    if block_size is not None:
        arguments["block_size"] = block_size
    step_tokens = settings.max_num_batched_tokens
    if step_tokens is None and cpu:
        step_tokens = max(_CPU_STEP_TOKENS, settings.max_num_seqs)
    if step_tokens is not None:
        arguments["max_num_batched_tokens"] = step_tokens
    if settings.kv_cache_gib is not None or cpu:
        arguments["kv_cache_memory_bytes"] = int((settings.kv_cache_gib or 2.0) * _GIB)
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
    return arguments


def _generator() -> dict[str, Any]:
    return {
        "max_logprobs": _MAX_COLUMNS,
        "logprobs_mode": "raw_logprobs",
        "generation_config": "auto",
        "logits_processors": ["smc_decode.engines.vllm.inside.sampler:Rows"],
        "worker_extension_cls": "smc_decode.engines.vllm.inside.sampler.SamplerExtension",
    }


def _pooling(settings: VLLMSettings) -> dict[str, Any]:
    arguments: dict[str, Any] = {"runner": "pooling"}
    if settings.pooling_step_token_id is not None:
        arguments["pooler_config"] = {"tok_pooling_type": "STEP", "step_tag_id": settings.pooling_step_token_id}
    return arguments


def _engine_length(settings: VLLMSettings) -> int:
    """vLLM's max_model_len: one more than ours, where the model allows it, since scoring draws a token too."""
    config = EngineArgs(
        model=settings.model, trust_remote_code=settings.trust_remote_code, skip_tokenizer_init=True
    ).create_model_config()
    limit: int = config.max_model_len
    if settings.max_model_len is not None and settings.max_model_len > limit:
        raise ValueError(f"max_model_len {settings.max_model_len} exceeds the model's context of {limit}")
    return min((settings.max_model_len or _DEFAULT_LENGTH) + 1, limit)


def offered_length(settings: VLLMSettings, engine_length: int) -> int:
    """The context that our side offers, of an engine that has ``engine_length``."""
    return min(settings.max_model_len or _DEFAULT_LENGTH, engine_length)


def eos_token_ids(model_config: Any) -> tuple[int, ...]:
    """What ends an answer, by the model's generation configuration, or else its configuration."""
    ids = model_config.try_get_generation_config().get("eos_token_id")
    if ids is None:
        ids = getattr(model_config.hf_text_config, "eos_token_id", None)
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)
