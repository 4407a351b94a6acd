"""Draws of one prefix as one request with ``n``, on servers that give each of the n noise of its own.

vLLM gives the i-th of n sequences the request's seed plus i. So a bundle's draws are as many independent draws by q,
told apart by the first one's seed and their places rather than by seeds of their own: the law of a run is the same,
and the same seed gives the same run. What is saved is one HTTP request, its parsing, and its place in the queue for
each further draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST = 64
"""Draws in one request: an answer has to fit into what is read of one."""
_SEEDS = 2**62


@dataclass(frozen=True, slots=True)
class Bundle:
    """A request's body, and which draws of the call its choices are, in their order."""

    body: dict[str, Any]
    indices: tuple[int, ...]


def bundled(bodies: Sequence[dict[str, Any]], owners: Sequence[int]) -> list[Bundle]:
    """Bodies that differ in their seeds alone, and have one owner, as one with ``n``; in the order of their first."""
    alike: list[tuple[dict[str, Any], int, list[int]]] = []
    places: dict[tuple[int, int, int], list[int]] = {}
    for index, (body, owner) in enumerate(zip(bodies, owners, strict=True)):
        law = {name: value for name, value in body.items() if name != "seed"}
        prompt = body["prompt"]
        here = places.setdefault((owner, len(prompt), prompt[-1] if prompt else -1), [])
        known = next((i for i in here if len(alike[i][2]) < MOST and alike[i][0] == law), None)
        if known is None:
            here.append(len(alike))
            alike.append((law, owner, [index]))
        else:
            alike[known][2].append(index)
    return [_bundle(bodies[indices[0]], tuple(indices)) for _, _, indices in alike]


def each_alone(bodies: Sequence[dict[str, Any]]) -> list[Bundle]:
    """A request for each draw."""
    return [Bundle(body, (index,)) for index, body in enumerate(bodies)]


def _bundle(body: dict[str, Any], indices: tuple[int, ...]) -> Bundle:
    if len(indices) == 1:
        return Bundle(body, indices)
    # A seed that the places can be added to.
    seed = {"seed": body["seed"] % _SEEDS} if "seed" in body else {}
    return Bundle({**body, **seed, "n": len(indices)}, indices)
