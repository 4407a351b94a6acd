"""Rows of several sequences, on a table: no vLLM, but a batch that goes as vLLM's does."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right
from dataclasses import replace

import pytest

from smc_decode.engines.vllm.inside.merging import Drawn, Member, Merging, Row
from smc_decode.engines.vllm.messages import Generate, Generated
from smc_decode.shaping import Shaping

EOS = 0
VOCABULARY = 4


def noise(seed: int, position: int) -> float:
    return random.Random(f"{seed} {position}").random()


def probabilities(tokens: list[int], temperature: float) -> list[float]:
    rng = random.Random(repr(tokens))
    weights = [math.exp(rng.gauss(0, 1.5) / temperature) for _ in range(VOCABULARY)]
    return [weight / sum(weights) for weight in weights]


def drawn_by(tokens: list[int], temperature: float, member: Member) -> Drawn:
    law = probabilities(tokens, temperature)
    law = [0.0 if token in member.excluded else mass for token, mass in enumerate(law)]
    law = [mass / sum(law) for mass in law]
    number = member.uniform(noise, len(tokens))
    cumulative = list(itertools.accumulate(law))
    token = min(bisect_right(cumulative, number), VOCABULARY - 1)
    left = (number - cumulative[token] + law[token]) / law[token]
    return Drawn(token, law[token], min(max(left, 0.0), 1 - 2**-53), (math.log(law[token]),))


class Batch:
    """Steps rows to their ends, and looks at each as vLLM would."""

    def __init__(self) -> None:
        self.merging = Merging()
        self.running: list[Row] = []
        self.replies: dict[int, Generated] = {}
        self.rows = 0
        self.prefixes: set[tuple[float, tuple[int, ...]]] = set()

    def submit(self, requests: list[Generate]) -> None:
        rows = [row for row in map(self.merging.add, requests) if row is not None]
        for row in rows:
            row.cached = 0
            assert row.request().prompt == row.tokens
        self.running += rows

    def step(self) -> None:
        for row in list(self.running):
            temperature = row.law.temperature
            self.rows += 1
            assert row.room is not None
            assert row.room >= max(member.left for member in row.members)
            self.prefixes.add((temperature, tuple(row.tokens)))
            lead = row.lead([drawn_by(row.tokens, temperature, member) for member in row.members])
            split = self.merging.step(row, lead)
            for member in split.done:
                assert member.request.id not in self.replies
                self.replies[member.request.id] = member.reply()
            for new in split.leaving:
                assert new.source is row
                assert new.request().prompt == new.tokens
            self.running += split.leaving
            if not split.goes_on:
                self.running.remove(row)
                assert not split.leaving

    def run(self) -> dict[int, Generated]:
        while self.running:
            self.step()
        assert len(self.merging) == 0
        return self.replies


def requests(n: int, *, first: int = 0, prompt: list[int] | None = None, **settings) -> list[Generate]:
    return [
        Generate(first + i, (prompt or [3, 1]).copy(), 12, 0.6, seed=i, stop_token_ids=[EOS], logprobs=True, call=first)
        if not settings
        else replace(requests(n, first=first, prompt=prompt)[i], **settings)
        for i in range(n)
    ]


def alone(request: Generate) -> Generated:
    batch = Batch()
    batch.submit([request])
    return batch.run()[request.id]


def as_drawn(reply: Generated) -> tuple[list[int], list[list[float]], bool]:
    return reply.token_ids, reply.values, reply.stopped


MIXTURES = {
    "all alike": requests(16),
    "of several lengths": [replace(each, max_tokens=1 + each.id) for each in requests(12)],
    "of two temperatures": requests(6) + requests(6, first=50, temperature=1.4),
    "of two callers": requests(6) + requests(6, first=50),
    "of prompts that meet": requests(6) + requests(3, first=50, prompt=[3, 1, 2]) + requests(3, first=90, prompt=[3]),
    "with codes": [replace(each, code=(each.id + 0.3) / 16) for each in requests(16)],
    "some without their first choice": [replace(each, excluded=[each.id % 3]) for each in requests(9)],
    "without stop tokens": requests(8, stop_token_ids=[]),
    "that tell nothing": requests(8, logprobs=False),
}


@pytest.mark.parametrize("mixture", MIXTURES)
def test_every_sequence_is_the_one_that_it_would_have_been_alone(mixture: str) -> None:
    batch = Batch()
    batch.submit(MIXTURES[mixture])
    replies = batch.run()
    assert set(replies) == {request.id for request in MIXTURES[mixture]}
    for request in MIXTURES[mixture]:
        assert as_drawn(replies[request.id]) == as_drawn(alone(request))


@pytest.mark.parametrize("mixture", ["all alike", "of several lengths", "of two callers", "without stop tokens"])
def test_as_many_rows_are_computed_as_there_are_distinct_prefixes(mixture: str) -> None:
    batch = Batch()
    batch.submit(MIXTURES[mixture])
    replies = batch.run().values()
    assert batch.rows == len(batch.prefixes) < sum(len(reply.token_ids) for reply in replies)
    assert sum(reply.rows for reply in replies) == batch.rows


def test_what_a_caller_pays_does_not_depend_on_who_else_is_there() -> None:
    first, second = requests(6), requests(6, first=50, seed=3)
    together, apart = Batch(), Batch()
    together.submit(first + second)
    apart.submit(first)
    both, one = together.run(), apart.run()
    assert [both[each.id].computed for each in first] == [one[each.id].computed for each in first]
    assert sum(each.computed for each in both.values()) > together.rows


def test_a_request_for_what_is_in_work_joins_it() -> None:
    batch = Batch()
    batch.submit(requests(1))
    batch.step()
    (row,) = batch.running
    batch.submit(requests(1, first=70, prompt=row.tokens.copy(), max_tokens=3))
    assert len(batch.running) == 1
    batch.submit(requests(1, first=80, prompt=row.tokens.copy(), max_tokens=40))
    assert len(batch.running) == 2
    batch.run()
    late = batch.replies[70]
    assert as_drawn(late) == as_drawn(alone(requests(1, first=70, prompt=row.tokens[: row.began + 1], max_tokens=3)[0]))
    assert late.cached == row.began + 1


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.7},
        {"stop_token_ids": [EOS, 1]},
        {"columns": "q"},
        {"logprobs": False},
        {"alpha": 2.0},
        {"shaping": Shaping(top_k=2)},
        {"shaping": Shaping(min_tokens=2)},
    ],
)
def test_requests_with_another_law_are_rows_of_their_own(change: dict[str, object]) -> None:
    merging = Merging()
    assert merging.add(requests(1)[0]) is not None
    assert merging.add(requests(1, first=1)[0]) is None
    assert merging.add(requests(1, first=2, **change)[0]) is not None


def test_penalties_join_only_answers_that_begin_at_one_place() -> None:
    merging = Merging()
    shaping = Shaping(presence_penalty=0.5)
    prompt = [5, 6, 7]
    assert merging.add(requests(1, prompt=prompt, shaping=shaping, generated=1)[0]) is not None
    assert merging.add(requests(1, first=1, prompt=prompt, shaping=shaping, generated=1)[0]) is None
    assert merging.add(requests(1, first=2, prompt=prompt, shaping=shaping, generated=0)[0]) is not None


def test_a_row_that_leaves_counts_on_where_its_answer_and_its_least_length_began() -> None:
    merging = Merging()
    shaping = Shaping(min_tokens=5, presence_penalty=0.5)
    for request in requests(2, prompt=[9, 9, 9], shaping=shaping, generated=1, stop_token_ids=[]):
        row = merging.add(request) or row  # noqa: F821
    row.lead([Drawn(1), Drawn(2)])
    (leaving,) = merging.step(row, 1).leaving
    request = leaving.request()
    assert (request.prompt, request.generated, request.shaping.min_tokens) == ([9, 9, 9, 2], 2, 4)
    assert request.max_tokens == 11


def test_a_request_that_is_dropped_leaves_the_others_and_ends_a_row_that_is_empty() -> None:
    batch = Batch()
    wanted = requests(3)
    batch.submit(wanted)
    batch.step()
    assert batch.merging.drop(0) is None or len(batch.running) > 1
    rows = [row for row in batch.running if not row.members]
    batch.running = [row for row in batch.running if row.members]
    assert len(rows) <= 1
    replies = batch.run()
    assert set(replies) == {1, 2}
    assert as_drawn(replies[1]) == as_drawn(alone(wanted[1]))
    assert batch.merging.drop(1) is None


def test_a_position_that_is_drawn_again_counts_once() -> None:
    merging = Merging()
    row = merging.add(requests(1)[0])
    assert row is not None
    row.lead([Drawn(1)])
    assert row.lead([Drawn(2)]) == 2
    (member,) = row.members
    merging.step(row, 2)
    assert member.token_ids == [2]
