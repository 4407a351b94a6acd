"""The remote engine and our server in front of a real ``vllm serve``, which loads the logits processor."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines.base import Extend, Shaping
from smc_decode.engines.remote.engine import RemoteEngine, RemoteSettings
from smc_decode.engines.vllm.environment import worker_environment
from smc_decode.engines.vllm.settings import VLLMSettings, cpu_dtype
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardRequest
from tests.engines.remote.test_engine import draw, population
from tests.potentials.answers import answer

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).resolve().parents[3]
# Two ways to compute the same log p in bfloat16: of the mean over tokens, and of any one.
MEAN_ROUNDING = 0.06
MOST_ROUNDING = 0.6
START_SECONDS = 120


@pytest.fixture(scope="module")
def served(bundled_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a vLLM server of the bundled model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    environment = worker_environment(VLLMSettings(model=bundled_model, kv_cache_gib=0.5))
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING")
    command = [
        sys.executable,
        str(ROOT / "tests/engines/remote/serve_vllm.py"),
        "serve",
        bundled_model,
        "--port",
        str(port),
    ]
    command += ["--host", "127.0.0.1", "--served-model-name", "small", "--dtype", cpu_dtype(), "--enforce-eager"]
    command += ["--block-size", "32", "--max-model-len", "1024", "--no-enable-chunked-prefill"]
    command += ["--kv-cache-memory-bytes", str(1 << 29), "--enable-prompt-tokens-details"]
    command += ["--logits-processors", "smc_decode.engines.vllm.inside.served_rows:ServedRows"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=ROOT, env=environment, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _until_up(url, process, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"vllm serve did not start: {log.read_text()[-3000:]}")


def _running(url: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


async def _numbers(engine: RemoteEngine, prompt: list[int]) -> None:
    """log p is what scoring gives; log q and log z agree with it."""
    sequences = await population(engine, 8, prompt)
    plain = await draw(engine, [Extend(s, 24, seed=i) for i, s in enumerate(sequences)])
    scored = [await engine.score([*prompt, *s.token_ids], len(prompt)) for s in sequences]
    told = np.array(list(itertools.chain.from_iterable(c.logprobs for c in plain)))
    again = np.array([score.logprob for scores in scored for score in scores])
    assert np.abs(told - again).mean() < MEAN_ROUNDING
    assert np.abs(told - again).max() < MOST_ROUNDING
    assert plain[0].proposal_logprobs == plain[0].logprobs
    # A bias of nothing makes the server work the normaliser out rather than us take it from p and q.
    shapings = [Shaping(logit_bias={7: 0.0}), Shaping(logit_bias={7: 0.0}, top_k=8), Shaping(top_p=0.8)]
    sequences = await population(engine, 3, prompt)
    requests = [
        Extend(s, 16, temperature=0.25, alpha=4.0, seed=i, shaping=shaping)
        for i, (s, shaping) in enumerate(zip(sequences, shapings, strict=True))
    ]
    for drawn in await draw(engine, requests):
        expected = [4 * p - q for p, q in zip(drawn.logprobs, drawn.proposal_logprobs, strict=True)]
        assert drawn.log_z == pytest.approx(expected, abs=2e-3)
    other = Extend((await population(engine, 1, prompt))[0], 16, temperature=0.7, alpha=3.0, shaping=Shaping(top_k=8))
    (drawn,) = await draw(engine, [other])
    rows = await engine.score([*prompt, *drawn.token_ids], len(prompt), top_logprobs=20)
    for row, q, z in zip(rows, drawn.proposal_logprobs, drawn.log_z, strict=True):
        values = np.array(sorted(row.top.values(), reverse=True))
        kept = values[values >= values[7]]
        assert q == pytest.approx(row.logprob / 0.7 - np.logaddexp.reduce(kept / 0.7), abs=MOST_ROUNDING)
        assert z == pytest.approx(np.logaddexp.reduce(3.0 * kept), abs=3 * MOST_ROUNDING)


async def _others(engine: RemoteEngine, url: str, prompt: list[int]) -> None:
    """A client that asks for nothing of ours gets vLLM's own answer, in the same batch."""
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    sequences = await population(engine, 4, prompt)
    ours = asyncio.create_task(draw(engine, [Extend(s, 64, temperature=0.5, seed=i) for i, s in enumerate(sequences)]))
    reply = await client.completions.create(model="small", prompt=prompt, max_tokens=8, logprobs=3, temperature=0)
    labels = {"logprob_token_ids": [900, 901], "return_tokens_as_token_ids": True}
    other = await client.completions.create(model="small", prompt=prompt, max_tokens=8, logprobs=2, extra_body=labels)
    for drawn in await ours:
        assert sum(drawn.proposal_logprobs) > sum(drawn.logprobs)
    assert other.choices[0].logprobs is not None
    assert {"token_id:900", "token_id:901"} <= set((other.choices[0].logprobs.top_logprobs or [{}])[0])
    told = reply.choices[0].logprobs
    assert told is not None
    assert told.token_logprobs == [max(row.values()) for row in told.top_logprobs or []]
    assert all(len(row) >= 3 for row in told.top_logprobs or [])
    with pytest.raises(openai.BadRequestError, match="smc_columns"):
        await client.completions.create(
            model="small", prompt=prompt, max_tokens=1, extra_body={"vllm_xargs": {"smc_columns": "q"}}
        )


async def _aborts(engine: RemoteEngine, url: str, prompt: list[int]) -> None:
    """Cancelling a run empties the server."""
    requests = [Extend(s, 800, shaping=Shaping(ignore_eos=True)) for s in await population(engine, 4, prompt)]
    run = asyncio.create_task(draw(engine, requests))
    while await asyncio.to_thread(_running, url) < 4:
        await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    end = time.monotonic() + 10
    while await asyncio.to_thread(_running, url) > 0:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_real_server_is_weighed_exactly_and_serves_behind_ours(served: str) -> None:
    engine = await RemoteEngine.create(RemoteSettings(urls=[served]))
    prompt = engine.tokenizer.apply_chat_template([{"role": "user", "content": "Name five animals of the sea."}])
    assert engine.info.model == "small"
    assert engine.info.exact_log_z
    assert engine.info.max_model_len == 1023
    await _numbers(engine, prompt)
    (labels,) = await engine.label_logprobs([prompt], [5, 900])
    assert labels[900] == pytest.approx((await engine.score([*prompt, 900], len(prompt)))[0].logprob, abs=MOST_ROUNDING)
    await _others(engine, served, prompt)
    await _aborts(engine, served, prompt)
    config = SMCConfig(n_particles=4, block_size=16, max_tokens=48, target="powered", alpha=4.0)
    result = await sample(engine, prompt, None, config, seed=1)
    assert np.isfinite(result.log_z)
    assert result.usage.prompt_cached > 0
    await engine.shutdown()
    await asyncio.to_thread(_behind_ours, served)


def _behind_ours(served: str) -> None:
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0", "--remote", served]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        lines = list(itertools.takewhile(lambda line: not line.startswith("try"), process.stdout))
        told = "".join(lines)
        assert f"remote, context of 1023 tokens, at {served}" in told
        found = re.search(r"http://127\.0\.0\.1:\d+/v1", told)
        assert found
        client = openai.OpenAI(base_url=found[0], api_key="none", max_retries=0)
        stream = client.chat.completions.create(
            model="small",
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=32,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"smc": {"n_particles": 4}},
        )
        chunks = list(stream)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert chunks[-1].usage is not None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


async def test_a_verifier_asks_a_judge_on_a_server(served: str, bundled_model: str) -> None:
    table = {"source": "verifier", "model": "small", "url": served, "engine": {"tokenizer": bundled_model}}
    made = RewardCatalogue.from_toml({"rewards": {"judge": table}})
    try:
        await made.start()
        right, wrong = await made.source("judge", {}, RewardRequest("What is 2 + 2?")).rewards(
            [answer("4"), answer("The answer is 77.")]
        )
        assert 0.0 < right.value < 1.0
        assert right.value != wrong.value
    finally:
        await made.aclose()
