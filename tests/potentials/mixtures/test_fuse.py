"""Weights without labels: simulated verifiers whose accuracies are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from smc_decode.potentials.mixtures.fuse import FuseError, fit, read_scores, report, run

SEPARATIONS = (1.0, 2.0, 0.5, 1.5, 1.0)


def simulate(seed, n=2000, separations=SEPARATIONS, right=0.3, shared=None):
    """Scores that are a step at the truth and normal noise, of which ``shared=(i, j, share)`` have a part in common."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < right
    noise = rng.normal(size=(len(separations), n))
    if shared:
        first, second, share = shared
        common = rng.normal(size=n)
        for i in (first, second):
            noise[i] = np.sqrt(share) * common + np.sqrt(1 - share) * noise[i]
    scores = {f"v{i}": 1 / (1 + np.exp(-(truth * s + noise[i]))) for i, s in enumerate(separations)}
    return truth, scores


def test_correlations_with_the_truth_are_found_without_it():
    truth, scores = simulate(0)
    result = fit(scores)
    for verifier in result.verifiers:
        assert verifier.correlation == pytest.approx(np.corrcoef(scores[verifier.name], truth)[0, 1], abs=0.06)
    assert result.right == pytest.approx(0.3, abs=0.05)
    assert result.trustworthy
    assert result.warnings == ()
    assert sum(result.weights.values()) == pytest.approx(1.0)
    assert max(result.weights, key=result.weights.get) == "v1"


def test_the_weights_beat_the_plain_mean():
    truth, scores = simulate(1, separations=(0.2, 0.3, 2.5, 0.3, 2.0))
    weights = fit(scores).weights
    mixed = sum(weights[name] * scores[name] for name in scores)
    plain = sum(scores.values())
    assert np.corrcoef(mixed, truth)[0, 1] > np.corrcoef(plain, truth)[0, 1] + 0.05


def test_verifiers_that_share_errors_are_named_and_the_fit_is_not_trusted():
    result = fit(simulate(2, shared=(0, 2, 0.8))[1])
    assert not result.trustworthy
    assert {(pair.first, pair.second) for pair in result.dependent} == {("v0", "v2")}
    assert "v0 and v2 agree more" in result.warnings[0]
    assert "do not rely" in report(result)


def test_independent_verifiers_raise_no_alarm_and_dependent_ones_do():
    assert sum(not fit(simulate(seed, 500)[1]).trustworthy for seed in range(30)) <= 1
    assert sum(not fit(simulate(seed, 500, shared=(0, 2, 0.7))[1]).trustworthy for seed in range(30)) >= 29


def test_a_verifier_worse_than_chance_has_no_weight():
    result = fit(simulate(3, separations=(2.0, 2.0, -1.0, 1.5))[1])
    assert result.weights["v2"] == 0.0
    assert any("v2 is no better than chance" in warning for warning in result.warnings)


def test_three_verifiers_are_fitted_but_cannot_be_checked():
    result = fit(simulate(4, separations=(1.0, 2.0, 1.0))[1])
    assert not result.trustworthy
    assert any("three verifiers always fit" in warning for warning in result.warnings)


def test_noise_is_not_taken_for_agreement():
    assert not fit(simulate(5, separations=(0, 0, 0, 0))[1]).trustworthy


def test_answers_to_few_prompts_prove_less():
    scores = simulate(6, 400, shared=(0, 2, 0.35))[1]
    assert not fit(scores).trustworthy
    assert fit(scores, groups=[i % 20 for i in range(400)]).dependent == ()


@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ({"a": [0.1] * 50, "b": list(range(50)), "c": list(range(50))}, "a gives every answer the same score"),
        ({"a": range(50), "b": range(50)}, "at least 3"),
        ({"a": range(5), "b": range(5), "c": range(5)}, "at least 30"),
        ({"a": range(50), "b": range(49), "c": range(50)}, "every verifier must score every answer"),
        ({"a": [float("nan")] * 50, "b": range(50), "c": range(50)}, "finite"),
        ({}, "0 verifiers"),
    ],
)
def test_scores_that_cannot_be_fitted_say_why(scores, match):
    with pytest.raises(FuseError, match=match):
        fit(scores)


def test_a_file_of_scores_becomes_a_file_of_weights(tmp_path):
    _, scores = simulate(7, 300)
    source, target = tmp_path / "scores.jsonl", tmp_path / "weights.json"
    rows = [
        {"scores": {name: float(column[i]) for name, column in scores.items()}, "group": i % 60} for i in range(300)
    ]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    result, text = run(source, target)
    assert json.loads(target.read_text())["weights"] == pytest.approx(result.weights)
    assert "300 answers, 5 verifiers" in text
    table = tmp_path / "scores.csv"
    table.write_text("a,b,group\n0.5,1,p\n0.25,0,q\n")
    assert read_scores(table) == ({"a": [0.5, 0.25], "b": [1.0, 0.0]}, ["p", "q"])


@pytest.mark.parametrize("content", ["", "nonsense", '{"scores": {"a": 1}}\n{"scores": {"b": 1}}', '{"a": 1}'])
def test_a_file_of_another_form_says_so(tmp_path, content):
    path = tmp_path / "scores.jsonl"
    path.write_text(content)
    with pytest.raises(FuseError, match=r"scores\.jsonl"):
        read_scores(path)
    with pytest.raises(FuseError):
        read_scores(tmp_path / "absent.jsonl")
