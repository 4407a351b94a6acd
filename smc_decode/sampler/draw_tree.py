"""Draws that begin like earlier ones: a tree of what was drawn already, from which a new draw departs.

A second draw from q after the same prefix often begins as the first did. It need not be drawn again: with the earlier
draw as a draft, a token x is kept with probability q(x), and else drawn from what q leaves of the others. That is
speculative sampling (Leviathan, Kalman and Matias 2023, arXiv 2211.17192) with a point mass as the draft's law, and
with several earlier draws the same along a tree. Given all that was drawn before, the new draw has exactly the law q
(docs/method.md, "Drafts").
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from smc_decode.engines.base import Continuation, FinishReason
from smc_decode.laws.codes import Uniforms

MAX_TOKENS = 200_000
"""What a tree remembers (about 50 MB); what is drawn beyond is forgotten, which costs tokens and changes no law."""


@dataclass(slots=True)
class _Node:
    """A token that was drawn after its parents, with the engine's numbers (``log_q`` None: it was not drawn at this
    law), and what was drawn after it."""

    logprob: float = 0.0
    log_q: float | None = None
    ends: FinishReason | None = None
    after: dict[int, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """The beginning of a draw, as far as earlier draws decide it.

    ``excluded``: the next token is none of these, whose q sums to ``mass``. ``complete``: nothing is left to draw.
    ``code``: what is left of the request's, for the tokens after it.
    """

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    proposal_logprobs: tuple[float, ...] = ()
    excluded: tuple[int, ...] = ()
    mass: float = 0.0
    ends: FinishReason | None = None
    complete: bool = False
    code: float | None = None

    def continued(self, drawn: Continuation | None) -> Continuation:
        """The whole draw. ``drawn``: what the engine drew after it, its first log q among what was not excluded."""
        if not self.token_ids and not self.excluded and drawn is not None:
            return drawn
        if drawn is None:
            reason: FinishReason = self.ends or "length"
            return Continuation([*self.token_ids], [*self.logprobs], [*self.proposal_logprobs], [], reason)
        log_q = list(drawn.proposal_logprobs)
        if self.excluded and log_q:
            log_q[0] += math.log1p(-self.mass)
        return replace(
            drawn,
            token_ids=[*self.token_ids, *drawn.token_ids],
            logprobs=[*self.logprobs, *drawn.logprobs],
            proposal_logprobs=[*self.proposal_logprobs, *log_q],
        )


NO_DRAFT = Draft()


class DrawTree:
    """What was drawn at one proposal law, for one run."""

    def __init__(self, max_tokens: int = MAX_TOKENS) -> None:
        self._root = _Node()
        self._left = max_tokens

    def draft(self, prefix: Sequence[int], length: int, seed: int, code: float | None = None) -> Draft:
        """The beginning of a new draw of at most ``length`` tokens after ``prefix``, chosen by ``code`` for as long as
        it has bits, and by ``seed``."""
        node = self._find(prefix)
        if node is None or not node.after:
            return NO_DRAFT if code is None else Draft(code=code)
        uniforms = Uniforms(code, random.Random(seed).random)
        token_ids: list[int] = []
        logprobs: list[float] = []
        log_q: list[float] = []
        while node.after and len(token_ids) < length:
            known = {token: math.exp(child.log_q) for token, child in node.after.items() if child.log_q is not None}
            chosen = _choose(known, uniforms)
            if chosen is None:
                drafted = tuple(token_ids), tuple(logprobs), tuple(log_q)
                return Draft(*drafted, tuple(known), math.fsum(known.values()), code=uniforms.code)
            node = node.after[chosen]
            token_ids.append(chosen)
            logprobs.append(node.logprob)
            log_q.append(node.log_q or 0.0)
        complete = node.ends is not None or len(token_ids) == length
        drafted = tuple(token_ids), tuple(logprobs), tuple(log_q)
        return Draft(*drafted, ends=node.ends, complete=complete, code=uniforms.code)

    def _find(self, prefix: Sequence[int]) -> _Node | None:
        node: _Node | None = self._root
        for token in prefix:
            node = node.after.get(token) if node is not None else None
        return node

    def add(self, prefix: Sequence[int], drawn: Continuation) -> None:
        """Remember a whole draw after ``prefix``; the first numbers that were seen of a token stay."""
        node = self._root
        numbers = zip(drawn.token_ids, drawn.logprobs, drawn.proposal_logprobs, strict=True)
        for token, logprob, log_q in itertools.chain(((token, 0.0, None) for token in prefix), numbers):
            child = node.after.get(token)
            if child is None:
                if self._left == 0:
                    return
                self._left -= 1
                child = node.after[token] = _Node()
            if child.log_q is None:
                child.logprob, child.log_q = logprob, log_q
            node = child
        if drawn.finish_reason != "length":
            node.ends = drawn.finish_reason


def _choose(known: Mapping[int, float], uniforms: Uniforms) -> int | None:
    """Each known next token with its probability q, None with what is left."""
    uniform, mass = uniforms.next(), 0.0
    for token, q in known.items():
        if uniform < mass + q:
            uniforms.chose(mass, q)
            return token
        mass += q
    uniforms.chose(mass, 1.0 - mass)
    return None
