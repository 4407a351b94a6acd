"""What a run does and says, apart from its mathematics."""

import asyncio
import math
import subprocess
import sys

import numpy as np
import pytest

from smc_decode import AllParticlesDead, SMCConfig, events, run, sample, sample_sync
from smc_decode.engines import EngineRequestError, TableEngine
from smc_decode.potentials import FunctionPotential, PotentialError
from tests.enumeration import MODELS, mod_logits, soft
from tests.harness import config_of, engine_of, potential_of

MODEL = MODELS["tempered-eos-product"]
EVERYTHING = {
    "lookahead": {"rollouts": 2},
    "rejuvenation": {"steps": 1},
    "n_particles": 6,
}


class CountingEngine(TableEngine):
    """Keeps what was asked of it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = []
        self.open_sequences = 0

    async def open(self, prompt_token_ids):
        self.open_sequences += 1
        return await super().open(prompt_token_ids)

    async def fork(self, sequence):
        self.open_sequences += 1
        return await super().fork(sequence)

    async def close(self, sequence):
        self.open_sequences -= 1

    async def extend(self, requests):
        self.calls.append([(tuple(r.sequence.token_ids), r.max_new_tokens, r.seed) for r in requests])
        async for item in super().extend(requests):
            yield item


def counting_engine():
    return CountingEngine(mod_logits(4), 4, 0)


async def events_of(**settings):
    stream = run(engine_of(MODEL), (), potential_of(MODEL), config_of(MODEL, **settings), seed=3)
    return [event async for event in stream]


def test_importing_the_package_imports_neither_torch_nor_vllm():
    imports = "import sys, smc_decode, smc_decode.engines, smc_decode.potentials"
    code = f"{imports}; print(sorted({{'torch', 'vllm'}} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


async def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    config = config_of(MODEL, **EVERYTHING)
    first, second, other = [
        await sample(engine_of(MODEL), (), potential_of(MODEL), config, seed=seed) for seed in (5, 5, 6)
    ]
    assert first.particles == second.particles
    assert first.log_z == second.log_z
    assert first.particles != other.particles


async def test_a_recorder_does_not_change_the_run():
    recorded = (await events_of(**EVERYTHING))[-1].result
    plain = await sample(engine_of(MODEL), (), potential_of(MODEL), config_of(MODEL, **EVERYTHING), seed=3)
    assert recorded.particles == plain.particles
    assert recorded.usage == plain.usage


async def test_runs_side_by_side_on_one_engine_do_not_touch_each_other():
    engine, config = engine_of(MODEL), config_of(MODEL, **EVERYTHING)
    alone = await sample(engine, (), potential_of(MODEL), config, seed=1)
    together = await asyncio.gather(*[sample(engine, (), potential_of(MODEL), config, seed=seed) for seed in (0, 1, 2)])
    assert together[1].particles == alone.particles


def test_sample_sync_needs_no_event_loop():
    assert sample_sync(engine_of(MODEL), (), None, config_of(MODEL), seed=0).answer.token_ids


async def test_events_tell_the_blocks_in_order_and_end_with_the_result():
    stream = await events_of(ess_threshold=1.0)
    kinds = [type(event).__name__ for event in stream]
    assert kinds[0] == "Started"
    assert kinds[-1] == "Finished"
    assert kinds[1:6] == ["BlockExtended", "Weighted", "Resampled", "Progress", "Committed"]
    assert kinds.count("Resampled") == kinds.count("Weighted") - 1


async def test_resampling_never_follows_the_last_block():
    result = (await events_of(ess_threshold=1.0))[-1].result
    assert result.resampled[-1] is False
    assert all(result.resampled[:-1])


@pytest.mark.parametrize("threshold", [0.0, 1.0])
async def test_the_threshold_zero_never_resamples_and_one_always(threshold):
    result = (await events_of(ess_threshold=threshold))[-1].result
    assert all(flag == (threshold == 1.0) for flag in result.resampled[:-1])


async def test_log_z_is_the_log_mean_of_the_final_weights():
    result = await sample(engine_of(MODEL), (), potential_of(MODEL), config_of(MODEL), seed=0)
    assert result.log_z == pytest.approx(np.log(np.mean(np.exp([p.log_weight for p in result.particles]))))
    assert sum(p.weight for p in result.particles) == pytest.approx(1.0)
    assert len(result.ess) == len(result.ancestors) == len(result.resampled) == result.blocks


async def test_target_one_without_a_reward_has_log_z_zero():
    result = await sample(engine_of(MODEL), (), None, config_of(MODEL), seed=0)
    assert result.log_z == 0.0
    assert result.answer.reward is None


async def test_particles_that_have_ended_are_never_sent_again():
    engine = counting_engine()
    await sample(engine, (), potential_of(MODEL), config_of(MODEL, n_particles=32), seed=0)
    for call in engine.calls:
        assert all(0 not in tokens for tokens, _, _ in call)


async def test_the_whole_population_is_extended_in_one_call_a_block():
    engine = counting_engine()
    result = await sample(engine, (), potential_of(MODEL), config_of(MODEL), seed=0)
    assert len(engine.calls) == result.blocks == result.usage.engine_calls
    assert len(engine.calls[0]) == 8


async def test_no_two_particles_ever_draw_with_the_same_seed():
    engine = counting_engine()
    await sample(engine, (), potential_of(MODEL), config_of(MODEL, ess_threshold=1.0, **EVERYTHING), seed=0)
    seeds = [seed for call in engine.calls for _, _, seed in call]
    assert len(seeds) == len(set(seeds))


async def test_a_run_leaves_no_sequence_open_in_the_engine():
    engine = counting_engine()
    await sample(engine, (), potential_of(MODEL), config_of(MODEL, n_sweeps=2, **EVERYTHING), seed=0)
    assert engine.open_sequences == 0


async def test_a_reader_that_leaves_closes_every_sequence():
    engine = counting_engine()
    stream = run(engine, (), potential_of(MODEL), config_of(MODEL), seed=0)
    async for event in stream:
        if isinstance(event, events.Weighted):
            break
    await stream.aclose()
    assert engine.open_sequences == 0


async def test_the_answer_is_accounted_for_and_every_kind_of_draw():
    result = await sample(counting_engine(), (), potential_of(MODEL), config_of(MODEL, **EVERYTHING), seed=0)
    assert min(result.usage.sampled + result.usage.reused, result.usage.rollout, result.usage.mh) > 0
    assert result.usage.answer == len(result.answer.token_ids)


async def test_copies_and_rollouts_are_not_scored_twice():
    asked = []

    def f(tokens, finished):
        asked.append((tokens, finished))
        return soft(tokens, finished)

    config = config_of(MODEL, **EVERYTHING)
    result = await sample(engine_of(MODEL), (), FunctionPotential(f), config, seed=0)
    assert len(asked) == len(set(asked)) == result.usage.reward_calls
    assert result.usage.reward_cached > 0


async def test_all_particles_dead_is_an_error_with_advice_and_log_z_minus_infinity():
    potential = FunctionPotential(lambda tokens, finished: -math.inf)
    with pytest.raises(AllParticlesDead, match="softer reward") as caught:
        await sample(engine_of(MODEL), (), potential, config_of(MODEL), seed=0)
    assert caught.value.log_z == -math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf, "high", None])
async def test_a_value_that_no_target_can_use_is_an_error_of_the_request(value):
    with pytest.raises(PotentialError):
        await sample(engine_of(MODEL), (), FunctionPotential(lambda t, f: value), config_of(MODEL), seed=0)


async def test_a_telescoping_reward_counts_at_the_end_only():
    model = MODELS["tempered-no-eos-telescoping"]
    result = await sample(engine_of(model), (), potential_of(model), config_of(model, ess_threshold=0.0), seed=0)
    for particle in result.particles:
        assert particle.log_weight == pytest.approx(soft(particle.token_ids, True))
        assert particle.reward == pytest.approx(soft(particle.token_ids, True))


async def test_a_terminal_potential_is_asked_for_complete_sequences_only():
    asked = []
    potential = FunctionPotential(lambda tokens, finished: asked.append(finished) or 0.0, kind="terminal")
    await sample(engine_of(MODEL), (), potential, config_of(MODEL, **EVERYTHING), seed=0)
    assert asked
    assert all(asked)


async def test_committed_text_is_a_prefix_of_every_final_particle():
    stream = await events_of(ess_threshold=1.0)
    final = stream[-1].result
    for event in stream:
        if isinstance(event, events.Committed):
            n = len(event.token_ids)
            assert all(p.token_ids[:n] == event.token_ids for p in final.particles if p.weight > 0)


async def test_nothing_is_committed_while_moves_may_cut_it():
    assert not any(isinstance(e, events.Committed) for e in await events_of(**EVERYTHING))


async def test_the_anytime_posterior_sums_to_one_over_complete_answers():
    posteriors = [e for e in await events_of(lookahead={"rollouts": 3}) if isinstance(e, events.Posterior)]
    assert posteriors
    for event in posteriors:
        assert sum(weight for _, weight in event.answers) == pytest.approx(1.0)
        assert all(MODEL.complete(tokens) for tokens, _ in event.answers)


async def test_a_decided_posterior_ends_the_run_early_with_complete_answers():
    config = config_of(MODEL, lookahead={"rollouts": 4, "early_stop": 0.05})
    result = await sample(engine_of(MODEL), (), potential_of(MODEL), config, seed=0)
    assert result.stopped == "early_stop"
    assert result.blocks < 3
    assert all(particle.finished for particle in result.particles)
    assert not result.exact


async def test_the_paper_mode_says_that_it_has_no_log_z():
    config = config_of(MODEL, rejuvenation={"steps": 2, "mode": "paper", "when": "resampled"})
    result = await sample(engine_of(MODEL), (), potential_of(MODEL), config, seed=0)
    assert result.log_z is None
    assert not result.exact


@pytest.mark.parametrize(
    ("settings", "exact"),
    [
        ({}, True),
        ({"rejuvenation": {"steps": 1}}, True),
        ({"rejuvenation": {"steps": 1, "when": "resampled"}}, False),
        ({"bridge": {"reward": True}}, False),
        ({"lookahead": {"rollouts": 1}}, True),
        ({"lookahead": {"rollouts": 1}, "rejuvenation": {"steps": 1}}, False),
    ],
)
async def test_a_result_says_whether_it_is_exact(settings, exact):
    result = await sample(engine_of(MODEL), (), potential_of(MODEL), config_of(MODEL, **settings), seed=0)
    assert result.exact is exact


async def test_greedy_decoding_is_one_particle_at_temperature_zero():
    config = config_of(MODEL, n_particles=1, proposal_temperature=0.0)
    results = [await sample(engine_of(MODEL), (), None, config, seed=seed) for seed in (0, 1)]
    tokens = results[0].answer.token_ids
    assert tokens == results[1].answer.token_ids
    assert all(token == int(np.argmax(MODEL.logprobs(tokens[:t]))) for t, token in enumerate(tokens))


async def test_more_draws_than_one_come_from_the_final_population():
    result = await sample(engine_of(MODEL), (), potential_of(MODEL), config_of(MODEL), seed=0, n_draws=4)
    assert len(result.draws) == 4
    assert {d.token_ids for d in result.draws} <= {p.token_ids for p in result.particles}
    assert result.draws[0].token_ids == result.answer.token_ids


async def test_a_context_that_is_too_short_is_refused_with_what_to_change():
    engine = TableEngine(mod_logits(4), 4, 0, max_model_len=6)
    with pytest.raises(EngineRequestError, match="lower max_tokens"):
        await sample(engine, (1, 2), None, SMCConfig(max_tokens=6, block_size=2), seed=0)


async def test_an_engine_that_knows_log_z_only_at_one_over_alpha_refuses_other_temperatures():
    engine = engine_of(MODEL)
    engine._info = __import__("dataclasses").replace(engine.info, exact_log_z=False)
    with pytest.raises(EngineRequestError, match="leave proposal_temperature"):
        await sample(engine, (), None, config_of(MODEL, proposal_temperature=0.9), seed=0)
    assert (await sample(engine, (), None, config_of(MODEL, target="powered"), seed=0)).log_z is not None
