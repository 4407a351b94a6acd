import json
import re

import pytest

from benchmarks.records import RunWriter, read_run
from benchmarks.report import rows, to_html, to_markdown, write_reports
from benchmarks.summary import curves, summarise

HEADER = {
    "benchmark": "humaneval", "model": "m", "digest": "abc", "prompt_form": "chat", "reward": "prompt-examples",
    "seed": 0, "max_tokens": 100, "problems": 3, "selection": {"every": 4}, "versions": {"python": "3"},
    "machine": {"cpus": 2, "architecture": "x"}, "commit": "c0ffee", "published": {"smc": 87.8}, "methods": {},
}  # fmt: skip
ACCOUNT = dict.fromkeys(["kept", "dropped", "sampled", "rollout", "mh", "reused", "reward_calls", "seconds"], 0)


def record(method, problem, marks, rewards, *, n=None, passed=None, tokens=10, resampled=(False,)):
    n = n or len(marks)
    best = max(range(len(marks)), key=lambda i: rewards[i])
    population = [
        {"weight": 1 / n, "reward": reward, "tokens": tokens, "finish": "eos", "passed": mark}
        for mark, reward in zip(marks, rewards, strict=True)
    ]
    return {
        "method": f"{method} N={n}", "spec": method, "n": n, "problem": problem, "repeat": 0, "blocks": 1,
        "passed": marks[best] if passed is None else passed, "rules": {"sample": sum(marks) / n},
        "account": ACCOUNT | {"drawn": tokens * n}, "population": population,
        "resampled": list(resampled), "ess": [1.0],
    }  # fmt: skip


RECORDS = [
    *(record("best-of-n", p, [True, False, False, False], [0.3, 1.0, 0.3, 0.3]) for p in "abc"),
    *(record("smc", p, [True, True], [1.0, 1.0], resampled=[True]) for p in "abc"),
    *(record("smc", p, [p == "a"], [1.0], resampled=[True]) for p in "abc"),
]


@pytest.fixture
def run(tmp_path):
    with RunWriter(tmp_path / "run.jsonl", HEADER) as writer:
        for each in RECORDS:
            writer.add(each)
    return read_run(tmp_path / "run.jsonl")


def test_a_row_has_the_rate_the_tokens_and_the_difference_to_the_reference():
    rows = {row.label: row for row in summarise(RECORDS, ["best-of-n N=4", "smc N=2", "smc N=1"], "best-of-n N=4")}
    assert rows["smc N=2"].rate == 1.0
    assert rows["smc N=2"].tokens == 20
    assert rows["smc N=2"].against.difference == 1.0
    assert rows["smc N=2"].against.only_this == 3
    assert rows["smc N=2"].against.p_value == 0.25
    assert rows["best-of-n N=4"].against is None
    assert rows["best-of-n N=4"].pass_at == {1: 0.25, 2: 0.5, 4: 1.0}
    assert rows["smc N=2"].pass_at == {}


def test_one_run_of_independent_particles_is_a_whole_curve_and_other_methods_need_a_run_a_point():
    best, smc = curves(RECORDS)
    assert [(point.n, point.tokens, point.expected) for point in best.points] == [
        (1, 10, True),
        (2, 20, True),
        (4, 40, True),
    ]
    assert best.points[0].rate == pytest.approx(0.25)
    assert best.points[2].rate == 0.0  # the wrong one has the highest reward
    assert [(point.n, point.rate, point.expected) for point in smc.points] == [
        (1, pytest.approx(1 / 3), False),
        (2, 1.0, False),
    ]


def test_the_markdown_names_model_reward_versions_and_published_figures(run):
    text = to_markdown([run])
    assert "| smc N=2 | 3/3 | 100.0% (43.9% to 100.0%) | 87.8% | 20 | +100.0 (+100.0 to +100.0) | 0.25 |" in text
    assert "hidden from the reward" in text
    assert "SHA-256 `abc`" in text
    assert "every 4th" in text
    assert "commit c0ffee" in text


def test_a_file_that_was_continued_names_the_problems_and_versions_of_every_run(run):
    later = HEADER | {"selection": {"start": 0, "every": 2, "limit": None}, "problems": 82, "commit": "decade"}
    with RunWriter(run.path, later, resume=True):
        pass
    text = to_markdown([read_run(run.path)])
    assert re.search(r"problems: every 4th \(\d+\), then every 2nd \(82\)", text)
    assert "commit c0ffee" in text
    assert "commit decade" in text


def test_the_budgets_of_a_method_stand_side_by_side_however_they_were_run(tmp_path):
    several = [RECORDS[0] | {"method": f"smc N={n}", "spec": "smc", "n": n} for n in (16, 2)]
    several.insert(1, RECORDS[0] | {"method": "base N=1", "spec": "base", "n": 1})
    header = HEADER | {"methods": {record["method"]: {} for record in several}}
    with RunWriter(tmp_path / "run.jsonl", header) as writer:
        for record in several:
            writer.add(record)
    assert [row.label for row in rows([read_run(tmp_path / "run.jsonl")], None)] == ["smc N=2", "smc N=16", "base N=1"]


def test_the_html_stands_alone(run, tmp_path):
    page = to_html([run])
    assert page.count("<svg") == 2
    assert "c0ffee" in page
    assert not re.search(r"<script|<link|<img|https?://|url\(|@import", page)
    markdown, html = write_reports([run.path], tmp_path / "sub" / "v1.0")
    assert (markdown.name, html.name) == ("v1.0.md", "v1.0.html")


def test_text_of_models_and_users_is_escaped(tmp_path):
    with RunWriter(tmp_path / "run.jsonl", HEADER | {"model": "<script>alert(1)</script>"}) as writer:
        writer.add(RECORDS[0])
    assert "<script>" not in to_html([read_run(tmp_path / "run.jsonl")])


def test_files_with_different_rewards_are_put_side_by_side(run, tmp_path):
    with RunWriter(
        tmp_path / "other.jsonl", HEADER | {"reward": "hidden-tests", "reward_saw_the_tests": True}
    ) as writer:
        writer.add(RECORDS[0])
    text = to_markdown([run, read_run(tmp_path / "other.jsonl")])
    assert "best-of-n N=4 [prompt-examples]" in text
    assert "best-of-n N=4 [hidden-tests]" in text


def test_a_run_without_results_has_a_report(tmp_path):
    RunWriter(tmp_path / "run.jsonl", HEADER).close()
    run = read_run(tmp_path / "run.jsonl")
    assert "No results yet" in to_markdown([run])
    assert json.loads(json.dumps(to_html([run])))
