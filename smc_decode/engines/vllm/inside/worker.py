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
from collections.abc import Iterator
from typing import Any

from smc_decode.engines.vllm.channel import Channel
from smc_decode.engines.vllm.inside.merging import Merging, Row
from smc_decode.engines.vllm.inside.metrics import metrics_text
from smc_decode.engines.vllm.inside.partial_hits import install_partial_hits
from smc_decode.engines.vllm.inside.selfcheck import continues_alike, merged_cases, merges_alike, tells_proposals
from smc_decode.engines.vllm.messages import (
    Abort,
    Failed,
    Generate,
    Generated,
    Measure,
    Measured,
    Ping,
    Pong,
    Ready,
    Rejected,
    Reply,
    Request,
    Stop,
    Submit,
)
from smc_decode.engines.vllm.settings import VLLMSettings
from smc_decode.engines.vllm.versions import check_version


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
        self._requests: dict[str, Request] = {}
        self._internal_ids: dict[int | str, str] = {}
        self._weighs = False
        self._partial_hits = False
        self._merging: Merging | None = None

    # ---- start ------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Import vLLM, load the model, check the sampler, and say Ready. Raises RuntimeError for another vLLM than
        the hooks were checked with."""
        settings, seconds = self._settings, dict[str, float]()
        with _timed(seconds, "import"):
            import vllm

            check_version(vllm.__version__, any_version=settings.any_version)
            from vllm.inputs import tokens_input
            from vllm.v1.engine.llm_engine import LLMEngine

            from smc_decode.engines.vllm.inside import arguments, requests
        self._tokens_input = tokens_input
        self._parameters, self._row_parameters, self._reply_to = (
            requests.parameters,
            requests.row_parameters,
            requests.reply,
        )
        with _timed(seconds, "load"):
            self._engine: Any = LLMEngine.from_engine_args(arguments.engine_args(settings))
        config = self._engine.vllm_config
        exact = False
        if settings.pooling_task is None:
            with _timed(seconds, "check"):
                exact = self._install_sampler()
                self._partial_hits = settings.partial_hits and self._install_partial_hits()
                self._merging = self._checked_merging() if settings.merge and exact and self._partial_hits else None
        # What is alive now lives for ever: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._channel.send(
            Ready(
                vocab_size=config.model_config.get_vocab_size(),
                max_model_len=arguments.offered_length(settings, config.model_config.max_model_len),
                block_size=config.cache_config.block_size,
                eos_token_ids=arguments.eos_token_ids(config.model_config),
                vllm_version=vllm.__version__,
                exact_sampler=exact,
                merges=self._merging is not None,
                cache_tokens=(config.cache_config.num_gpu_blocks or 0) * config.cache_config.block_size,
                seconds=seconds,
            )
        )

    def _install_sampler(self) -> bool:
        """Put the weighing sampler in the place of vLLM's, and check it."""
        try:
            self._weighs = all(self._engine.collective_rpc("smc_install_sampler"))
            return self._weighs and tells_proposals(self._run)
        except Exception:
            traceback.print_exc()
            return False

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
            if continues_alike(self._run, self._engine.vllm_config.cache_config.block_size):
                return True
            hits.remove()
        except Exception:
            traceback.print_exc()
        return False

    def _checked_merging(self) -> Merging | None:
        """Rows of several sequences, where these draw what they draw alone. They need hits within a cache block, so
        there are none with asynchronous scheduling."""
        try:
            alone = self._run(merged_cases(-100))
            self._merging = Merging()
            together = self._run(merged_cases(-200))
            return self._merging if merges_alike(list(alone.values()), list(together.values())) else None
        except Exception:
            traceback.print_exc()
            return None

    def _run(self, requests: list[Generate]) -> dict[int, Generated]:
        """Requests to their end, without a caller."""
        for row in [row for request in requests for row in self._add(request)]:
            self._add_row(row)
        answers: dict[int, Generated] = {}
        while self._engine.has_unfinished_requests():
            answers |= {reply.id: reply for reply in self._step() if isinstance(reply, Generated)}
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
                done = self._step()
                if done:
                    self._channel.send(done)
        finally:
            with contextlib.suppress(Exception):
                engine.engine_core.shutdown()

    def _take(self, message: Submit | Abort | Ping | Measure) -> None:
        match message:
            case Submit():
                self._submit(message.requests)
            case Abort():
                self._abort(message.ids)
            case Measure():
                self._channel.send([Measured(message.id, metrics_text())])
            case Ping():
                self._channel.send([Pong(message.id, self._unfinished())])

    def _unfinished(self) -> int:
        """Requests in work: of ours, or of vLLM's where it has any that are nobody's."""
        members = 0 if self._merging is None else self._merging.members
        vllms: int = self._engine.get_num_unfinished_requests()
        return max(len(self._requests) + members, vllms)

    def _submit(self, requests: list[Request]) -> None:
        rejected: list[Reply] = []
        rows: list[Row] = []
        for request in requests:
            try:
                rows += self._add(request)
            except Exception as error:
                rejected.append(Rejected(request.id, _one_line(error)))
        for row in rows:
            try:
                self._add_row(row)
            except Exception as error:
                rejected += [Rejected(member.request.id, _one_line(error)) for member in row.members]
        if rejected:
            self._channel.send(rejected)

    def _abort(self, ids: list[int]) -> None:
        ended = [name for name in map(self._forgotten, ids) if name is not None]
        self._end([self._internal_ids.pop(name) for name in ended if name in self._internal_ids])

    def _forgotten(self, request_id: int) -> int | str | None:
        """Under which of our names vLLM works on a request that nobody else wants either."""
        row = None if self._merging is None else self._merging.drop(request_id)
        self._requests.pop(str(request_id), None)
        return request_id if row is None else row.name

    def _end(self, internal: list[str]) -> None:
        if internal:
            self._engine.abort_request(internal, internal=True)

    def _add(self, request: Request) -> list[Row]:
        """Take a request; the row that is to be submitted for it, if there is one."""
        if isinstance(request, Generate) and request.shaping.grammar is not None:
            from smc_decode.engines.vllm.inside.grammar import grammar_compiler

            # What is no grammar is refused here rather than in a step, which would end the engine.
            grammar_compiler(self._engine.vllm_config.model_config).compile(request.shaping.grammar)
        if self._merging is not None and isinstance(request, Generate) and not request.labels:
            row = self._merging.add(request)
            return [] if row is None else [row]
        name = str(request.id)
        parameters = self._parameters(request, weighs=self._weighs, partial_hits=self._partial_hits)
        internal = self._engine.add_request(name, self._tokens_input(request.prompt), parameters)
        self._requests[name] = request
        self._internal_ids[request.id] = internal
        return []

    def _add_row(self, row: Row) -> None:
        source = None if row.source is None else self._internal_ids.get(row.source.name)
        row.source = None
        try:
            parameters = self._row_parameters(row, source)
            self._internal_ids[row.name] = self._engine.add_request(
                row.name, self._tokens_input(row.tokens), parameters
            )
        except BaseException:
            if self._merging is not None:
                self._merging.forget(row)
            raise

    def _step(self) -> list[Reply]:
        """One step of vLLM's, and the replies that are ready after it."""
        outputs = self._engine.step()
        replies = [self._reply(output) for output in outputs if output.finished and output.request_id in self._requests]
        if self._merging is not None:
            replies += self._split(self._merging, {output.request_id: output for output in outputs})
        return [reply for reply in replies if reply is not None]

    def _reply(self, output: Any) -> Reply | None:
        request = self._requests.pop(output.request_id, None)
        if request is None:
            return None
        self._internal_ids.pop(request.id, None)
        return self._reply_to(request, output)

    def _split(self, merging: Merging, outputs: dict[str, Any]) -> list[Reply]:
        """What the members of each row drew: those that are done, and rows for those that leave it."""
        done: list[Reply] = []
        leaving: list[Row] = []
        ended: list[str] = []
        requests, states = (
            self._engine.engine_core.engine_core.scheduler.requests,
            self._engine.output_processor.request_states,
        )
        for row in merging.rows():
            output = outputs.get(row.name)
            request = requests.get(self._internal_ids[row.name])
            drawn = request.output_token_ids if output is None else output.outputs[0].token_ids
            if len(drawn) <= len(row.tokens) - row.began:
                continue  # its prompt is not computed yet, or it waits
            if row.cached is None:
                row.cached = (states[self._internal_ids[row.name]] if output is None else output).num_cached_tokens or 0
            split = merging.step(row, drawn[-1])
            done += [member.reply() for member in split.done]
            leaving += split.leaving
            if not split.goes_on:
                internal = self._internal_ids.pop(row.name)
                if output is None:
                    ended.append(internal)
        # Before their source ends, so that its cache blocks are theirs.
        for row in leaving:
            self._add_row(row)
        self._end(ended)
        return done


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:500] if text else type(error).__name__


if __name__ == "__main__":
    # vLLM may start processes of its own (tensor parallelism): they must not inherit our end of the socket.
    sys.exit(main())
