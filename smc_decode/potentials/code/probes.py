"""Further inputs for a function, made from the examples that its prompt gives, and what programs do on them.

Programs that pass the same examples can still differ. On inputs without a known answer they can be compared with each
other: those that return the same are one answer of a vote (``selection="vote"``, ``extractor="behaviour"``). This is
the agreement of AlphaCode's clustering (Li et al., arXiv 2203.07814, section 4.4), here with the particles' weights.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

from smc_decode.potentials.code.examples import Example
from smc_decode.sandbox.results import Call, CallOutcome

MAX_SIZE = 2_000
"""Characters of a probe's arguments, so that none costs more than an example would."""


def probes_of(examples: Sequence[Example], limit: int) -> list[Call]:
    """At most ``limit`` calls with literal arguments near the examples', none of them an example. Deterministic."""
    known = [args for args in map(_arguments, examples) if args is not None]
    seen = {repr(args) for args in known}
    probes: list[Call] = []
    # round robin, so that every example has its share
    for args in chain.from_iterable(zip_longest(*map(_neighbours, known))):
        if len(probes) == limit:
            break
        if args is None or repr(args) in seen or len(repr(args)) > MAX_SIZE:
            continue
        seen.add(repr(args))
        probes.append(Call(args))
    return probes


def behaviour_of(outcomes: Sequence[CallOutcome]) -> str:
    """A digest that is equal where two programs did the same on every probe: value, exception type, or no answer."""
    digest = hashlib.blake2b(digest_size=12)
    for outcome in outcomes:
        for part in (outcome.kind.encode(), outcome.error.encode("utf-8", "replace"), outcome.key):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def _arguments(example: Example) -> tuple[object, ...] | None:
    """The positional arguments, or None where they are not all literals."""
    try:
        call = ast.parse(example.call, mode="eval").body
        if not isinstance(call, ast.Call) or call.keywords or not call.args:
            return None
        return tuple(ast.literal_eval(each) for each in call.args)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None


def _neighbours(args: tuple[object, ...]) -> Iterator[tuple[object, ...]]:
    """The arguments with one of them changed, first changes of every place first."""
    changed = [[(*args[:i], other, *args[i + 1 :]) for other in _variants(value)] for i, value in enumerate(args)]
    for group in zip_longest(*changed):
        yield from (each for each in group if each is not None)


def _variants(value: object) -> list[object]:
    """Values of the same type: shorter, longer, reordered, or a little more or less."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value + 3, max(value - 1, 0), value + 7, value // 2, value + 12]
    if isinstance(value, float):
        return [value + 1.0, value / 2, round(value)]
    if isinstance(value, str):
        half = len(value) // 2
        return [value[::-1], value[half:] + value[:half], value + value, value[:half], value.swapcase()]
    if isinstance(value, list | tuple):
        items, kind = list(value), type(value)
        inner = [_one_changed(items, i) for i in range(min(len(items), 3))]
        return [kind(each) for each in (items[::-1], *inner, items + items, items[1:])]
    if isinstance(value, dict) and value:
        return [dict(list(value.items())[1:]), dict(reversed(value.items()))]
    return []


def _one_changed(items: list[object], i: int) -> list[object]:
    return [*items[:i], *_variants(items[i])[:1], *items[i + 1 :]]
