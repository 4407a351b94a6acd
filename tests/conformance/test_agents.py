"""openai-agents with its default model, which asks for responses."""

from __future__ import annotations

import openai
import pytest

from tests.conformance.serving import Server

agents = pytest.importorskip("agents")


@pytest.fixture
def agent(server: Server) -> agents.Agent:
    agents.set_tracing_disabled(True)
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0)
    model = agents.OpenAIResponsesModel(model=server.model, openai_client=client)
    return agents.Agent(name="one", instructions="Be brief.", model=model)


async def test_an_agent_answers_and_goes_on(agent: agents.Agent) -> None:
    first = await agents.Runner.run(agent, "Name a colour.")
    assert first.final_output
    more = [*first.to_input_list(), {"role": "user", "content": "Another one."}]
    assert (await agents.Runner.run(agent, more)).final_output


async def test_an_agent_streams(agent: agents.Agent) -> None:
    result = agents.Runner.run_streamed(agent, "Name a colour.")
    names = [event.data.type async for event in result.stream_events() if event.type == "raw_response_event"]
    assert names[0] == "response.created"
    assert "response.output_text.delta" in names
    assert result.final_output
