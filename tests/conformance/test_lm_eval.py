"""EleutherAI's evaluation harness, as its users start it, on small tasks of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from smc_decode.engines.bundled_model import resolve_model
from tests.conformance.serving import ROOT, Server

TASKS = Path(__file__).parent / "lm_eval"
Sample = dict[str, Any]


def evaluate(server: Server, out: Path, kind: str, route: str, tasks: str, *more: str) -> dict[str, list[Sample]]:
    """Samples of each task."""
    arguments = {
        "model": server.model,
        "base_url": f"{server.base_url}/{route}",
        "num_concurrent": 2,
        "max_retries": 1,
        "max_length": 512,
        "tokenizer_backend": "huggingface",
        "tokenizer": resolve_model(None),
    }
    command = [sys.executable, "-m", "lm_eval", "--model", kind, "--tasks", *tasks.split(","), "--log_samples"]
    command += ["--model_args", ",".join(f"{key}={value}" for key, value in arguments.items())]
    command += ["--include_path", str(TASKS), "--output_path", str(out), *more]
    # Nothing is fetched: data, tokenizer and tasks are here.
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(out / "hf")}
    done = subprocess.run(
        command, cwd=ROOT, env={**server.environment(), **offline}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    samples: dict[str, list[Sample]] = {}
    for path in out.rglob("samples_*.jsonl"):
        name = path.name.removeprefix("samples_").rpartition("_")[0]
        samples[name] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return samples


@pytest.fixture(scope="module")
def completions(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Sample]]:
    out = tmp_path_factory.mktemp("completions")
    return evaluate(server, out, "local-completions", "completions", "smc_likelihood,smc_generation")


def test_loglikelihoods_are_those_of_the_base_model(completions: dict[str, list[Sample]], server: Server) -> None:
    client = openai.OpenAI(base_url=server.base_url, api_key=server.api_key)
    samples = completions["smc_likelihood"]
    assert len(samples) == 4
    for sample in samples:
        for argument, response in zip(sample["arguments"].values(), sample["resps"], strict=True):
            context, choice = argument["arg_0"], argument["arg_1"]
            scored = client.completions.create(
                model=server.model, prompt=context + choice, max_tokens=0, echo=True, logprobs=1
            )
            logprobs: Any = scored.choices[0].logprobs
            ours = [
                p for p, at in zip(logprobs.token_logprobs, logprobs.text_offset, strict=True) if at >= len(context)
            ]
            # bfloat16 kernels round by the batch that they are given.
            assert float(response[0][0]) == pytest.approx(sum(ours), abs=0.15, rel=0.02)


def test_what_is_likelier_is_chosen(completions: dict[str, list[Sample]]) -> None:
    assert [sample["acc"] for sample in completions["smc_likelihood"]] == [1.0] * 4


def test_generations_end_at_stop_strings(completions: dict[str, list[Sample]]) -> None:
    counting, *_ = completions["smc_generation"]
    assert counting["resps"][0][0] == " 5, 6, 7, 8, "
    assert counting["exact_match"] == 1.0


def test_chat_generations(server: Server, tmp_path: Path) -> None:
    samples = evaluate(
        server, tmp_path, "local-chat-completions", "chat/completions", "smc_generation", "--apply_chat_template"
    )
    answers = [sample["resps"][0][0] for sample in samples["smc_generation"]]
    assert len(answers) == 3
    # What a model of this size says is its own affair; where it stops is not.
    assert all(answer and "9" not in answer and "\n\n" not in answer for answer in answers)
