"""What an engine gives is checked at the seam, and the error names the engine."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import EngineError, Extend, LiveSequence
from smc_decode.engines.checks import check_continuation, check_law
from tests.enumeration import MODELS
from tests.harness import config_of, engine_of, potential_of

ROWS = {"nan": [0.0, math.nan, 0.0], "+inf": [0.0, math.inf, 0.0], "all -inf": [-math.inf] * 3}


@pytest.mark.parametrize("wrong", ROWS)
async def test_a_law_that_is_none_is_the_engines_fault(wrong):
    engine = TableEngine(lambda tokens: ROWS[wrong] if tokens else [0.0, 0.0, 0.0], 3)
    with pytest.raises(EngineError, match=rf"engine 'table' gave .* of {wrong.replace('+', '.')} after 1 tokens"):
        await sample(engine, (), None, SMCConfig(max_tokens=4))


def test_laws_may_have_zeros_and_be_far_from_normalised():
    info = TableEngine(lambda tokens: [0.0], 1).info
    check_law(info, [-math.inf, 0.0], 0)
    check_law(info, [2000.0, -2000.0], 0)
    check_law(info, [-1e5, -1e5], 0)


def spoilt(change):
    """A table engine whose continuations are changed on the way."""

    class Spoilt(TableEngine):
        async def extend(self, requests):
            async for index, drawn in super().extend(requests):
                yield index, change(drawn)

    model = MODELS["powered-eos-product"]
    return Spoilt(model.logprobs, model.vocab_size, model.eos)


SLIPS = {
    "nan for log p": lambda c: replace(c, logprobs=[math.nan] * len(c.token_ids)),
    "inf for log q": lambda c: replace(c, proposal_logprobs=[math.inf] * len(c.token_ids)),
    "-inf for log p": lambda c: replace(c, logprobs=[-math.inf] * len(c.token_ids)),
    "values of log p for": lambda c: replace(c, logprobs=[*c.logprobs, 0.0]),
    "outside its vocabulary": lambda c: replace(c, token_ids=[4] * len(c.token_ids)),
    "drew 0 tokens": lambda c: replace(c, token_ids=[]),
}


@pytest.mark.parametrize("what", SLIPS)
async def test_a_continuation_that_no_weight_can_be_made_of_is_the_engines_fault(what):
    model = MODELS["powered-eos-product"]
    with pytest.raises(EngineError, match=f"the engine 'table' .*{what}"):
        await sample(spoilt(SLIPS[what]), (), potential_of(model), config_of(model))


async def test_what_an_engine_draws_by_its_own_law_may_have_no_probability_in_the_model():
    info = replace(TableEngine(lambda tokens: np.zeros(3), 3).info, tempered_proposal=False)
    request = Extend(LiveSequence(()), 2)
    engine = engine_of(MODELS["powered-eos-product"])
    async for _, drawn in engine.extend([Extend(await engine.open(()), 1)]):
        drawn = replace(drawn, token_ids=[1], logprobs=[-math.inf])
        check_continuation(info, request, drawn)
        with pytest.raises(EngineError):
            check_continuation(replace(info, tempered_proposal=True), request, drawn)
