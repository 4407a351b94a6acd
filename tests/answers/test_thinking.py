"""A thought and the answer after it, as parts of a text that grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smc_decode.answers.thinking import KNOWN_TAGS, Parts, Thinking, ThinkTags, tags_of

TAGS = ThinkTags("<think>", "</think>")
TEXTS = st.lists(st.sampled_from(["<think>", "</think>", "<", "</thi", "a", " ", "\n", "think>"]), max_size=8).map(
    "".join
)


@pytest.mark.parametrize(
    ("opened", "text", "parts"),
    [
        (False, "a", Parts(None, "a")),
        (False, "", Parts(None, "")),
        (False, "<", Parts(None, "<")),
        (False, "a <think>b</think>c", Parts(None, "a <think>b</think>c")),
        (False, "<think>\nb\n</think>\n\nc\n", Parts("b", "c\n")),
        (False, "\n<think></think>c", Parts("", "c")),
        (False, "<think>b", Parts("b", "")),
        (False, "<think>b</think>c</think>d", Parts("b", "c</think>d")),
        (True, "b</think>c", Parts("b", "c")),
        (True, "<think>b</think>c", Parts("b", "c")),
        (True, "b </thi", Parts("b </thi", "")),
        (True, "", Parts("", "")),
    ],
)
def test_an_ended_text_is_a_thought_and_an_answer(opened: bool, text: str, parts: Parts) -> None:
    assert Thinking(TAGS, opened).split(text, ended=True) == parts


@given(TEXTS, st.booleans())
def test_the_parts_of_a_text_begin_with_those_of_what_it_grew_from(text: str, opened: bool) -> None:
    thinking = Thinking(TAGS, opened)
    thought, answer, final = "", "", ""
    for length in range(len(text) + 1):
        ended = length == len(text)
        parts = thinking.split(text[:length], ended=ended)
        assert (parts.thought or "").startswith(thought)
        assert parts.answer.startswith(answer)
        assert thinking.final(text[:length]).startswith(final)
        thought, answer, final = parts.thought or "", parts.answer, thinking.final(text[:length])


@pytest.mark.parametrize("tags", KNOWN_TAGS)
def test_the_tags_of_a_model_are_those_of_its_chat_template(tags: ThinkTags) -> None:
    assert tags_of(f"{{% if '{tags.close}' in content %}}...") == tags
    assert tags_of("{{ messages }}") is None
