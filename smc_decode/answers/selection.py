"""Which particle is the answer: sample, best or vote. docs/method.md, "Selection"."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from smc_decode.config import SMCConfig
from smc_decode.laws.resampling import systematic
from smc_decode.result import Particle

Decode = Callable[[Sequence[int]], str]
Key = Callable[[tuple[int, ...]], Hashable | None]


def answer_key(extractor: str, decode: Decode | None) -> Key:
    """What makes two answers the same: their tokens, or what the extractor finds in their text.

    A text in which the extractor finds nothing is its own answer.

    Raises:
        ValueError: a text extractor with an engine that has no tokenizer.
    """
    if extractor == "tokens":
        return lambda token_ids: token_ids
    if decode is None:
        raise ValueError(f"extractor {extractor!r} reads text, but the engine has no tokenizer: use 'tokens'")
    from smc_decode.answers.extractors import EXTRACTORS

    extract = EXTRACTORS[extractor]

    def key(token_ids: tuple[int, ...]) -> Hashable | None:
        return extract(decode(token_ids))

    return key


def groups(answers: Sequence[tuple[int, ...]], weights: Sequence[float], key: Key) -> list[tuple[float, list[int]]]:
    """Equal answers merged: (summed weight, indices), heaviest first. Identical sequences are extracted once."""
    keys: dict[tuple[int, ...], Hashable] = {}
    merged: dict[Hashable, list[int]] = {}
    for index, answer in enumerate(answers):
        if answer not in keys:
            extracted = key(answer)
            keys[answer] = ("nothing", answer) if extracted is None else ("answer", extracted)
        merged.setdefault(keys[answer], []).append(index)
    summed = [(math.fsum(weights[i] for i in members), members) for members in merged.values()]
    return sorted(summed, key=lambda group: -group[0])


def select(
    particles: Sequence[Particle], config: SMCConfig, n: int, rng: np.random.Generator, decode: Decode | None
) -> list[Particle]:
    """``n`` draws from the population by the configured rule; the first is the answer.

    ``sample``: each draw is a particle with probability W (a draw from the target, up to the population's error).
    ``best``: highest reward, ties by weight: a search mode. ``vote``: the heaviest answer groups, each by its
    heaviest member; ``extractor="behaviour"`` groups programs by what they do, or by their syntax where that was not
    seen.
    """
    weights = np.array([particle.weight for particle in particles])
    if config.selection == "sample":
        drawn = systematic(weights, n, rng).ancestors
        rng.shuffle(drawn)
        return [particles[i] for i in drawn]
    if config.selection == "best":
        order = sorted(range(len(particles)), key=lambda i: (-_reward(particles[i]), -weights[i]))
        order = [i for i in order if weights[i] > 0] or order
    else:
        behaviour = config.extractor == "behaviour"
        key = _behaviour(particles, decode) if behaviour else answer_key(config.extractor, decode)
        voted = groups([p.token_ids for p in particles], weights.tolist(), key)
        order = [max(members, key=lambda i: weights[i]) for _, members in voted]
    return [particles[order[i % len(order)]] for i in range(n)]


def _behaviour(particles: Sequence[Particle], decode: Decode | None) -> Key:
    """What the reward saw programs return on further inputs (``potentials.probes``), else the syntax of the program."""
    seen = {particle.token_ids: particle.detail.get("behaviour") for particle in particles}
    syntax: Key = answer_key("code", decode) if decode is not None else lambda token_ids: None

    def key(token_ids: tuple[int, ...]) -> Hashable | None:
        behaviour = seen.get(token_ids)
        return ("does", behaviour) if behaviour else syntax(token_ids)

    return key


def _reward(particle: Particle) -> float:
    return -math.inf if particle.reward is None else particle.reward
