"""Models that think aloud: the thought comes back beside the answer, and only the answer is judged."""

from __future__ import annotations

from typing import Any

import pytest

from server.settings import ConfigError
from smc_decode.potentials.catalogue import RewardCatalogue
from tests.server.conftest import Client, MakeClient, chat
from tests.server.openai.test_chat import TOOLS
from tests.server.openai.test_responses import events as response_events
from tests.server.openai.test_responses import post as respond
from tests.server.openai.test_responses import without_ids
from tests.server.openai.test_streaming import events
from tests.server.toy import ByteTokenizer, ThinkingTokenizer, script, toy_engine

SAID = "\nLet me see: b.\n</think>\n\naaa"


def thinker(text: str = SAID, *, opened: bool = True, **options: Any) -> Any:
    return toy_engine(script(text), sees_prompt=False, tokenizer=ThinkingTokenizer(opened=opened), **options)


async def post(client: Client, **fields: Any) -> dict[str, Any]:
    reply = await client.post("/v1/chat/completions", json=chat(max_tokens=100, **fields))
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("block_size", [1, 3, 100])
async def test_the_thought_comes_beside_the_answer_whole_and_streamed(
    make_client: MakeClient, opened: bool, block_size: int
) -> None:
    client = make_client(thinker(SAID if opened else f"<think>{SAID}", opened=opened))
    fields = {"smc": {"block_size": block_size}}
    message = (await post(client, **fields))["message"]
    assert message["content"] == "aaa"
    assert message["reasoning_content"] == message["reasoning"] == "Let me see: b."
    chunks = await events(client, "/v1/chat/completions", chat(max_tokens=100, **fields))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    for name in ("content", "reasoning_content", "reasoning"):
        assert "".join(delta.get(name) or "" for delta in deltas) == message[name]
    if block_size == 1:
        assert sum("reasoning_content" in delta for delta in deltas) > 5
    told = [name for delta in deltas for name in ("reasoning_content", "content") if delta.get(name)]
    assert told == sorted(told, reverse=True)  # the thought first


async def test_a_thought_that_was_cut_is_no_answer(make_client: MakeClient) -> None:
    reply = await make_client(thinker()).post("/v1/chat/completions", json=chat(max_tokens=8))
    choice = reply.json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == ""
    assert choice["message"]["reasoning"] == "Let me"
    assert reply.json()["usage"]["completion_tokens_details"] == {"reasoning_tokens": 8}


async def test_a_model_that_is_told_not_to_think_answers_at_once(make_client: MakeClient) -> None:
    client = make_client(thinker("aaa"))
    message = (await post(client, chat_template_kwargs={"enable_thinking": False}))["message"]
    assert message["content"] == "aaa"
    assert message["reasoning"] is None


async def test_models_without_tags_have_no_such_fields(make_client: MakeClient) -> None:
    client = make_client(toy_engine(script("<think>b</think>a"), sees_prompt=False))
    message = (await post(client))["message"]
    assert message["content"] == "<think>b</think>a"
    assert "reasoning" not in message


async def test_the_operator_sets_tags_or_none(make_client: MakeClient) -> None:
    said = "[T]b[/T]a"
    client = make_client(toy_engine(script(said), sees_prompt=False), think_tags=("[T]", "[/T]"))
    assert (await post(client))["message"]["content"] == "a"
    assert (await post(make_client(thinker(), think_tags="none")))["message"]["content"] == SAID


def test_tags_that_no_text_shows_are_a_fault_of_the_configuration(make_client: MakeClient) -> None:
    class Special(ByteTokenizer):
        def decode(self, token_ids: Any, *, skip_special_tokens: bool = True) -> str:
            return super().decode(token_ids).replace("<t>", "")

    with pytest.raises(ConfigError, match="think_tags"):
        make_client(toy_engine(tokenizer=Special()), think_tags=("<t>", "</t>"))


# ---- what is judged ----------------------------------------------------------------------------------------------


def reading(prompt: str, answer: str, finished: bool) -> Any:
    return (1.0 if answer == "aaa" else 0.5), {"answer": answer}


REGEX = {"name": "regex", "params": {"pattern": "a+"}}


async def test_rewards_read_the_answer_unless_they_are_told_to_read_all(make_client: MakeClient) -> None:
    client = make_client(thinker())
    smc = {"preset": "smc-reward", "n_particles": 2, "block_size": 4, "reward": REGEX}
    assert (await post(client, smc=smc))["reward"] == 1.0
    assert (await post(client, smc={**smc, "reads": "all"}))["reward"] == 0.0
    reply = await client.post("/v1/chat/completions", json=chat(smc={"reads": "half"}))
    assert reply.json()["error"]["param"] == "smc.reads"


async def test_a_continued_message_is_judged_without_its_thought(make_client: MakeClient) -> None:
    begun = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>b</think>\n\na"}]
    fields = {"messages": begun, "continue_final_message": True, "add_generation_prompt": False}
    smc = {"preset": "smc-reward", "n_particles": 2, "reward": REGEX}
    choice = await post(make_client(thinker("aa")), **fields, smc=smc)
    assert choice["message"]["content"] == "aa"
    assert choice["reward"] == 1.0
    begun[1]["content"] = "<think>b"
    choice = await post(make_client(thinker("c</think>aa")), **fields, smc=smc)
    assert choice["message"]["reasoning"] == "c"
    assert choice["message"]["content"] == "aa"
    assert choice["reward"] == 1.0


async def test_stop_strings_are_looked_for_in_the_answer(make_client: MakeClient) -> None:
    client = make_client(thinker("b stop b</think>a stop a"))
    for fields in ({"stop": "stop"}, {"stop": ["stop"], "logprobs": True}):
        choice = await post(client, **fields)
        assert choice["message"]["content"] == "a "
        assert choice["message"]["reasoning"] == "b stop b"
        assert choice["finish_reason"] == "stop"
        chunks = await events(client, "/v1/chat/completions", chat(max_tokens=100, **fields, smc={"block_size": 2}))
        assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1]) == "a "
    told = await post(client, stop="stop", smc={"reads": "all"})
    assert told["message"]["reasoning"] == "b"


async def test_votes_are_on_answers_and_not_on_thoughts(make_client: MakeClient) -> None:
    def law(tokens: tuple[int, ...]) -> Any:
        # Either answer in either thought: the thought names the other answer in a box.
        text = bytes(token for token in tokens if token < 256).decode("utf-8", "replace")
        said = r"\boxed{1}</think>\boxed{2}" if text.startswith(r"\boxed{1") else r"\boxed{3}</think>\boxed{2}"
        if text == r"\boxed{":
            import numpy as np

            logprobs = np.full(261, -np.inf)
            logprobs[[ord("1"), ord("3")]] = np.log(0.5)
            return logprobs
        return script(said)(tokens)

    client = make_client(toy_engine(law, sees_prompt=False, tokenizer=ThinkingTokenizer()))
    smc = {"preset": "self-consistency", "n_particles": 8, "extractor": "boxed"}
    reply = await client.post("/v1/chat/completions", json=chat(max_tokens=100, n=2, smc=smc))
    assert {choice["message"]["content"] for choice in reply.json()["choices"]} == {r"\boxed{2}"}


async def test_scores_are_of_the_answer_in_what_is_given(make_client: MakeClient) -> None:
    engine = thinker()
    rewards = {"mine": {"source": "function", "function": f"{__name__}:reading"}}
    client = make_client(engine, RewardCatalogue.from_toml({"rewards": rewards}, engine=engine))
    messages = [{"role": "user", "content": "q"}]
    answers = ["b</think>aaa", "<think>b</think>aaa", "aaa", "<think>b"]
    asked: dict[str, Any] = {"model": "toy", "messages": messages, "reward": "mine", "answers": answers}
    told = (await client.post("/v1/smc/score", json=asked)).json()["scores"]
    assert [each["detail"]["answer"] for each in told] == ["aaa", "aaa", "aaa", ""]
    told = (await client.post("/v1/smc/score", json={**asked, "reads": "all"})).json()["scores"]
    assert [each["detail"]["answer"] for each in told] == answers


# ---- beside tools, and in responses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    ['<tool_call>{"name": "add", "arguments": {}}</tool_call>', '{"name": "add", "arguments": {}}'],
)
async def test_calls_come_after_the_thought(make_client: MakeClient, call: str) -> None:
    client = make_client(thinker(f"I could <tool_call> it.</think>\n{call}"))
    choice = await post(client, tools=TOOLS)
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["reasoning"] == "I could <tool_call> it."
    assert choice["message"]["content"] is None
    body = chat(max_tokens=100, tools=TOOLS, smc={"block_size": 4})
    deltas = [chunk["choices"][0]["delta"] for chunk in (await events(client, "/v1/chat/completions", body))[:-1]]
    assert "".join(delta.get("reasoning") or "" for delta in deltas) == "I could <tool_call> it."
    assert "".join(delta.get("content") or "" for delta in deltas) == ""
    assert sum("tool_calls" in delta for delta in deltas) == 1


async def test_a_response_has_the_thought_as_an_item_of_its_own(make_client: MakeClient) -> None:
    client = make_client(thinker())
    whole = await respond(client, max_output_tokens=100)
    thought, message = whole["output"]
    assert thought["type"] == "reasoning"
    assert thought["content"] == [{"type": "reasoning_text", "text": "Let me see: b."}]
    assert message["content"][0]["text"] == "aaa"
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] == len(SAID) - 3
    told = await response_events(client, max_output_tokens=100, smc={"block_size": 4})
    names = [event["type"] for event in told]
    assert names.index("response.reasoning_text.done") < names.index("response.output_text.delta")
    assert "".join(e["delta"] for e in told if e["type"] == "response.reasoning_text.delta") == "Let me see: b."
    assert without_ids(told[-1]["response"]["output"]) == without_ids(whole["output"])
    again = [{"role": "user", "content": "abc"}, thought, message, {"role": "user", "content": "d"}]
    assert (await respond(client, input=again, max_output_tokens=100))["output"]


async def test_a_message_goes_back_as_it_came(make_client: MakeClient) -> None:
    client = make_client(thinker())
    message = (await post(client))["message"]
    messages = [{"role": "user", "content": "abc"}, message, {"role": "user", "content": "d"}]
    assert (await post(client, messages=messages))["message"]["content"] == "aaa"
