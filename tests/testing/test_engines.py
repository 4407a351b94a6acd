"""The contract checker for engines: right ones pass, and every clause is broken by an engine that gets it wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from smc_decode.engines import (
    BaseEngine,
    Continuation,
    EngineError,
    EngineInfo,
    Extend,
    LiveSequence,
    TableEngine,
    TokenScore,
    check_requests,
)
from smc_decode.shaping import NO_SHAPING
from smc_decode.testing import ContractError, check_engine
from smc_decode.testing.engines import CLAUSES
from tests.enumeration import hard_zero_logits, mod_logits

VOCAB = 6
Yields = AsyncGenerator[tuple[int, Continuation], None]


def table(**options: Any) -> TableEngine:
    return TableEngine(mod_logits(VOCAB), VOCAB, 0, **options)


class Altered(TableEngine):
    """The table with one thing wrong."""

    declares: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__(mod_logits(VOCAB), VOCAB, 0, max_model_len=64)
        self._info = replace(self._info, **self.declares)


def asked(request: Extend, **other: Any) -> Extend:
    return replace(request, **other)


# ---- right ones -----------------------------------------------------------------------------------------------


class Uniform(BaseEngine):
    """Draws uniformly whatever the temperature, and says so."""

    def __init__(self) -> None:
        self._law = np.log([0.55, 0.25, 0.15, 0.05])

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("uniform", "toy", 4, (), tempered_proposal=False)

    async def extend(self, requests: Sequence[Extend]) -> Yields:
        check_requests(self.info, requests)
        for index, request in enumerate(requests):
            ids = np.random.default_rng(request.seed).integers(4, size=request.max_new_tokens).tolist()
            log_q = [-float(np.log(4))] * len(ids)
            if request.temperature == 0:
                ids, log_q = [0] * len(ids), [0.0] * len(ids)
            reason = "length"
            for i, token in enumerate(ids):
                if token in request.stop_token_ids:
                    ids, log_q, reason = ids[: i + 1], log_q[: i + 1], "stop"
                    break
            log_p = [float(self._law[token]) for token in ids]
            z = [] if request.alpha is None else [float(np.logaddexp.reduce(request.alpha * self._law))] * len(ids)
            request.sequence.token_ids.extend(ids)
            yield index, Continuation(ids, log_p, log_q, z, reason)


@pytest.mark.parametrize(
    "engine",
    [
        table(),
        table(sees_prompt=True, max_model_len=40),
        TableEngine(mod_logits(3), 3),
        TableEngine(hard_zero_logits, 4, 0),
        Uniform(),
    ],
    ids=["eos", "sees prompt", "no eos", "hard zeros", "own proposal"],
)
async def test_engines_of_the_projects_own_keep_to_the_contract(engine: BaseEngine) -> None:
    report = await check_engine(engine)
    assert set(report.tried) | set(report.left_out) == set(CLAUSES)
    assert {"temperature 1", "seeds", "fork and rewind", "cancellation", "shaping"} <= set(report.tried)


async def test_a_report_says_what_was_left_out_and_why() -> None:
    report = await check_engine(Uniform())
    assert report.left_out["temperature"] == "tempered_proposal is not declared"
    assert report.left_out["score"] == "scores is not declared"
    assert "own proposal" in report.tried
    assert "own proposal" in (await check_engine(table())).left_out


async def test_a_model_that_is_sure_of_itself_leaves_out_what_its_draws_cannot_show() -> None:
    report = await check_engine(TableEngine(lambda tokens: [0.0, -np.inf, -np.inf], 3))
    assert "choose another prompt" in report.left_out["temperature 1"]
    assert "seeds make no difference" in report.left_out["seeds"]


# ---- wrong ones -----------------------------------------------------------------------------------------------


class Ill(Altered):
    async def health(self) -> None:
        raise EngineError("down")


class TakesAnyPrompt(Altered):
    async def open(self, prompt_token_ids: Sequence[int]) -> LiveSequence:
        return LiveSequence(tuple(prompt_token_ids))


class ForgetsToAppend(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for index, continuation in super().extend(requests):
            del requests[index].sequence.token_ids[-1]
            yield index, continuation


class AnswersTwice(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for each in super().extend(requests):
            yield each
            yield each


class SkipsTheLast(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for index, continuation in super().extend(requests):
            if index < len(requests) - 1 or index == 0:
                yield index, continuation


class DrawsMore(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        check_requests(self.info, requests)
        longer = [asked(r, max_new_tokens=r.max_new_tokens + (r.max_new_tokens > 1)) for r in requests]
        async for each in super().extend(longer):
            yield each


class DrawsNothingOnDemand(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        if any(request.max_new_tokens == 0 for request in requests):
            return
        async for each in super().extend(requests):
            yield each


class Rewritten(Altered):
    """Continuations go through ``rewrite``."""

    def rewrite(self, request: Extend, drawn: Continuation) -> Continuation:
        raise NotImplementedError

    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for index, continuation in super().extend(requests):
            yield index, self.rewrite(requests[index], continuation)


class TellsNoProposal(Rewritten):
    def rewrite(self, request: Extend, drawn: Continuation) -> Continuation:
        return replace(drawn, proposal_logprobs=[])


class TellsNormalisersUnasked(Rewritten):
    def rewrite(self, request: Extend, drawn: Continuation) -> Continuation:
        return replace(drawn, log_z=drawn.log_z or [0.0] * len(drawn.token_ids))


class CallsEveryEndALimit(Rewritten):
    def rewrite(self, request: Extend, drawn: Continuation) -> Continuation:
        return replace(drawn, finish_reason="eos" if drawn.finish_reason == "stop" else drawn.finish_reason)


class IgnoresStops(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for each in super().extend([asked(request, stop_token_ids=()) for request in requests]):
            yield each


class SeedsOfItsOwn(Altered):
    def __init__(self) -> None:
        super().__init__()
        self._count = itertools.count()

    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for each in super().extend([asked(request, seed=next(self._count)) for request in requests]):
            yield each


class OneSeed(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for each in super().extend([asked(request, seed=5) for request in requests]):
            yield each


class DrawsFromAnother(Altered):
    """Tells q at the temperature that was asked for, and draws at twice that."""

    def _draw(self, request: Extend) -> Continuation:
        if request.temperature != 1.0 or request.max_new_tokens > 1:
            return super()._draw(request)
        drawn = super()._draw(asked(request, temperature=3.0))
        log_p = drawn.logprobs if request.logprobs else []
        return replace(drawn, logprobs=log_p, proposal_logprobs=list(log_p))


class UndeclaredProposal(Altered):
    """Draws at temperature 1 whatever was asked for."""

    def _draw(self, request: Extend) -> Continuation:
        return super()._draw(asked(request, temperature=min(request.temperature, 1.0) and 1.0))


class TellsTempered(Altered):
    """Tells log p / temperature, not normalised."""

    def _draw(self, request: Extend) -> Continuation:
        drawn = super()._draw(request)
        if request.temperature in (0.0, 1.0):
            return drawn
        return replace(drawn, proposal_logprobs=[p / request.temperature for p in drawn.logprobs])


class OwnProposalWithoutNormaliser(Altered):
    declares: ClassVar[dict[str, Any]] = {"tempered_proposal": False}

    def _draw(self, request: Extend) -> Continuation:
        return replace(super()._draw(request), log_z=[])


class NeverGreedy(Altered):
    def _draw(self, request: Extend) -> Continuation:
        if request.temperature:
            return super()._draw(request)
        drawn = super()._draw(asked(request, temperature=1.0, seed=3))
        return replace(drawn, proposal_logprobs=[0.0] * len(drawn.token_ids))


class NormaliserOfAnotherPower(Rewritten):
    def rewrite(self, request: Extend, drawn: Continuation) -> Continuation:
        return replace(drawn, log_z=[1.5 * z for z in drawn.log_z])


class NormaliserOfTheProposal(Rewritten):
    """alpha log p - log q, also where the temperature is not 1/alpha."""

    def rewrite(self, request: Extend, drawn: Continuation) -> Continuation:
        alpha = request.alpha or 0.0
        z = [alpha * p - q for p, q in zip(drawn.logprobs, drawn.proposal_logprobs, strict=True)]
        return replace(drawn, log_z=z if drawn.log_z else [])


class DrawsTheExcluded(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for each in super().extend([asked(request, excluded=()) for request in requests]):
            yield each


class ExcludesWithoutRenormalising(Rewritten):
    def rewrite(self, request: Extend, drawn: Continuation) -> Continuation:
        first = self._law(tuple(request.sequence.token_ids[: -len(drawn.token_ids)]), 1.0, NO_SHAPING)
        if not request.excluded:
            return drawn
        return replace(drawn, proposal_logprobs=[first.log_q[drawn.token_ids[0]], *drawn.proposal_logprobs[1:]])


class IgnoresShaping(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        async for each in super().extend([asked(request, shaping=NO_SHAPING) for request in requests]):
            yield each


class ScoresTheNextToken(Altered):
    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        told = await super().score(token_ids, start, top_logprobs=top_logprobs)
        return [replace(score, logprob=score.logprob * 1.2) for score in told]


class ScoresUndeclared(Altered):
    declares: ClassVar[dict[str, Any]] = {"scores": False}


class TellsWrongLabels(Altered):
    declares: ClassVar[dict[str, Any]] = {"labels": True}

    async def label_logprobs(self, token_id_lists: Any, label_ids: Sequence[int]) -> list[dict[int, float]]:
        return [dict.fromkeys(label_ids, -1.0) for _ in token_id_lists]


class SharesTokens(Altered):
    async def fork(self, sequence: LiveSequence) -> LiveSequence:
        return LiveSequence(sequence.prompt_token_ids, sequence.token_ids if sequence.token_ids else [])


class RewindsTooLittle(Altered):
    async def rewind(self, sequence: LiveSequence, length: int) -> None:
        del sequence.token_ids[length + 1 :]


class AppendsEarly(Altered):
    async def extend(self, requests: Sequence[Extend]) -> Yields:
        for each in [each async for each in super().extend(requests)]:
            yield each


class OneCallAtATime(Altered):
    busy = False

    async def extend(self, requests: Sequence[Extend]) -> Yields:
        if self.busy:
            raise EngineError("busy")
        self.busy = True
        try:
            async for each in super().extend(requests):
                await asyncio.sleep(0)
                yield each
        finally:
            self.busy = False


WRONG: list[tuple[str, type[Altered]]] = [
    ("health", Ill),
    ("open", TakesAnyPrompt),
    ("extend", ForgetsToAppend),
    ("extend", AnswersTwice),
    ("extend", SkipsTheLast),
    ("max_new_tokens", DrawsNothingOnDemand),
    ("max_new_tokens", DrawsMore),
    ("log-probabilities", TellsNoProposal),
    ("log-probabilities", TellsNormalisersUnasked),
    ("ends", CallsEveryEndALimit),
    ("ends", IgnoresStops),
    ("seeds", SeedsOfItsOwn),
    ("seeds", OneSeed),
    ("temperature 1", DrawsFromAnother),
    ("temperature", UndeclaredProposal),
    ("temperature", TellsTempered),
    ("own proposal", OwnProposalWithoutNormaliser),
    ("greedy", NeverGreedy),
    ("log z", NormaliserOfAnotherPower),
    ("log z", NormaliserOfTheProposal),
    ("excluded", DrawsTheExcluded),
    ("excluded", ExcludesWithoutRenormalising),
    ("shaping", IgnoresShaping),
    ("score", ScoresTheNextToken),
    ("score", ScoresUndeclared),
    ("labels", TellsWrongLabels),
    ("fork and rewind", SharesTokens),
    ("fork and rewind", RewindsTooLittle),
    ("several calls", OneCallAtATime),
    ("cancellation", AppendsEarly),
]


@pytest.mark.parametrize(("clause", "engine"), WRONG, ids=lambda each: getattr(each, "__name__", each))
async def test_an_engine_that_gets_a_clause_wrong_is_told_which(clause: str, engine: type[Altered]) -> None:
    with pytest.raises(ContractError, match=f"^{clause}: ") as raised:
        await check_engine(engine())
    assert raised.value.clause == clause
    assert isinstance(raised.value, AssertionError)


def test_every_clause_has_an_engine_that_breaks_it() -> None:
    assert {clause for clause, _ in WRONG} == set(CLAUSES)


async def test_what_an_engine_raises_out_of_turn_is_the_cause() -> None:
    with pytest.raises(ContractError) as raised:
        await check_engine(Ill())
    assert isinstance(raised.value.__cause__, EngineError)
