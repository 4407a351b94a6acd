"""Replies of any form: they are read, or refused as a BadReply; nothing else happens."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smc_decode.engines.remote.wire import BadReply, column_ids, read_drawn, read_scores

VOCAB = 8
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.floats()
    | st.sampled_from(["stop", "length", "1", "token_id:2"])
)
ANYTHING = st.recursive(LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each))
TOKENS = st.lists(st.integers(-1, 9) | LEAVES, max_size=4)
NAMES = st.sampled_from(["token_id:0", "token_id:1", "token_id:2", "3", "token_id:-1", "token_id:²", "x"])
ROWS = st.lists(st.dictionaries(NAMES, LEAVES, max_size=4) | LEAVES, max_size=4)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "token_ids": TOKENS | ANYTHING,
        "finish_reason": st.sampled_from(["stop", "length", "abort", None]),
        "logprobs": st.fixed_dictionaries({}, optional={"token_logprobs": TOKENS, "top_logprobs": ROWS}) | ANYTHING,
        "prompt_logprobs": st.lists(
            st.dictionaries(NAMES, st.fixed_dictionaries({"logprob": LEAVES}) | LEAVES) | LEAVES
        ),
    },
)
REPLIES = st.fixed_dictionaries({"choices": st.lists(CHOICE, min_size=1, max_size=1)}) | ANYTHING


@given(REPLIES, st.sampled_from(["", "q", "qz"]), st.booleans())
def test_a_completion_of_any_form_is_read_or_refused(reply: Any, columns: str, logprobs: bool) -> None:
    with contextlib.suppress(BadReply):
        drawn = read_drawn(
            reply, max_tokens=3, logprobs=logprobs, vocab_size=VOCAB, stops=frozenset({7}), columns=columns
        )
        assert 1 <= len(drawn.token_ids) <= 3
        assert all(0 <= token < VOCAB for token in drawn.token_ids)
        assert all(-math.inf < value <= 0 for value in drawn.logprobs)
        assert all(math.isfinite(value) for column in drawn.columns for value in column)


@given(REPLIES)
def test_scores_of_any_form_are_read_or_refused(reply: Any) -> None:
    with contextlib.suppress(BadReply):
        scores = read_scores(reply, [1, 2], 1, 2, VOCAB)
        assert [next(iter(row)) for row in scores] == [2]
        assert all(value <= 0 for row in scores for value in row.values())


def test_columns_are_told_under_ids_other_than_the_drawn_tokens() -> None:
    assert column_ids(0, 2) == [1, 2]
    assert column_ids(1, 2) == [0, 2]
    assert column_ids(5, 2) == [0, 1]
