"""Clauses on laws: what an engine says of its draws, and whether they are drawn from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from smc_decode.engines.base import Continuation, EngineRequestError, Extend, Shaping
from smc_decode.testing.engine_subject import LeftOut, Subject, first_values, log_sum_exp

_FALSE_ALARM = 1e-3
"""Probability, at most, that draws of a right law are refused; they are seeded, so an engine passes always or never."""


async def lists(subject: Subject) -> None:
    """log p and log q of every token are log-probabilities, log z comes with ``alpha`` and not without."""
    for continuation in await subject.draws_of(subject.tokens, size=8):
        count = len(continuation.token_ids)
        for name in ("logprobs", "proposal_logprobs"):
            values: list[float] = getattr(continuation, name)
            subject.require(len(values) == count, f"{name} has {len(values)} values for {count} tokens")
            good = all(-math.inf < value <= subject.rounding for value in values)
            subject.require(good, f"{name} holds something that is no log-probability of a drawn token")
        subject.require(not continuation.log_z, "log_z was told without alpha")
    for continuation in await subject.draws_of(subject.tokens, size=2, logprobs=False, proposal_logprobs=False):
        for values in (continuation.logprobs, continuation.proposal_logprobs):
            subject.require(len(values) in (0, len(continuation.token_ids)), "a list of another length than the tokens")


async def plain(subject: Subject) -> None:
    """At temperature 1 draws follow the told log q, which is log p where the proposal is tempered."""
    await _follows(subject, await subject.draws_of(), 1.0)


async def tempered(subject: Subject) -> None:
    """At another temperature log q is log p / temperature up to a constant, and draws follow it."""
    if not subject.engine.info.tempered_proposal:
        raise LeftOut("tempered_proposal is not declared")
    drawn = await subject.optional(temperature=subject.temperature)
    await _follows(subject, drawn, subject.temperature)


async def own_proposal(subject: Subject) -> None:
    """A proposal of the engine's own tells log p, log q and log z of its draws, whatever the temperature."""
    if subject.engine.info.tempered_proposal:
        raise LeftOut("the proposal is tempered")
    for temperature in (1.0, subject.temperature):
        drawn = await subject.draws_of(temperature=temperature, alpha=2.0)
        _check_told(subject, drawn)
        subject.require(all(len(c.log_z) == len(c.token_ids) for c in drawn), "log_z is missing where alpha was given")


async def _follows(subject: Subject, drawn: Sequence[Continuation], temperature: float) -> None:
    log_p, log_q = _check_told(subject, drawn)
    if subject.engine.info.tempered_proposal:
        pivot = max(log_p, key=lambda token: log_p[token])
        for token in log_p:
            ratio = (log_p[token] - log_p[pivot]) / temperature
            told = log_q[token] - log_q[pivot]
            subject.require(
                subject.near(ratio, told, 2 / temperature),
                f"at temperature {temperature:g} log q of the tokens {token} and {pivot} differs by {told:.6g} where "
                f"log p / temperature differs by {ratio:.6g}; an engine with another proposal says "
                "tempered_proposal=False",
            )
            if temperature == 1.0:
                subject.require(subject.near(log_q[token], log_p[token]), "at temperature 1 log q is not log p")
    _check_frequencies(subject, drawn, log_q)
    if len(log_p) == 1:
        raise LeftOut(f"all {len(drawn)} draws at temperature {temperature:g} are one token: choose another prompt")


def _check_told(subject: Subject, drawn: Sequence[Continuation]) -> tuple[dict[int, float], dict[int, float]]:
    """log p and log q of each first token: one law, which the draws after one prefix share."""
    laws = []
    for name in ("logprobs", "proposal_logprobs"):
        told = first_values(drawn, name)
        for token, values in told.items():
            same = all(subject.near(value, values[0]) for value in values)
            subject.require(same, f"{name} of the token {token} after one prefix changes from draw to draw")
        law = {token: values[0] for token, values in told.items()}
        mass = math.exp(log_sum_exp(list(law.values())))
        subject.require(mass <= 1 + 4 * subject.rounding + 1e-9, f"{name} of one prefix sum to {mass:.6g}")
        laws.append(law)
    return laws[0], laws[1]


def _check_frequencies(subject: Subject, drawn: Sequence[Continuation], log_q: dict[int, float]) -> None:
    """Chernoff's bound: a share s of n draws where q was told has probability at most exp(-n KL(s || q))."""
    n = len(drawn)
    bound = math.log(2 * n / _FALSE_ALARM)
    for token, count in Counter(continuation.token_ids[0] for continuation in drawn).items():
        q = min(math.exp(log_q[token]), 1.0)
        surprise = n * _kl(count / n, q)
        subject.require(
            surprise <= bound + n * subject.rounding,
            f"the token {token} was drawn {count} times of {n}, where q is told as {q:.4g}: draws do not follow log q",
        )


def _kl(share: float, q: float) -> float:
    if q >= 1.0:
        return 0.0 if share >= 1.0 else math.inf
    left = (1 - share) * math.log((1 - share) / (1 - q)) if share < 1 else 0.0
    return share * math.log(share / q) + left


async def greedy(subject: Subject) -> None:
    """Temperature 0 draws a likeliest token, with log q = 0."""
    (best,) = await subject.draws_of(size=1, temperature=0.0)
    others = await subject.draws_of()
    top = max(continuation.logprobs[0] for continuation in others)
    subject.require(best.logprobs[0] >= top - 2 * subject.rounding, "temperature 0 did not draw a likeliest token")
    subject.require(best.proposal_logprobs == [0.0], "log q of a greedy draw is not 0")


async def normalisers(subject: Subject) -> None:
    """log z = log sum_v p(v)^alpha: 0 at alpha 1, one number a prefix, and alpha log p - log q where matched."""
    temperature = subject.temperature
    matched = await subject.optional(temperature=temperature, alpha=1.0 / temperature)
    for c in matched if subject.engine.info.tempered_proposal else ():
        follows = c.logprobs[0] / temperature - c.proposal_logprobs[0]
        subject.require(
            subject.near(c.log_z[0], follows, 2 / temperature),
            f"log z is {c.log_z[0]:.6g} at temperature 1/alpha, where alpha log p - log q is {follows:.6g}",
        )
    if not subject.engine.info.exact_log_z:
        raise LeftOut("exact_log_z is not declared")
    for c in await subject.draws_of(size=8, alpha=1.0):
        subject.require(subject.near(c.log_z[0], 0.0), f"log z is {c.log_z[0]:.6g} at alpha 1, where it is 0")
    drawn = await subject.draws_of(alpha=3.0, proposal_logprobs=False)
    values = [c.log_z[0] for c in drawn]
    subject.require(max(values) - min(values) <= 12 * subject.rounding, "log z of one prefix changes from draw to draw")
    seen = log_sum_exp([3.0 * told[0] for told in first_values(drawn, "logprobs").values()])
    subject.require(values[0] >= seen - 12 * subject.rounding, "log z is less than the drawn tokens alone add up to")


async def excluded(subject: Subject) -> None:
    """``excluded`` tokens are not drawn first, and log q is among what is left; not declared, it is refused."""
    before = await subject.draws_of()
    token, _ = Counter(continuation.token_ids[0] for continuation in before).most_common(1)[0]
    if not subject.engine.info.excludes:
        (sequence,) = await subject.population(1)
        await subject.refused(Extend(sequence, 1, excluded=(token,)), "excluded")
        raise LeftOut("excludes is not declared")
    log_q = {t: values[0] for t, values in first_values(before, "proposal_logprobs").items()}
    if log_q[token] > -1e-3:
        raise LeftOut("one token has all of the probability: choose another prompt")
    left = math.log1p(-math.exp(log_q[token]))
    drawn = await subject.draws_of(excluded=(token,))
    for continuation in drawn:
        first, told = continuation.token_ids[0], continuation.proposal_logprobs[0]
        subject.require(first != token, "an excluded token was drawn")
        if first in log_q:
            right = log_q[first] - left
            scale = 1 / max(1 - math.exp(log_q[token]), 1e-3)
            subject.require(subject.near(told, right, scale), f"log q is {told:.6g} among what is left: {right:.6g}")
    _check_frequencies(subject, drawn, {t: v[0] for t, v in first_values(drawn, "proposal_logprobs").items()})


_SHAPED: dict[str, Shaping] = {
    "top_k": Shaping(top_k=1),
    "top_p": Shaping(top_p=0.5),
    "min_p": Shaping(min_p=0.9),
    "repetition_penalty": Shaping(repetition_penalty=1.5),
    "presence_penalty": Shaping(presence_penalty=0.5),
    "frequency_penalty": Shaping(frequency_penalty=0.5),
    "logit_bias": Shaping(logit_bias={0: 1.0}),
    "min_tokens": Shaping(min_tokens=2),
    "ignore_eos": Shaping(ignore_eos=True),
    "grammar": Shaping(grammar={"regex": "a+"}),
}


async def shaping(subject: Subject) -> None:
    """Fields of Shaping that are not declared are refused, and so are values outside of their range; ``top_k`` 1 draws
    a likeliest token, and a large ``logit_bias`` forces its own, with the model's log p."""
    (sequence,) = await subject.population(1)
    shapes = subject.engine.info.shapes
    for name, value in _SHAPED.items():
        if name not in shapes:
            await subject.refused(Extend(sequence, 1, shaping=value), f"{name}, which is not among info.shapes,")
    await subject.refused(Extend(sequence, 1, shaping=Shaping(top_p=-1.0)), "top_p=-1")
    before = first_values(await subject.draws_of(), "logprobs")
    top = max(values[0] for values in before.values())
    if "top_k" in shapes:
        for c in await _allowed(subject, _SHAPED["top_k"]):
            if c.logprobs:
                subject.require(c.logprobs[0] >= top - 4 * subject.rounding, "top_k=1 drew no likeliest token")
    if "logit_bias" in shapes:
        unlikely = min(before, key=lambda token: before[token][0])
        for c in await _allowed(subject, Shaping(logit_bias={unlikely: 100.0})):
            subject.require(c.token_ids[0] == unlikely, "logit_bias=100 did not force its token")
            raw = not c.logprobs or subject.near(c.logprobs[0], before[unlikely][0])
            subject.require(raw, "log p of a biased draw is not the model's own")


async def _allowed(subject: Subject, value: Shaping) -> list[Continuation]:
    """Draws with log-probabilities where the engine can tell them, without where it cannot."""
    try:
        return await subject.draws_of(size=8, shaping=value)
    except EngineRequestError:
        return await subject.draws_of(size=8, shaping=value, logprobs=False, proposal_logprobs=False)


async def scores(subject: Subject) -> None:
    """``score`` gives the log p that ``extend`` told; not declared, it is refused."""
    engine, start = subject.engine, len(subject.prompt)
    (continuation,) = await subject.draws_of(subject.tokens, size=1)
    ids = [*subject.prompt, *continuation.token_ids]
    if not engine.info.scores:
        try:
            await engine.score(ids, start)
        except EngineRequestError:
            raise LeftOut("scores is not declared") from None
        subject.fail("score answers, and info does not say so")
    told = await engine.score(ids, start)
    subject.require([s.token_id for s in told] == continuation.token_ids, "score speaks of other tokens than asked for")
    # A sequence without a prompt: its first token has nothing before it, and its score is 0 by convention.
    for score, logprob in list(zip(told, continuation.logprobs, strict=True))[0 if start else 1 :]:
        subject.require(
            subject.near(score.logprob, logprob), f"log p is {logprob:.6g} by extend and {score.logprob:.6g} by score"
        )
    whole = await engine.score(ids)
    subject.require(len(whole) == len(ids) and whole[0].logprob == 0.0, "score from 0 does not begin with 0.0")
    await _check_alternatives(subject, ids)


async def _check_alternatives(subject: Subject, ids: list[int]) -> None:
    most = subject.engine.info.max_logprobs
    if most and len(ids) > 1:
        (last,) = await subject.engine.score(ids, len(ids) - 1, top_logprobs=min(most, 3))
        subject.require(bool(last.top), "score gives no alternatives, and max_logprobs says that it can")
        # The token itself is another look at the same numbers.
        subject.require(max(last.top.values()) >= last.logprob - 2 * subject.rounding, "alternatives are not likeliest")
    try:
        await subject.engine.score(ids, top_logprobs=most + 1)
    except EngineRequestError:
        return
    subject.fail("more alternatives than max_logprobs were not refused with EngineRequestError")


async def labels(subject: Subject) -> None:
    """``label_logprobs`` gives the log p of next tokens; not declared, it is refused."""
    engine = subject.engine
    drawn = first_values(await subject.draws_of(size=16), "logprobs")
    wanted = list(drawn)[:4]
    if not engine.info.labels:
        try:
            await engine.label_logprobs([subject.prompt], wanted)
        except EngineRequestError:
            raise LeftOut("labels is not declared") from None
        subject.fail("label_logprobs answers, and info does not say so")
    (told,) = await engine.label_logprobs([subject.prompt], wanted)
    for token in wanted:
        subject.require(subject.near(told[token], drawn[token][0]), "log p of a label is not what extend told of it")
