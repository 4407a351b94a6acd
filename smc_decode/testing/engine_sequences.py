"""Clauses on sequences: how they begin, grow, end, are copied, cut and let go."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from smc_decode.engines.base import Continuation, EngineRequestError, Extend, LiveSequence
from smc_decode.testing.engine_subject import LeftOut, Subject


async def opens(subject: Subject) -> None:
    """``open`` begins a sequence with its prompt and no tokens, and refuses what is not of the vocabulary."""
    engine = subject.engine
    sequence = await engine.open(list(subject.prompt))
    subject.require(tuple(sequence.prompt_token_ids) == subject.prompt, "prompt_token_ids is not the prompt")
    subject.require(list(sequence.token_ids) == [], "a new sequence has tokens already")
    try:
        await engine.open([*subject.prompt, engine.info.vocab_size])
    except EngineRequestError:
        return
    subject.fail("a prompt with a token id outside the vocabulary was not refused with EngineRequestError")


async def appends(subject: Subject) -> None:
    """``extend`` answers each request once and appends exactly the tokens that it yields, also in a second call."""
    sequences = await subject.population(3)
    grown: list[list[int]] = [[] for _ in sequences]
    for call in range(2):
        asked = [i for i, tokens in enumerate(grown) if not call or _goes_on(subject, tokens)]
        drawn = await subject.draw([Extend(sequences[i], subject.tokens, seed=subject.seed + i) for i in asked])
        for i, continuation in zip(asked, drawn, strict=True):
            grown[i] += continuation.token_ids
            subject.require(list(sequences[i].token_ids) == grown[i], "token_ids is not what was drawn so far")
            size = subject.engine.info.vocab_size
            subject.require(all(0 <= token < size for token in continuation.token_ids), "a token id is out of range")


def _goes_on(subject: Subject, tokens: list[int]) -> bool:
    return tokens[-1] not in subject.engine.info.eos_token_ids


async def limits(subject: Subject) -> None:
    """At most ``max_new_tokens`` are drawn; ``length`` says that they were. None at all, and more than the context, are
    refused, and so is a sequence that is asked for twice in one call."""
    for continuation in await subject.draws_of(subject.tokens, size=8):
        count = len(continuation.token_ids)
        subject.require(1 <= count <= subject.tokens, f"{count} tokens for max_new_tokens={subject.tokens}")
        cut = continuation.finish_reason == "length"
        subject.require(not cut or count == subject.tokens, f"'length' after {count} of {subject.tokens} tokens")
    (sequence, other) = await subject.population(2)
    await subject.refused(Extend(sequence, 0), "max_new_tokens=0")
    limit = subject.engine.info.max_model_len
    if limit is not None:
        await subject.refused(Extend(sequence, limit - len(subject.prompt) + 1), "more than max_model_len")
        try:
            await subject.draw([Extend(other, 1), Extend(sequence, limit + 1)])
        except EngineRequestError:
            subject.require(not other.token_ids, "tokens were drawn before another request of the call was refused")
    try:
        await subject.draw([Extend(sequence, 1), Extend(sequence, 1)])
    except ValueError:
        return
    subject.fail("the same sequence twice in one call was not refused with ValueError")


async def ends(subject: Subject) -> None:
    """EOS ends a draw with ``eos`` and a stop token with ``stop``, both as its last token, and nothing else does."""
    plain = await subject.draws_of(subject.tokens, size=8)
    for continuation in plain:
        _check_end(subject, continuation, ())
    stop = plain[0].token_ids[0]
    if stop in subject.engine.info.eos_token_ids:
        raise LeftOut("the first draw is EOS: no stop token was tried; choose another prompt or seed")
    stopped = await subject.draws_of(subject.tokens, size=8, stop_token_ids=(stop,))
    for continuation in stopped:
        _check_end(subject, continuation, (stop,))
    subject.require(stopped[0].token_ids == [stop], "the same seed with its first token as a stop token went on")


def _check_end(subject: Subject, continuation: Continuation, stops: tuple[int, ...]) -> None:
    eos = subject.engine.info.eos_token_ids
    *before, last = continuation.token_ids
    reason = continuation.finish_reason
    subject.require(not {*eos, *stops}.intersection(before), "a draw went on after a token that ends it")
    expected = ("eos",) if last in eos else ("stop",) if last in stops else ("length",)
    subject.require(reason in expected, f"finish_reason {reason!r} where {expected[0]!r} was expected")


async def seeds(subject: Subject) -> None:
    """The same prefix and seeds give the same draws; other seeds give others."""
    await subject.draws_of(subject.tokens, size=8)  # what is cached from here on is cached for both
    first = await subject.draws_of(subject.tokens, size=8)
    again = await subject.draws_of(subject.tokens, size=8)
    subject.require(
        [c.token_ids for c in first] == [c.token_ids for c in again], "the same seeds gave other tokens the second time"
    )
    if all(sum(c.proposal_logprobs) > -1e-2 for c in first):
        raise LeftOut("the model is sure of its continuation: seeds make no difference")
    different = {tuple(c.token_ids) for c in await subject.draws_of(subject.tokens, size=32)}
    subject.require(len(different) > 1, "32 seeds gave the same tokens: the seed is not heeded")


async def forks(subject: Subject) -> None:
    """A fork has its parent's tokens and goes its own way; a rewound sequence goes on as one that never was longer."""
    engine = subject.engine
    parent = (await subject.population(1))[0]
    await subject.draw([Extend(parent, subject.tokens, seed=subject.seed)])
    before = list(parent.token_ids)
    child = await engine.fork(parent)
    subject.require(child is not parent, "fork returned the sequence itself")
    subject.require(list(child.token_ids) == before, "a fork has other tokens than its parent")
    subject.require(child.prompt_token_ids == parent.prompt_token_ids, "a fork has another prompt than its parent")
    await engine.rewind(child, 0)
    subject.require(list(child.token_ids) == [], "rewind to length 0 left tokens")
    subject.require(list(parent.token_ids) == before, "rewinding a fork changed its parent")
    await _goes_on_alike(subject, child, await engine.open(subject.prompt))
    subject.require(list(parent.token_ids) == before, "drawing on a fork changed its parent")
    # Tokens that were drawn before may be appended by hand.
    kept = before[: max(len(before) - 1, 0)]
    await engine.rewind(parent, len(kept))
    by_hand = await engine.open(subject.prompt)
    by_hand.token_ids.extend(kept)
    await _goes_on_alike(subject, parent, by_hand)
    for sequence in (parent, parent, child, by_hand):
        await engine.close(sequence)


async def _goes_on_alike(subject: Subject, one: LiveSequence, other: LiveSequence) -> None:
    first, second = await subject.draw([Extend(one, 1, temperature=0.0), Extend(other, 1, temperature=0.0)])
    subject.require(
        first.token_ids == second.token_ids or subject.near(first.logprobs[0], second.logprobs[0]),
        "two sequences with the same tokens go on in different ways: does an old prefix linger?",
    )
    subject.require(
        subject.near(first.logprobs[0], second.logprobs[0]),
        f"log p after the same tokens is {first.logprobs[0]:.6g} and {second.logprobs[0]:.6g}",
    )


async def cancels(subject: Subject) -> None:
    """Closing the iterator, or cancelling its reader, ends the work in time; what was not yielded has not grown, and
    the engine goes on serving."""
    sequences = await subject.population(4)
    requests = [Extend(sequence, subject.tokens, seed=subject.seed + i) for i, sequence in enumerate(sequences)]
    seen: set[int] = set()
    try:
        async with asyncio.timeout(subject.patience), aclosing(subject.engine.extend(requests)) as stream:
            async for index, _ in stream:
                seen.add(index)
                break
    except TimeoutError:
        subject.fail(f"an iterator that was closed had not ended after {subject.patience:g} s")
    grown = [i for i, sequence in enumerate(sequences) if i not in seen and sequence.token_ids]
    subject.require(not grown, "sequences grew whose continuations were never yielded")
    left = [request for i, request in enumerate(requests) if i not in seen]
    task = asyncio.create_task(subject.draw(left))
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=subject.patience)
    subject.require(bool(done), f"a reader that was cancelled had not ended after {subject.patience:g} s")
    await subject.engine.health()
    fresh = await subject.draws_of(1, size=2)
    subject.require(len(fresh) == 2, "the engine does not draw after a cancelled call")


async def at_once(subject: Subject) -> None:
    """Several calls of ``extend`` may run at a time, each with its own sequences."""
    both = await asyncio.gather(*(subject.draws_of(subject.tokens, size=4) for _ in range(2)))
    for drawn in both:
        for continuation in drawn:
            _check_end(subject, continuation, ())


async def heals(subject: Subject) -> None:
    """``health`` returns while the engine serves."""
    await subject.engine.health()
