"""The study of efficiency: its models' sums, its count of rows, and that methods get the same rows."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from benchmarks import efficiency, toy_models
from benchmarks.efficiency import ABLATIONS, INDEPENDENT, METHODS, Method, budget, cell
from benchmarks.efficiency_report import grid, relative, report
from benchmarks.toy_models import CHAINS, CountingEngine, chain, toys
from smc_decode import SMCConfig, sample
from smc_decode.engines.base import Extend


@pytest.mark.parametrize("name", CHAINS)
def test_a_chains_sums_are_those_of_all_its_sequences(name, monkeypatch):
    monkeypatch.setattr(toy_models, "LENGTH", 5)
    toy, law, reward = chain(name), toy_models._chain_law(name == "one key token"), CHAINS[name]
    z = good = 0.0
    for tokens in itertools.product(range(4), repeat=5):
        log_q = 0.0
        for t, token in enumerate(tokens):
            powered = toy_models.ALPHA * law(tokens[:t])
            log_q += float((powered - np.logaddexp.reduce(powered))[token])
        counted = (tokens[0], tokens.count(1), sum(tokens) % 2)
        mass = math.exp(log_q + reward.log_r(*counted))
        z, good = z + mass, good + mass * toy.good(tokens)
    assert toy.log_z == pytest.approx(math.log(z))
    assert toy.posterior == pytest.approx(good / z)


async def test_rows_are_the_distinct_prefixes_of_each_call():
    engine = CountingEngine(lambda tokens: np.log([0.5, 0.5]), 2)
    sequences = [await engine.open(()) for _ in range(3)]
    drawn = [c async for _, c in engine.extend([Extend(s, 3, seed=i) for i, s in enumerate(sequences)])]
    prefixes = {tuple(c.token_ids[:t]) for c in drawn for t in range(3)}
    assert engine.rows == len(prefixes) < 9
    before = engine.rows
    _ = [c async for _, c in engine.extend([Extend(sequences[0], 2, seed=9)])]
    assert engine.rows == before + 2


async def test_a_law_that_is_known_by_its_last_token_is_the_same_law():
    toy = chain("smooth")
    whole = CountingEngine(toy_models._chain_law(False), 4)
    config = SMCConfig(max_tokens=16, alpha=2.0, n_particles=4)
    first = await sample(toy.engine(), (), None, config, seed=3)
    second = await sample(whole, (), None, config, seed=3)
    assert [p.token_ids for p in first.particles] == [p.token_ids for p in second.particles]


def test_every_preset_that_has_a_law_is_in_the_table():
    named = {method.name for method in METHODS}
    assert {"smc", "smc-reward", "paper", "mcmc-power", "tempering", INDEPENDENT} <= named
    assert len({method.name for method in (*METHODS, *ABLATIONS)}) == len(METHODS) + len(ABLATIONS)
    for method in (*METHODS, *ABLATIONS):
        for toy in toys():
            if method.fits(toy):
                method.config(toy, 4)


def test_every_method_gets_the_rows_of_the_independent_draws():
    toy = next(toy for toy in toys() if toy.name == "powered-no-eos-psi-1")
    rows = budget(toy)
    for method in (Method(INDEPENDENT, {"ess_threshold": 0.0}), Method("two", {"lookahead": {"rollouts": 2}})):
        found = cell(toy, method, rows, 20, 8)
        assert found.rows == pytest.approx(rows, rel=0.15)
        assert 0.0 < found.rmse < 1.0
        assert found.z == pytest.approx(1.0, abs=0.3)


def test_the_report_has_errors_as_shares_of_those_of_independent_draws(tmp_path):
    toy = next(toy for toy in toys() if toy.name == "tempered-eos-product")
    made = [cell(toy, method, 20.0, 10, 4) for method in METHODS[:2]]
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps(efficiency.asdict(each)) + "\n" for each in made))
    again = efficiency.read(raw)
    assert again == made
    assert relative(grid(again), INDEPENDENT, toy.name)[0] == pytest.approx(1.0)
    text = report(again)
    assert "| independent draws |" in text
    assert f"| smc-reward | {made[1].rmse / made[0].rmse:.2f} ± " in text
