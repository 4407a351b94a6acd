"""Moves in a window: exact, and what is before the window can be shown while a run goes on."""

import asyncio
import itertools

import pytest

from smc_decode import run
from smc_decode.events import Committed, Finished
from smc_decode.sampler.moves import first_cut
from tests.enumeration import MODELS
from tests.harness import config_of, engine_of, pool, potential_of

WINDOWS = [
    ("tempered-eos-product", {"steps": 2, "window": 1}),
    ("powered-eos-product", {"steps": 1, "window": 2}),
    ("tempered-hard-zeros", {"steps": 1, "window": 1}),
    ("tempered-eos-product", {"steps": 1, "window": 1, "mode": "corrected"}),
]


@pytest.mark.parametrize(("name", "moves"), WINDOWS)
def test_z_is_unbiased_and_the_pooled_population_is_the_posterior(name, moves):
    pooled = pool(MODELS[name], 800, n_particles=6, rejuvenation=moves, lookahead={"rollouts": 1})
    assert abs(pooled.deviation) < 4
    assert pooled.distance(MODELS[name].posterior) < (0.14 if "mode" in moves else 0.09)


async def events_of(name, seed, **moves):
    model = MODELS[name]
    config = config_of(model, n_particles=2, block_size=1, ess_threshold=1.0, rejuvenation={"steps": 1, **moves})
    return [event async for event in run(engine_of(model), (), potential_of(model), config, seed=seed)]


def test_what_was_shown_is_how_every_answer_begins_and_more_of_it_is_shown_with_a_smaller_window():
    shown = {}
    for window in (None, 4, 2, 1):
        lengths = []
        for seed in range(40):
            *events, finished = asyncio.run(events_of("powered-no-eos-psi-1", seed, window=window))
            assert isinstance(finished, Finished)
            committed = [event.token_ids for event in events if isinstance(event, Committed)]
            for earlier, later in itertools.pairwise(committed):
                assert later[: len(earlier)] == earlier
            for tokens in committed:
                assert all(p.token_ids[: len(tokens)] == tokens for p in finished.result.particles if p.weight > 0)
            lengths.append(sum(map(len, committed)))
        shown[window] = sum(lengths)
    assert shown[None] == 0 < shown[4] < shown[2] < shown[1]


def test_a_move_that_does_not_say_what_it_leaves_alone_may_change_anything():
    class Somewhere:
        def first_cut(self, block):
            return 3 * block

    class Anywhere:
        pass

    assert first_cut([Somewhere(), Somewhere()], 2) == 6
    assert first_cut([Somewhere(), Anywhere()], 2) == 0
