"""Text grows by whole characters and stops where it should, wherever the pieces are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.openai.text import Detokenizer, ShownText
from tests.server.toy import END, ByteTokenizer

decode = ByteTokenizer().decode
TEXTS = st.text(alphabet="ab é漢🙂\n", max_size=20)


def grow(shown: ShownText, ids: list[int], cuts: list[int]) -> list[str]:
    given_out = [shown.feed(ids[:cut]) for cut in sorted(cuts)]
    return [*given_out, shown.end(ids)]


@given(TEXTS, st.lists(st.integers(0, 60), max_size=6))
def test_pieces_join_to_the_whole_text(text: str, cuts: list[int]) -> None:
    ids = [*text.encode(), END]
    shown = ShownText(decode)
    pieces = grow(shown, ids, [min(cut, len(ids)) for cut in cuts])
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)
    assert "".join(shown.pieces) == text
    assert len(shown.pieces) == len(ids)


@given(TEXTS, st.lists(st.sampled_from(["a", "ab", "é", "b é", "🙂\n"]), min_size=1, max_size=3), st.integers(0, 60))
def test_nothing_at_or_after_a_stop_string_is_ever_given_out(text: str, stop: list[str], cut: int) -> None:
    ids = list(text.encode())
    shown = ShownText(decode, stop)
    given_out = "".join(grow(shown, ids, [min(cut, len(ids))]))
    ends = [text.find(each) for each in stop if each in text]
    assert given_out == (text[: min(ends)] if ends else text)


def test_the_beginning_of_a_stop_string_is_held_back() -> None:
    shown = ShownText(decode, ["END"])
    assert shown.feed(list(b"abcEN")) == "abc"
    assert shown.feed(list(b"abcENx")) == "ENx"
    assert shown.feed(list(b"abcENxEND and more")) == ""
    assert shown.stopped
    assert shown.end(list(b"abcENxEND and more")) == ""


def test_what_follows_a_marker_is_kept_for_the_end() -> None:
    shown = ShownText(decode, markers=["<tool_call>"])
    assert shown.feed(list(b"so: <tool")) == "so: "
    assert shown.feed(list(b"so: <tool_call>{}")) == ""
    assert shown.end(list(b"so: <tool_call>{}!")) == "<tool_call>{}!"


def test_bytes_that_are_no_text_come_out_at_the_end() -> None:
    shown = ShownText(decode)
    assert shown.feed([97, 0xE6, 0xBC]) == "a"
    assert shown.end([97, 0xE6, 0xBC]) == "\ufffd"


@pytest.mark.parametrize("text", ["", "a", "é漢🙂"])
def test_a_detokenizer_gives_each_character_with_its_last_byte(text: str) -> None:
    detokenizer = Detokenizer(decode)
    pieces = [detokenizer.push(each) for each in text.encode()]
    assert "".join(pieces) == text
    assert detokenizer.rest() == ""
