"""The account of a run against an engine that counts by itself: every token that it drew is in it, once."""

import pytest

from smc_decode import events, run, sample
from smc_decode.engines import TableEngine
from tests.enumeration import MODELS
from tests.harness import config_of, potential_of
from tests.sampler.test_stop_strings import Letters


class CountingEngine(TableEngine):
    """Counts the tokens that it draws, by the call that drew them."""

    def __init__(self, model, **settings):
        super().__init__(model.logprobs, model.vocab_size, model.eos, **settings)
        self.calls: list[int] = []

    async def extend(self, requests):
        self.calls.append(0)
        number = len(self.calls) - 1
        async for index, continuation in super().extend(requests):
            self.calls[number] += len(continuation.token_ids)
            yield index, continuation

    @property
    def drawn(self):
        return sum(self.calls)


MODEL = MODELS["tempered-eos-product"]
SETTINGS = {
    "particles only": {},
    "rollouts that are reused": {"lookahead": {"rollouts": 2}},
    "rollouts that are not": {"lookahead": {"rollouts": 3, "reuse": False}},
    "rollouts as many as they need": {"lookahead": {"rollouts": 4, "min_rollouts": 2}},
    "moves": {"rejuvenation": {"steps": 2}},
    "moves with rollouts": {"rejuvenation": {"steps": 1}, "lookahead": {"rollouts": 2}},
    "sweeps": {"n_sweeps": 3},
    "passes": {"first_pass_size": 1},
    "a budget": {"max_total_tokens": 21, "lookahead": {"rollouts": 2}},
    "a bridge": {"bridge": {"reward": True}, "rejuvenation": {"steps": 1}},
    "an early end": {"lookahead": {"rollouts": 4, "early_stop": 0.05}},
}


@pytest.mark.parametrize("drafts", [True, False], ids=["drafts", "no drafts"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
async def test_what_the_engine_drew_is_what_the_account_says(settings, drafts):
    for seed in range(5):
        engine = CountingEngine(MODEL)
        config = config_of(MODEL, ess_threshold=1.0, draft_draws=drafts, **settings)
        usage = (await sample(engine, (), potential_of(MODEL), config, seed=seed)).usage
        assert usage.sampled + usage.rollout + usage.mh == usage.drawn == engine.drawn > 0
        assert usage.engine_calls == len(engine.calls)
        assert drafts or usage.drafted == 0


async def test_each_draw_is_in_the_part_of_the_account_that_it_was_for():
    """By what the run says has happened since the call before: blocks, then rollouts, then moves and their rollouts."""
    engine, parts, seen = CountingEngine(MODEL), {"sampled": 0, "rollout": 0, "mh": 0}, 0
    look = {"rollouts": 2, "reuse": False}
    settings = {"rejuvenation": {"steps": 2}, "lookahead": look, "draft_draws": False, "ess_threshold": 1.0}
    async for event in run(engine, (), potential_of(MODEL), config_of(MODEL, **settings), seed=1):
        new, seen = engine.calls[seen:], len(engine.calls)
        if isinstance(event, events.BlockExtended):
            assert event.new_tokens == sum(new)
            parts["sampled"] += sum(new)
        elif isinstance(event, events.RolledOut):
            assert event.tokens == sum(new)
            parts["rollout"] += sum(new)
        elif isinstance(event, events.Rejuvenated):
            parts["mh"] += new[0]
            parts["rollout"] += sum(new[1:])
        else:
            assert not new
            usage = event.result.usage if isinstance(event, events.Finished) else None
    assert parts == {name: getattr(usage, name) for name in parts}
    assert min(parts.values()) > 0


async def test_a_population_that_is_never_resampled_was_drawn_drafted_or_taken_over():
    """Its tokens are what was drawn for particles, what drafts gave, and what became a particle of the rollouts."""
    model = MODELS["powered-no-eos-psi-1"]
    for settings in ({}, {"first_pass_size": 1}, {"lookahead": {"rollouts": 1, "recycle": False}}):
        config = config_of(model, ess_threshold=0.0, **settings)
        result = await sample(CountingEngine(model), (), potential_of(model), config, seed=2)
        tokens = sum(len(particle.token_ids) for particle in result.particles)
        assert tokens == 8 * model.max_tokens
        drafted = result.usage.drafted if not settings.get("lookahead") else 0
        assert result.usage.sampled + drafted + result.usage.reused == tokens


async def test_tokens_behind_a_stop_string_were_drawn_and_are_counted():
    engine = CountingEngine(MODELS["tempered-hard-zeros"], tokenizer=Letters())
    config = config_of(MODELS["tempered-hard-zeros"], n_particles=32, block_size=5, stop=("ab",))
    result = await sample(engine, (), None, config, seed=0)
    assert sum(len(particle.token_ids) for particle in result.particles) < engine.drawn == result.usage.sampled
