"""OpenAI's own Python client, unmodified, against a server process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.process.test_process import running

openai = pytest.importorskip("openai")

MESSAGES: Any = [{"role": "user", "content": "abc"}]
PLAIN = {"smc": {"preset": "base"}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path: Path = tmp_path_factory.mktemp("openai") / "smc.toml"
    path.write_text('[server]\nserved_model_name = ["toy"]\n[engine]\nkind = "tests.server.toy:create"\n')
    with running("--config", str(path)) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as made:
        yield made


def test_it_lists_and_finds_models(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert "toy:best-of-n" in names
    assert client.models.retrieve("toy:best-of-n").owned_by == "smc-decode"


def test_it_chats_with_no_configuration_at_all(client: Any) -> None:
    reply = client.chat.completions.create(model="toy", messages=MESSAGES, max_tokens=12)
    assert reply.choices[0].message.role == "assistant"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert reply.usage.smc["sampled"] > 0
    assert reply.smc["preset"] == "smc"


def test_it_streams_what_it_would_have_been_given(client: Any) -> None:
    body: Any = {"model": "toy", "messages": MESSAGES, "max_tokens": 20, "seed": 4, "extra_body": PLAIN}
    whole = client.chat.completions.create(**body)
    chunks = list(client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_its_stream_helper_puts_the_message_together(client: Any) -> None:
    with client.chat.completions.stream(model="toy", messages=MESSAGES, max_tokens=20, seed=4) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason in ("stop", "length")


def test_it_reads_both_kinds_of_logprobs(client: Any) -> None:
    legacy = client.completions.create(model="toy", prompt="abc", max_tokens=6, logprobs=2, echo=True, extra_body=PLAIN)
    assert legacy.choices[0].logprobs.token_logprobs[0] is None
    chat = client.chat.completions.create(
        model="toy", messages=MESSAGES, max_tokens=6, logprobs=True, top_logprobs=2, extra_body=PLAIN
    )
    assert len(chat.choices[0].logprobs.content[0].top_logprobs) == 2


def test_it_raises_the_error_that_belongs_to_the_status(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="toy", messages=MESSAGES, extra_body={"smc": {"n_particle": 1}})
    assert wrong.value.param == "smc.n_particle"
    assert wrong.value.request_id


def test_it_follows_a_run_guided_by_a_reward(client: Any) -> None:
    reward = {"name": "regex", "params": {"pattern": "a"}}
    smc = {"preset": "smc-reward", "n_particles": 4, "block_size": 8, "stream_progress": True, "reward": reward}
    chunks = list(
        client.chat.completions.create(
            model="toy", messages=MESSAGES, max_tokens=24, stream=True, extra_body={"smc": smc}
        )
    )
    events = [chunk.smc["progress"]["event"] for chunk in chunks if "progress" in (chunk.model_extra.get("smc") or {})]
    assert "Weighted" in events
    assert chunks[-1].choices[0].reward is not None
