"""Which particle is the answer: sample, best or vote. docs/method.md, "Selection".

A package adds a rule with the decorator :meth:`SELECTIONS.register`, or with an entry point in the group
``smc_decode.selection``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from smc_decode.answers.behaviour import behaviours
from smc_decode.config import SMCConfig
from smc_decode.errors import ExtractorFault
from smc_decode.laws.resampling import systematic
from smc_decode.potentials.options import MissingExtra
from smc_decode.registry import Registry
from smc_decode.result import Particle

Decode = Callable[[Sequence[int]], str]
Key = Callable[[tuple[int, ...]], Hashable | None]


@dataclass(frozen=True)
class Electorate:
    """What a selection rule sees: the population, its Generator, and when two answers are the same.

    ``to_be_ended``: unfinished answers will be brought to their end once they are chosen.
    """

    particles: Sequence[Particle]
    rng: np.random.Generator
    extractor: str = "tokens"
    decode: Decode | None = None
    to_be_ended: bool = False

    @cached_property
    def weights(self) -> np.ndarray:
        """Normalised weights, shape (N,)."""
        return np.array([particle.weight for particle in self.particles])

    @cached_property
    def eligible(self) -> list[int]:
        """Whom a search may choose: the living and complete, the living, or all, the first of these that are any."""
        living = [i for i, particle in enumerate(self.particles) if particle.weight > 0]
        complete = [] if self.to_be_ended else [i for i in living if self.particles[i].finished]
        return complete or living or list(range(len(self.particles)))

    @cached_property
    def key(self) -> Key:
        """What makes two answers the same. Raises ValueError as :func:`answer_key` does."""
        if self.extractor != "behaviour":
            return answer_key(self.extractor, self.decode)
        seen = behaviours(self.particles)
        syntax: Key = (lambda token_ids: None) if self.decode is None else answer_key("code", self.decode)
        return lambda token_ids: seen.get(token_ids) or syntax(token_ids)


SelectionRule = Callable[[Electorate, int], list[int]]
"""(the population, number of draws) -> indices of the draws; the first is the answer."""

SELECTIONS: Registry[SelectionRule] = Registry("selection", group="smc_decode.selection")


@SELECTIONS.register("sample")
def sample_by_weight(electorate: Electorate, n: int) -> list[int]:
    """Each draw is a particle with probability W: a draw from the target, up to the population's error."""
    drawn = systematic(electorate.weights, n, electorate.rng).ancestors
    electorate.rng.shuffle(drawn)
    return [int(i) for i in drawn]


@SELECTIONS.register("best")
def best_rewards(electorate: Electorate, n: int) -> list[int]:
    """The highest rewards, ties by weight, each sequence once: a search mode."""
    particles, weights = electorate.particles, electorate.weights
    order = sorted(electorate.eligible, key=lambda i: (-_reward(particles[i]), -weights[i]))
    return _repeated(_distinct(order, particles), n)


@SELECTIONS.register("vote")
def heaviest_answers(electorate: Electorate, n: int) -> list[int]:
    """The heaviest groups of equal answers, each by its heaviest member, and then by its others."""
    particles, weights, eligible = electorate.particles, electorate.weights, electorate.eligible
    token_ids = [particles[i].token_ids for i in eligible]
    voted = groups(token_ids, [float(weights[i]) for i in eligible], electorate.key)
    ranked = [sorted((eligible[j] for j in members), key=lambda i: -weights[i]) for _, members in voted]
    rounds = range(max(map(len, ranked)))
    order = (members[k] for k in rounds for members in ranked if k < len(members))
    return _repeated(_distinct(order, particles), n)


def select(
    particles: Sequence[Particle], config: SMCConfig, n: int, rng: np.random.Generator, decode: Decode | None
) -> list[Particle]:
    """``n`` draws from the population by the configured rule; the first is the answer.

    Draws of a search (``best``, ``vote``) are alive, complete and distinct while there are any such.
    """
    searching = config.first_pass_size is not None and config.stop_at_reward is not None
    electorate = Electorate(particles, rng, config.extractor, decode, to_be_ended=searching)
    return [particles[i] for i in SELECTIONS[config.selection](electorate, n)]


def answer_key(extractor: str, decode: Decode | None) -> Key:
    """What makes two answers the same: their tokens, or what the extractor finds in their text.

    A text in which the extractor finds nothing is its own answer.

    Raises:
        ValueError: a text extractor with an engine that has no tokenizer.
        ExtractorFault (the key, when it is asked): the extractor raised, or gave what cannot be compared.
    """
    if extractor == "tokens":
        return lambda token_ids: token_ids
    if decode is None:
        raise ValueError(f"extractor {extractor!r} reads text, but the engine has no tokenizer: use 'tokens'")
    from smc_decode.answers.extractors import EXTRACTORS

    extract = EXTRACTORS[extractor]

    def key(token_ids: tuple[int, ...]) -> Hashable | None:
        text = decode(token_ids)
        try:
            found = extract(text)
            hash(found)
        except MissingExtra:
            raise
        except (Exception, SystemExit) as error:
            raise ExtractorFault(f"extractor {extractor!r} raised {type(error).__name__}: {error}") from error
        return found

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


def _distinct(order: Iterable[int], particles: Sequence[Particle]) -> list[int]:
    """The first index of each sequence, in order."""
    first: dict[tuple[int, ...], int] = {}
    for i in order:
        first.setdefault(particles[i].token_ids, i)
    return list(first.values())


def _repeated(order: Sequence[int], n: int) -> list[int]:
    """``n`` of them, from the start again where there are fewer."""
    return [order[i % len(order)] for i in range(n)]


def _reward(particle: Particle) -> float:
    return -math.inf if particle.reward is None else particle.reward
