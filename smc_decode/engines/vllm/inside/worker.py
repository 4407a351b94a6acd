"""The engine's process: vLLM's LLMEngine, driven by a loop that takes whole populations at a time.

Started by ``vllm.process`` with one end of a socket pair. A process of its own, rather than vLLM's AsyncLLM: it starts
in a third of the time (one interpreter imports torch and vllm instead of three), all requests of a population enter the
same step, the environment that makes vLLM fast touches nobody else, and its death takes nothing along.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any

from smc_decode.engines.vllm.inside.partial_hits import LIMIT, install_partial_hits
from smc_decode.engines.vllm.messages import (
    Abort,
    Channel,
    Failed,
    Generate,
    Generated,
    Job,
    Measure,
    Measured,
    Ping,
    Pong,
    Pool,
    Pooled,
    Ready,
    Rejected,
    Reply,
    Score,
    Scored,
    Stop,
    Submit,
)
from smc_decode.engines.vllm.settings import VLLMSettings, cpu_dtype

_MOST_COLUMNS = 128
_CPU_STEP_TOKENS = 1024
_DEFAULT_LENGTH = 8192
_GIB = 1 << 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="smc_decode.engines.vllm.inside.worker")
    parser.add_argument("--socket", type=int, required=True)
    channel = Channel(socket.socket(fileno=parser.parse_args().socket))
    # The parent decides when we stop: a Ctrl-C in the terminal reaches us as a closed socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    try:
        settings = channel.receive()
        threading.Thread(target=_read, args=(channel, inbox), daemon=True).start()
        worker = Worker(settings, channel, inbox)
        worker.load()
        worker.serve()
    except (BrokenPipeError, EOFError):
        return 0
    except BaseException as error:
        traceback.print_exc()
        with contextlib.suppress(OSError):
            channel.send(Failed(_one_line(error)))
        return 1
    return 0


def _read(channel: Channel, inbox: queue.SimpleQueue[Any]) -> None:
    """Reader thread: messages wait in the inbox while a step runs."""
    while True:
        try:
            inbox.put(channel.receive())
        except EOFError:
            inbox.put(Stop())
            # The parent is gone. A step that hangs must not keep this process, and the model, alive.
            time.sleep(10)
            os._exit(1)


class Worker:
    """One loaded model and its requests."""

    def __init__(self, settings: VLLMSettings, channel: Channel, inbox: queue.SimpleQueue[Any]) -> None:
        self._settings = settings
        self._channel = channel
        self._inbox = inbox
        self._jobs: dict[str, Job] = {}
        self._internal_ids: dict[int, str] = {}
        self._weighs = False
        self._exact = False
        self._partial_hits = False

    # ---- start ------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Import vLLM, load the model, check the sampler, and say Ready."""
        seconds: dict[str, float] = {}
        with _timed(seconds, "import"):
            import vllm
            from vllm.engine.arg_utils import EngineArgs
            from vllm.inputs import tokens_input
            from vllm.outputs import PoolingRequestOutput
            from vllm.pooling_params import PoolingParams
            from vllm.sampling_params import RequestOutputKind, SamplingParams
            from vllm.v1.engine.llm_engine import LLMEngine
        self._tokens_input = tokens_input
        self._sampling_params, self._final_only = SamplingParams, RequestOutputKind.FINAL_ONLY
        self._pooling_params, self._pooling_output = PoolingParams, PoolingRequestOutput
        with _timed(seconds, "load"):
            self._engine: Any = LLMEngine.from_engine_args(EngineArgs(**self._arguments()))
        config = self._engine.vllm_config
        if self._settings.pooling_task is None:
            with _timed(seconds, "check"):
                self._exact = self._install_sampler()
                self._partial_hits = self._settings.partial_hits and self._install_partial_hits()
        # What is alive now lives for ever: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._channel.send(
            Ready(
                vocab_size=config.model_config.get_vocab_size(),
                max_model_len=self._max_model_len(config.model_config.max_model_len),
                block_size=config.cache_config.block_size,
                eos_token_ids=_eos_token_ids(config.model_config),
                vllm_version=vllm.__version__,
                exact_sampler=self._exact,
                cache_tokens=(config.cache_config.num_gpu_blocks or 0) * config.cache_config.block_size,
                seconds=seconds,
            )
        )

    def _arguments(self) -> dict[str, Any]:
        settings = self._settings
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
            "max_model_len": self._engine_length(),
        }
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
        if settings.pooling_task is None:
            arguments |= {
                "max_logprobs": _MOST_COLUMNS,
                "logprobs_mode": "raw_logprobs",
                "generation_config": "auto",
                "logits_processors": ["smc_decode.engines.vllm.inside.sampler:Rows"],
                "worker_extension_cls": "smc_decode.engines.vllm.inside.sampler.SamplerExtension",
            }
        else:
            arguments["runner"] = "pooling"
            if settings.pooling_step_token_id is not None:
                arguments["pooler_config"] = {
                    "tok_pooling_type": "STEP",
                    "step_tag_id": settings.pooling_step_token_id,
                }
        return arguments

    def _engine_length(self) -> int | None:
        """vLLM's max_model_len: one more than ours, where the model allows it, since scoring draws a token too."""
        from vllm.engine.arg_utils import EngineArgs

        settings = self._settings
        config = EngineArgs(
            model=settings.model, trust_remote_code=settings.trust_remote_code, skip_tokenizer_init=True
        ).create_model_config()
        limit: int = config.max_model_len
        if settings.max_model_len is not None and settings.max_model_len > limit:
            raise ValueError(f"max_model_len {settings.max_model_len} exceeds the model's context of {limit}")
        return min((settings.max_model_len or _DEFAULT_LENGTH) + 1, limit)

    def _max_model_len(self, engine_length: int) -> int:
        return min(self._settings.max_model_len or _DEFAULT_LENGTH, engine_length)

    # ---- the sampler and its check ----------------------------------------------------------------------------

    def _install_sampler(self) -> bool:
        """Install the weighing sampler and check it. Also the warm-up: kernels are compiled on first use."""
        try:
            self._weighs = all(self._engine.collective_rpc("smc_install_sampler"))
            return self._weighs and self._consistent()
        except Exception:
            traceback.print_exc()
            return False

    def _consistent(self) -> bool:
        """Whether log p, log q and log z agree where they must.

        At temperature 1, q = p and log z(1) = 0. At temperature 1/2, log z(2) = 2 log p - log q. With top-k = 1 the
        draw is all but certain, and log z(alpha) of the one token is alpha log p.
        """
        prompt = [(7 * i) % 100 + 3 for i in range(8)]
        common = {"prompt": prompt, "max_tokens": 3, "logprobs": True, "columns": "qz"}
        checks = [
            Generate(id=-1, temperature=1.0, alpha=1.0, seed=1, **common),  # type: ignore[arg-type]
            Generate(id=-2, temperature=0.5, alpha=2.0, seed=2, **common),  # type: ignore[arg-type]
            Generate(id=-3, temperature=0.7, alpha=3.0, seed=3, top_k=1, **common),  # type: ignore[arg-type]
        ]
        answers = self._run(checks)
        plain, powered, certain = (answers[job.id].values for job in checks)
        near = _near
        return (
            all(near(p, q) and near(z, 0.0) for p, q, z in zip(*plain, strict=True))
            and all(near(z, 2 * p - q) for p, q, z in zip(*powered, strict=True))
            # A tie shares the probability among the tied.
            and all(-1.5 < q < 1e-3 and near(z, 3 * p - q) for p, q, z in zip(*certain, strict=True))
        )

    # ---- hits within a cache block ----------------------------------------------------------------------------

    def _install_partial_hits(self) -> bool:
        """Let hits end within a cache block, where this engine's cache is of the kind for it, and check them.

        With asynchronous scheduling a request may end while a step still writes its blocks: not there.
        """
        if self._engine.vllm_config.scheduler_config.async_scheduling:
            return False
        try:
            self._engine.collective_rpc("smc_install_copies")
            hits = install_partial_hits(self._engine.engine_core.engine_core.scheduler)
            if hits is None:
                return False
            if self._continues_alike():
                return True
            hits.remove()
        except Exception:
            traceback.print_exc()
        return False

    def _continues_alike(self) -> bool:
        """Whether answers that are cut and drawn on, on adopted blocks, are the answers that they were cut from."""
        size = self._engine.vllm_config.cache_config.block_size
        prompt = [(11 * i) % 97 + 3 for i in range(size + 5)]
        whole = [Generate(-10 - i, prompt, 5, 1.0, i, logprobs=True) for i in range(2)]
        drawn = self._run(whole)
        cuts = [
            Generate(-20 - i, prompt + drawn[job.id].token_ids[:3], 2, 1.0, i, logprobs=True)
            for i, job in enumerate(whole)
        ]
        again = self._run(cuts)
        for job, cut in zip(whole, cuts, strict=True):
            before, after = drawn[job.id], again[cut.id]
            if after.cached != len(cut.prompt) - 1 or after.token_ids != before.token_ids[3:]:
                return False
            if not all(abs(p - q) < 0.5 for p, q in zip(after.values[0], before.values[0][3:], strict=True)):
                return False
        return True

    def _run(self, jobs: list[Generate]) -> dict[int, Generated]:
        for job in jobs:
            self._add(job)
        answers: dict[int, Generated] = {}
        while self._engine.has_unfinished_requests():
            for reply in map(self._reply, self._engine.step()):
                if isinstance(reply, Generated):
                    answers[reply.id] = reply
        return answers

    # ---- the loop ---------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Take messages, step, send what has finished; until told to stop."""
        engine = self._engine
        try:
            while True:
                busy = engine.has_unfinished_requests()
                while not busy or not self._inbox.empty():
                    message = self._inbox.get()
                    if isinstance(message, Stop):
                        return
                    self._take(message)
                    busy = engine.has_unfinished_requests()
                replies = [self._reply(output) for output in engine.step() if output.finished]
                done = [reply for reply in replies if reply is not None]
                if done:
                    self._channel.send(done)
        finally:
            with contextlib.suppress(Exception):
                engine.engine_core.shutdown()

    def _take(self, message: Submit | Abort | Ping | Measure) -> None:
        if isinstance(message, Submit):
            rejected: list[Reply] = []
            for job in message.jobs:
                try:
                    self._add(job)
                except Exception as error:
                    rejected.append(Rejected(job.id, _one_line(error)))
            if rejected:
                self._channel.send(rejected)
        elif isinstance(message, Abort):
            internal = [self._internal_ids.pop(i) for i in message.ids if i in self._internal_ids]
            if internal:
                self._engine.abort_request(internal, internal=True)
            for name in internal:
                self._jobs.pop(name.rsplit("-", 1)[0], None)
        elif isinstance(message, Measure):
            self._channel.send([Measured(message.id, _metrics())])
        else:
            self._channel.send([Pong(message.id, self._engine.get_num_unfinished_requests())])

    def _add(self, job: Job) -> None:
        name = str(job.id)
        if isinstance(job, Pool):
            parameters = self._pooling_params(task=job.task, use_activation=job.activation)
        elif isinstance(job, Score):
            parameters = self._score_parameters(job)
        else:
            parameters = self._generate_parameters(job)
        internal = self._engine.add_request(name, self._tokens_input(job.prompt), parameters)
        self._jobs[name] = job
        self._internal_ids[job.id] = internal

    def _generate_parameters(self, job: Generate) -> Any:
        if job.grammar is not None:
            from smc_decode.engines.vllm.inside.grammar import grammar_compiler

            grammar_compiler(self._engine.vllm_config.model_config).compile(job.grammar)
        columns = len(job.labels) if job.labels else len(job.columns)
        parameters = self._sampling_params(
            max_tokens=job.max_tokens,
            temperature=0.0 if job.temperature == 0 else 1.0,
            # Greedy requests need none; the weighing sampler has noise of its own.
            seed=None if self._weighs or job.temperature == 0 else job.seed,
            top_k=job.top_k if job.temperature else 0,
            top_p=job.top_p if job.temperature else 1.0,
            min_p=job.min_p if job.temperature else 0.0,
            min_tokens=job.min_tokens,
            logit_bias=job.logit_bias,
            stop_token_ids=job.stop_token_ids,
            # The caller's stop tokens hold the model's own: nothing is decided here.
            ignore_eos=True,
            logprobs=columns if job.logprobs or job.labels else None,
            flat_logprobs=True,
            detokenize=False,
            output_kind=self._final_only,
            skip_clone=True,
            extra_args=_wanted(job),
        )
        # Set afterwards: the constructor refuses temperatures above 2 and raises those below 0.01.
        parameters.temperature = job.temperature
        return parameters

    def _score_parameters(self, job: Score) -> Any:
        parameters = self._sampling_params(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=job.top,
            flat_logprobs=True,
            detokenize=False,
            ignore_eos=True,
            output_kind=self._final_only,
            skip_clone=True,
        )
        parameters.skip_reading_prefix_cache = not job.use_cache
        if job.use_cache and self._partial_hits:
            # The last token before the first that is asked for has to be computed.
            parameters.extra_args = {LIMIT: job.start - 1}
        return parameters

    # ---- replies ----------------------------------------------------------------------------------------------

    def _reply(self, output: Any) -> Reply | None:
        job = self._jobs.pop(output.request_id, None)
        if job is None:
            return None
        self._internal_ids.pop(job.id, None)
        if isinstance(job, Pool):
            return Pooled(job.id, output.outputs.data.float().cpu().numpy())
        if isinstance(job, Score):
            return self._scored(job, output)
        completion = output.outputs[0]
        return Generated(
            id=job.id,
            token_ids=list(completion.token_ids),
            values=_columns(completion.logprobs, job),
            stopped=completion.finish_reason == "stop",
            cached=output.num_cached_tokens or 0,
        )

    def _scored(self, job: Score, output: Any) -> Scored:
        flat = output.prompt_logprobs
        first = max(job.start, 1)
        token_ids: list[int] = []
        logprobs: list[float] = []
        top: list[list[tuple[int, float]]] = []
        for position in range(first, len(job.prompt)):
            begin, end = flat.start_indices[position], flat.end_indices[position]
            token_ids.append(flat.token_ids[begin])
            logprobs.append(flat.logprobs[begin])
            top.append(list(zip(flat.token_ids[begin + 1 : end], flat.logprobs[begin + 1 : end], strict=True)))
        cached = output.num_cached_tokens or 0
        return Scored(job.id, token_ids, logprobs, top, valid_from=cached + 1)


def _wanted(job: Generate) -> dict[str, Any]:
    """What :class:`~smc_decode.engines.vllm.inside.sampler.Wanted` is made of; fields that say nothing are left out."""
    wanted: dict[str, Any] = {}
    if job.temperature > 0:
        wanted["seed"] = job.seed
    if job.columns:
        truncates = bool(job.top_k or job.top_p < 1 or job.min_p or job.min_tokens or job.grammar)
        wanted |= {
            "columns": job.columns,
            "alpha": job.alpha,
            "greedy": job.temperature == 0,
            "truncates": truncates,
        }
    if job.labels:
        wanted["labels"] = job.labels
    if job.repetition_penalty != 1.0 or job.presence_penalty or job.frequency_penalty:
        wanted |= {
            "repetition_penalty": job.repetition_penalty,
            "presence_penalty": job.presence_penalty,
            "frequency_penalty": job.frequency_penalty,
            "generated": job.generated,
        }
    if job.grammar is not None:
        wanted |= {"grammar": job.grammar, "generated": job.generated}
    if job.excluded:
        wanted["excluded"] = job.excluded
    return {"smc": wanted} if wanted else {}


def _columns(flat: Any, job: Generate) -> list[list[float]]:
    """Per column, its values over the drawn tokens."""
    if flat is None:
        return []
    width = 1 + (len(job.labels) if job.labels else len(job.columns))
    starts = flat.start_indices
    values = flat.logprobs
    return [[values[start + column] for start in starts] for column in range(width)]


def _eos_token_ids(model_config: Any) -> tuple[int, ...]:
    """What ends an answer, by the model's generation configuration, or else its configuration."""
    ids = model_config.try_get_generation_config().get("eos_token_id")
    if ids is None:
        ids = getattr(model_config.hf_text_config, "eos_token_id", None)
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)


def _metrics() -> str:
    """vLLM's metrics in Prometheus' text format: of all that this process keeps, those with vLLM's prefix."""
    from prometheus_client import REGISTRY, generate_latest

    lines = generate_latest(REGISTRY).decode().splitlines(keepends=True)
    return "".join(line for line in lines if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("vllm:"))


def _near(a: float, b: float) -> bool:
    return abs(a - b) < 1e-3 + 1e-4 * abs(b)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Any:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:500] if text else type(error).__name__


if __name__ == "__main__":
    # vLLM may start processes of its own (tensor parallelism): they must not inherit our end of the socket.
    sys.exit(main())
