"""Inside the engine's process: one row of the batch for all sequences that agree so far.

Sequences with the same prefix, temperature and shaping have the same next-token law. They are one request of vLLM's, a
*row*, which draws a token for each of its members from that member's own noise, so that every sequence is the one that
it would have been alone. Members that draw the same token stay; the others leave as rows of their own, which adopt the
first one's cache blocks and compute one token. vLLM sees ordinary requests that go on, end early, and begin anew.

Nothing here knows vLLM: :mod:`.merging_sampler` draws, :mod:`.worker` submits rows and takes what they drew.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from smc_decode.engines.vllm.messages import Generate, Generated
from smc_decode.laws.codes import Code
from smc_decode.shaping import Shaping

Noise = Callable[[int, int], float]
"""(seed, position) -> a uniform number in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Law:
    """What sequences of one prefix must agree in to be one row. ``start``: where the answer begins, if that matters."""

    temperature: float
    stop_token_ids: tuple[int, ...]
    columns: str | None
    alpha: float | None
    shaping: Shaping
    least: int
    start: int | None

    @classmethod
    def of(cls, request: Generate) -> Law:
        shaping = request.shaping
        start = len(request.prompt) - request.generated
        counted = shaping.penalises or shaping.grammar is not None
        return cls(
            temperature=request.temperature,
            stop_token_ids=tuple(request.stop_token_ids),
            columns=request.columns if request.logprobs else None,
            alpha=request.alpha,
            shaping=replace(shaping, min_tokens=0) if shaping.min_tokens else shaping,
            least=len(request.prompt) + shaping.min_tokens if shaping.min_tokens else 0,
            start=start if counted else None,
        )


@dataclass(slots=True)
class Member:
    """One request on its way: what it drew, and the noise that it draws from."""

    request: Generate
    left: int
    code: Code
    token_ids: list[int] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    cached: int | None = None
    computed: int = 0
    rows: int = 0
    stopped: bool = False

    def uniform(self, noise: Noise, position: int) -> float:
        """The number that the token at ``position`` of the whole sequence is drawn by."""
        return noise(self.request.seed, position) if self.code.value is None else self.code.value

    @property
    def excluded(self) -> tuple[int, ...]:
        """What its next token is none of."""
        return () if self.token_ids else tuple(self.request.excluded)

    @property
    def finished(self) -> bool:
        return self.stopped or self.left == 0

    def reply(self) -> Generated:
        values = self.values if self.request.logprobs else []
        cached = len(self.request.prompt) if self.cached is None else self.cached
        return Generated(
            self.request.id, self.token_ids, values, self.stopped, cached, computed=self.computed, rows=self.rows
        )


@dataclass(slots=True)
class Drawn:
    """What one member draws in a step. ``values``: log p, and the columns that it asked for."""

    token: int
    probability: float = 1.0
    left: float = 0.0
    values: tuple[float, ...] = ()


class Row:
    """Members with one prefix. ``tokens``: the prefix, which grows; ``began``: its length at the beginning, of which
    ``cached`` came from the cache; ``source``: the row that it left; ``room``: what it may still draw, once it is
    submitted."""

    __slots__ = ("began", "cached", "drawn", "law", "members", "name", "room", "source", "tokens")

    def __init__(
        self, name: str, law: Law, tokens: list[int], members: list[Member], source: Row | None = None
    ) -> None:
        self.name = name
        self.law = law
        self.tokens = tokens
        self.began = len(tokens)
        self.members = members
        self.source = source
        self.cached: int | None = None
        self.room: int | None = None
        self.drawn: list[Drawn] = []

    def request(self) -> Generate:
        """The row as the request that is submitted: it may draw as much as the longest of its members."""
        self.room = max(member.left for member in self.members)
        first = self.members[0].request
        start = len(first.prompt) - first.generated
        least = max(self.law.least - len(self.tokens), 0)
        return replace(
            first,
            prompt=self.tokens.copy(),
            max_tokens=self.room,
            shaping=replace(first.shaping, min_tokens=least) if first.shaping.min_tokens else first.shaping,
            generated=len(self.tokens) - start,
            excluded=[],
            code=None,
        )

    def takes(self, law: Law, prompt: Sequence[int], left: int) -> bool:
        """Whether a request with this law and prompt, and so many tokens to draw, is one of its members by now."""
        return (self.room is None or left <= self.room) and law == self.law and self.tokens == prompt

    def lead(self, drawn: list[Drawn]) -> int:
        """Keep what the members drew, in their order, and say which token the row goes on with.

        Called again for the same position (a prompt that is computed in parts), the last call counts.
        """
        self.drawn = drawn
        going = [
            each.token
            for member, each in zip(self.members, drawn, strict=True)
            if member.left > 1 and each.token not in self.law.stop_token_ids
        ]
        among = going or [each.token for each in drawn]
        return max(dict.fromkeys(among), key=among.count)


@dataclass(slots=True)
class Split:
    """What became of a row in a step: members that are done, rows that leave it, whether it goes on itself."""

    done: list[Member]
    leaving: list[Row]
    goes_on: bool


class Merging:
    """The rows that are in work, and who is in them."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._rows: dict[str, Row] = {}
        self._row_of: dict[int, Row] = {}
        self._places: dict[tuple[int, int], list[Row]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def members(self) -> int:
        """How many requests are in work."""
        return len(self._row_of)

    def rows(self) -> list[Row]:
        """All of them, oldest first."""
        return list(self._rows.values())

    def add(self, request: Generate) -> Row | None:
        """A new row for a request, None where one that is in work takes it."""
        law = Law.of(request)
        member = Member(request, request.max_tokens, Code(request.code))
        member.values = [[] for _ in range(1 + len(request.columns))]
        for row in self._places.get(_place(request.prompt), ()):
            if not row.drawn and row.takes(law, request.prompt, member.left):
                row.members.append(member)
                self._row_of[request.id] = row
                return None
        return self._begin(law, request.prompt.copy(), [member], None)

    def drop(self, request_id: int) -> Row | None:
        """Forget a request. Its row, where that has no members any more: it is to be ended."""
        row = self._row_of.pop(request_id, None)
        if row is None:
            return None
        row.members = [member for member in row.members if member.request.id != request_id]
        if row.members:
            return None
        self._end(row)
        return row

    def forget(self, row: Row) -> None:
        """A row that could not be submitted, with all its members."""
        for member in row.members:
            self._row_of.pop(member.request.id, None)
        self._end(row)

    def step(self, row: Row, lead: int) -> Split:
        """Take what the members drew: ``lead`` is the token that the row went on with."""
        calls: set[int] = set()
        if not row.members[0].token_ids:
            row.members[0].cached = row.cached
        for member, drawn in zip(row.members, row.drawn, strict=True):
            _take(member, drawn, row.law)
            member.rows += not calls
            member.computed += member.request.call not in calls
            calls.add(member.request.call)
        row.drawn = []
        done = [member for member in row.members if member.finished]
        groups: dict[int, list[Member]] = {}
        for member in row.members:
            if not member.finished:
                groups.setdefault(member.token_ids[-1], []).append(member)
        for member in done:
            del self._row_of[member.request.id]
        self._leave_place(row)
        leaving = [
            self._begin(row.law, [*row.tokens, token], members, row)
            for token, members in groups.items()
            if token != lead
        ]
        row.members = groups.get(lead, [])
        if row.members:
            row.tokens.append(lead)
            row.room = None if row.room is None else row.room - 1
            self._places.setdefault(_place(row.tokens), []).append(row)
        else:
            self._rows.pop(row.name, None)
        return Split(done, leaving, bool(row.members))

    def _begin(self, law: Law, tokens: list[int], members: list[Member], source: Row | None) -> Row:
        row = Row(f"row-{next(self._numbers)}", law, tokens, members, source)
        self._rows[row.name] = row
        self._places.setdefault(_place(tokens), []).append(row)
        for member in members:
            self._row_of[member.request.id] = row
        return row

    def _end(self, row: Row) -> None:
        self._rows.pop(row.name, None)
        self._leave_place(row)

    def _leave_place(self, row: Row) -> None:
        place = _place(row.tokens)
        here = self._places.get(place, [])
        if row in here:
            here.remove(row)
        if not here:
            self._places.pop(place, None)


def _place(tokens: Sequence[int]) -> tuple[int, int]:
    """Where rows with this prefix are looked for: rows move at each step, so a number that is cheap to work out."""
    return len(tokens), tokens[-1] if tokens else -1


def _take(member: Member, drawn: Drawn, law: Law) -> None:
    member.token_ids.append(drawn.token)
    member.left -= 1
    member.stopped = drawn.token in law.stop_token_ids
    member.code.spend(drawn.probability, drawn.left)
    for column, value in zip(member.values, drawn.values, strict=False):
        column.append(value)
