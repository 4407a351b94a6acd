"""A message that the client began is judged as a whole, by every reward."""

from __future__ import annotations

import pytest

from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardRequest
from tests.potentials.answers import answer


def begun(text: str, continues: bool = True) -> RewardRequest:
    messages = ({"role": "user", "content": "How many?"}, {"role": "assistant", "content": text})
    return RewardRequest("How many?", messages, continues=continues)


async def reward(name: str, params: dict[str, object], request: RewardRequest, text: str) -> float:
    catalogue = RewardCatalogue.default()
    try:
        source = catalogue.source(name, params, request)
        return (await source.rewards([answer(text)]))[0].value
    finally:
        await catalogue.aclose()


@pytest.mark.parametrize(
    ("name", "params", "lead", "text"),
    [
        ("regex", {"pattern": "In all: .*"}, "In all: 4", "2"),
        ("json_schema", {"schema": {"type": "object", "required": ["n"]}}, '{"n"', ": 1}"),
        ("arithmetic", {"empty": 0.0}, "3 + 4 ", "= 7."),
        ("ensemble", {"members": {"regex": 1}, "params": {"regex": {"pattern": "In all: .*"}}}, "In all: 4", "2"),
    ],
)
async def test_what_was_prefilled_counts(name: str, params: dict[str, object], lead: str, text: str) -> None:
    assert await reward(name, params, begun(lead), text) == 1.0
    assert await reward(name, params, begun(lead, continues=False), text) < 1.0


def test_a_last_message_of_the_assistant_is_no_beginning_unless_the_request_says_so() -> None:
    assert begun("So", continues=False).lead == ""
    assert begun("So").lead == "So"
