"""vLLM by itself: ``vllm.LLM`` with one request of ``n=N``, in a process with the environment that is best for it.

``Reference`` runs it beside the project's engine and asks it for one measurement at a time, so that the two alternate
and the baseline of the other cases can be compared with it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

from smc_decode.engines.vllm.environment import worker_environment
from smc_decode.engines.vllm.settings import VLLMSettings, cpu_dtype


class Reference:
    """The process. Use as an asynchronous context manager."""

    def __init__(self, settings: VLLMSettings) -> None:
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, self._settings.model,
            env=worker_environment(self._settings), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await self._answer()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()

    async def rate(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        tokens: int,
        temperature: float = 1.0,
        stop: Sequence[int] | None = None,
    ) -> float:
        """Tokens a second of a request for ``n`` sequences of each prompt; to the full length where there is no
        ``stop``."""
        asked = {"prompts": [list(prompt) for prompt in prompts], "n": n, "tokens": tokens}
        request = json.dumps(asked | {"temperature": temperature, "stop": list(stop or ())})
        if self._process.stdin is None:
            raise RuntimeError("the reference process has no input")
        self._process.stdin.write(request.encode() + b"\n")
        await self._process.stdin.drain()
        answer: float = (await self._answer())["rate"]
        return answer

    async def _answer(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise RuntimeError("the reference process has no output")
        while line := await self._process.stdout.readline():
            if line.startswith(b'{"speed_plain"'):
                found: dict[str, Any] = json.loads(line)["speed_plain"]
                return found
        raise RuntimeError("vllm.LLM did not start or failed: run python -m benchmarks.speed_plain MODEL to see why")


def main() -> None:
    """Load the model, then measure once for each line on standard input."""
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    llm = LLM(
        model=sys.argv[1], dtype=cpu_dtype(), block_size=32, enforce_eager=True, max_model_len=2049, max_num_seqs=256,
        kv_cache_memory_bytes=2 << 30, max_num_batched_tokens=1024, disable_log_stats=True, skip_tokenizer_init=True,
    )  # fmt: skip
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        parameters = SamplingParams(
            n=asked["n"], max_tokens=asked["tokens"], temperature=asked["temperature"], ignore_eos=True,
            stop_token_ids=asked["stop"], detokenize=False,
        )  # fmt: skip
        prompts = [TokensPrompt(prompt_token_ids=prompt) for prompt in asked["prompts"]]
        begin = time.perf_counter()
        outputs = llm.generate(prompts, parameters, use_tqdm=False)
        drawn = sum(len(each.token_ids) for output in outputs for each in output.outputs)
        _say({"rate": drawn / (time.perf_counter() - begin)})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps({"speed_plain": answer}), flush=True)


if __name__ == "__main__":
    main()
