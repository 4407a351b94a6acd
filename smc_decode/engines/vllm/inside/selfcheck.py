"""What is tried at the start, before the numbers of a process are believed. Also its warm-up: kernels are compiled on
first use."""

from __future__ import annotations

from collections.abc import Callable

from smc_decode.engines.vllm.messages import Generate, Generated
from smc_decode.shaping import NO_SHAPING, Shaping

Run = Callable[[list[Generate]], dict[int, Generated]]
"""Runs requests to their end; replies by id."""


def tells_proposals(run: Run) -> bool:
    """Whether log p, log q and log z agree where they must.

    At temperature 1, q = p and log z(1) = 0. At temperature 1/2, log z(2) = 2 log p - log q. With top-k = 1 the
    draw is all but certain, and log z(alpha) of the one token is alpha log p.
    """
    prompt = [(7 * i) % 100 + 3 for i in range(8)]
    cases = [(1.0, 1.0, NO_SHAPING), (0.5, 2.0, NO_SHAPING), (0.7, 3.0, Shaping(top_k=1))]
    requests = [
        Generate(-i, prompt, 3, temperature, seed=i, logprobs=True, columns="qz", alpha=alpha, shaping=shaping)
        for i, (temperature, alpha, shaping) in enumerate(cases, start=1)
    ]
    answers = run(requests)
    plain, powered, certain = (answers[request.id].values for request in requests)
    return (
        all(_near(p, q) and _near(z, 0.0) for p, q, z in zip(*plain, strict=True))
        and all(_near(z, 2 * p - q) for p, q, z in zip(*powered, strict=True))
        # A tie shares the probability among the tied.
        and all(-1.5 < q < 1e-3 and _near(z, 3 * p - q) for p, q, z in zip(*certain, strict=True))
    )


def continues_alike(run: Run, block_size: int) -> bool:
    """Whether answers that are cut and drawn on, on adopted blocks, are the answers that they were cut from."""
    prompt = [(11 * i) % 97 + 3 for i in range(block_size + 5)]
    whole = [Generate(-10 - i, prompt, 5, 1.0, i, logprobs=True) for i in range(2)]
    drawn = run(whole)
    cuts = [
        Generate(-20 - i, prompt + drawn[request.id].token_ids[:3], 2, 1.0, i, logprobs=True)
        for i, request in enumerate(whole)
    ]
    again = run(cuts)
    for request, cut in zip(whole, cuts, strict=True):
        before, after = drawn[request.id], again[cut.id]
        if after.cached != len(cut.prompt) - 1 or after.token_ids != before.token_ids[3:]:
            return False
        if not all(abs(p - q) < 0.5 for p, q in zip(after.values[0], before.values[0][3:], strict=True)):
            return False
    return True


def merged_cases(first_id: int) -> list[Generate]:
    """Sequences that agree at first and part later."""
    prompt = [(13 * i) % 89 + 3 for i in range(9)]
    return [
        Generate(first_id - i, prompt, 6, 1.0, seed=i, logprobs=True, columns="qz", alpha=2.0, excluded=[7] * (i % 2))
        for i in range(4)
    ]


def merges_alike(alone: list[Generated], together: list[Generated]) -> bool:
    """Whether sequences that shared rows drew what they drew alone, in the same order: all but a few, which kernels for
    other numbers of rows may turn at a near tie, and with near the same numbers for as long as they agree."""
    agreeing = 0
    for one, other in zip(alone, together, strict=True):
        same = [a == b for a, b in zip(one.token_ids, other.token_ids, strict=True)]
        until = same.index(False) if False in same else len(same)
        agreeing += until == len(same)
        for ours, theirs in zip(one.values, other.values, strict=True):
            if not all(abs(a - b) < 0.5 for a, b in zip(ours[:until], theirs[:until], strict=True)):
                return False
    return 2 * agreeing >= len(alone)


def _near(a: float, b: float) -> bool:
    return abs(a - b) < 1e-3 + 1e-4 * abs(b)
