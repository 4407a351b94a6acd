"""SharedDraws: methods that ask for the same draw with the same seed get it once, and see no difference."""

import asyncio
from contextlib import aclosing

import numpy as np

from benchmarks.shared_draws import SharedDraws
from smc_decode import preset, sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import Extend
from smc_decode.potentials import FunctionPotential

POTENTIAL = FunctionPotential(lambda tokens, finished: float(tokens.count(1)), "terminal")


def table():
    return TableEngine(lambda tokens: np.log([0.1, 0.5, 0.4]), vocab_size=3, eos_token_id=0)


class Counting(TableEngine):
    """Counts the tokens that it draws, and takes a moment, so that two runs overlap."""

    def __init__(self):
        super().__init__(lambda tokens: np.log([0.1, 0.5, 0.4]), vocab_size=3, eos_token_id=0)
        self.drawn = 0

    async def extend(self, requests):
        await asyncio.sleep(0)
        async with aclosing(super().extend(requests)) as stream:
            async for index, continuation in stream:
                self.drawn += len(continuation.token_ids)
                yield index, continuation


METHODS = [
    ("best-of-n", {}),
    ("base", {}),
    ("self-consistency", {"extractor": "tokens"}),
    ("smc-reward", {"block_size": 4}),
    ("smc", {"block_size": 4}),
]


async def results(engines, together):
    runs = [
        sample(engine, (), POTENTIAL, preset(name, max_tokens=12, **settings), seed=7)
        for engine, (name, settings) in zip(engines, METHODS, strict=True)
    ]
    return list(await asyncio.gather(*runs)) if together else [await run for run in runs]


async def test_every_method_gets_the_result_that_it_would_get_alone():
    alone = await results([table() for _ in METHODS], together=False)
    for together in (False, True):
        engine = Counting()
        shared = await results([SharedDraws(engine)] * len(METHODS), together)
        assert [[p.token_ids for p in r.particles] for r in shared] == [
            [p.token_ids for p in r.particles] for r in alone
        ]
        assert [r.usage.drawn for r in shared] == [r.usage.drawn for r in alone]
        # of the first three methods only the first draws
        assert engine.drawn <= sum(r.usage.drawn for r in (alone[0], alone[3], alone[4]))


async def test_a_draw_that_was_given_up_is_drawn_by_whoever_waits_for_it():
    engine = SharedDraws(Counting())
    first, second = await engine.open(()), await engine.open(())
    hasty = engine.extend([Extend(first, 5, seed=1)])
    begun = asyncio.ensure_future(anext(hasty))
    await asyncio.sleep(0)

    async def patient():
        async with aclosing(engine.extend([Extend(second, 5, seed=1)])) as stream:
            return [continuation async for _, continuation in stream]

    waiting = asyncio.ensure_future(patient())
    await asyncio.sleep(0)
    begun.cancel()
    [drawn] = await asyncio.wait_for(waiting, 5)
    assert second.token_ids == drawn.token_ids
    assert 1 <= len(drawn.token_ids) <= 5


async def test_other_seeds_and_other_prefixes_are_other_draws():
    counting = Counting()
    engine = SharedDraws(counting)
    lengths = []
    for seed in (1, 2):
        sequence = await engine.open(())
        for _ in range(2):  # the second goes on where the first ended
            async with aclosing(engine.extend([Extend(sequence, 3, seed=seed)])) as stream:
                assert len([continuation async for _, continuation in stream]) == 1
        lengths.append(len(sequence.token_ids))
    assert counting.drawn == sum(lengths) > 3
