"""Modules of several functions: how they are made, marked and reported."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from benchmarks.marking import Marking
from benchmarks.module_problems import MODULES, SIZES, modules
from benchmarks.module_report import Cell, cells, ratio, reference_of, write_module_report
from benchmarks.modules import main
from benchmarks.problems import Problem
from benchmarks.prompts import make_prompt
from benchmarks.records import read_run
from smc_decode.potentials.code.prompt_code import asked_functions


def problem(name: str, head: str = "") -> Problem:
    question = f'{head}def {name}(x):\n    """Of {name}.\n    >>> {name}(1)\n    2\n    """\n'
    return Problem(f"toy/{name}", "code", question, f"the tests of {name}", entry_point=name)


PROBLEMS = [problem(name, "import math\n" if name == "b" else "") for name in "abcdefgh"]


@pytest.mark.parametrize("size", SIZES)
def test_a_module_asks_for_that_many_functions_of_different_names(size):
    for module in modules(size, PROBLEMS, count=7):
        names = [name for name, _ in asked_functions(module.question)]
        assert names == [part.entry_point for part in module.parts]
        assert len(set(names)) == size


def test_the_choice_is_the_same_every_time_and_uses_all_problems_alike():
    first, second = (modules(2, PROBLEMS, count=8) for _ in range(2))
    assert first == second
    uses = [part.entry_point for module in first for part in module.parts]
    assert {name: uses.count(name) for name in "abcdefgh"} == dict.fromkeys("abcdefgh", 2)


def test_imports_stand_once_at_the_top():
    with_import = next(module for module in modules(8, PROBLEMS, count=1))
    assert with_import.question.startswith("import math\n")
    assert with_import.question.count("import math") == 1


def test_prompts_with_helpers_or_without_examples_are_left_out():
    helper = Problem("h", "code", "def g():\n    return 1\n\n" + problem("h").question, "", entry_point="h")
    bare = Problem("n", "code", 'def n(x):\n    """Nothing."""\n', "", entry_point="n")
    names = {part.entry_point for module in modules(2, [*PROBLEMS, helper, bare], count=20) for part in module.parts}
    assert names == set("abcdefgh")


def test_two_problems_with_one_name_never_meet():
    twins = [*PROBLEMS[:2], Problem("t", "code", problem("a").question, "", entry_point="a")]
    for module in modules(2, twins, count=10):
        assert len({part.entry_point for part in module.parts}) == 2
    with pytest.raises(ValueError, match="different names"):
        modules(3, twins, count=1)


def test_the_prompt_asks_for_one_block_without_docstrings():
    text = make_prompt(modules(2, PROBLEMS, count=1)[0], "chat").text
    assert "one Python code block that has all of them" in text
    assert "without docstrings" in text


def test_the_mark_of_a_module_is_the_share_of_functions_that_are_right(monkeypatch):
    marking = Marking()

    async def run(part: Problem, program: str) -> bool:
        return f"def {part.entry_point}" in program and "right" in program.split(f"def {part.entry_point}")[1][:30]

    monkeypatch.setattr(marking, "_run", run)
    module = modules(2, PROBLEMS, count=1)[0]
    a, b = (part.entry_point for part in module.parts)
    text = f"```python\ndef {a}(x):\n    return 'right'\n\ndef {b}(x):\n    return 'wrong'\n```"
    both = text.replace("wrong", "right")
    assert asyncio.run(marking.mark(module, [text, both], "chat")) == [0.5, 1.0]


def record(method: str, number: int, passed: bool, rows: int) -> dict:
    return {
        "kind": "result", "method": method, "spec": method.rpartition(" N=")[0], "n": 16, "problem": f"m/{number}",
        "repeat": 0, "passed": passed, "share": 1.0 if passed else 0.5, "rules": {}, "failure": "",
        "account": {"computed_rows": rows, "drawn": 2 * rows, "seconds": 1.0}, "ess": [8.0, 4.0],
        "resampled": [True, False], "rewards": [[0.1, 0.4, 0.6], [0.1, 0.5, 1.0]], "lineages": 4,
        "population": [{"passed": passed}],
    }  # fmt: skip


def results(path, size: int, solved: dict[str, int]):
    header = {
        "kind": "run", "benchmark": f"modules-{size}", "model": "toy", "digest": "none", "reward": "prompt-examples",
        "seed": 0, "methods": {f"{name} N=16": {} for name in solved},
    }  # fmt: skip
    lines = [header]
    lines += [record(f"{name} N=16", i, i < right, 100) for name, right in solved.items() for i in range(10)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_report_compares_with_the_better_temperature_of_best_of_n(tmp_path):
    path = results(tmp_path / "modules-4.jsonl", 4, {"best-of-n": 2, "best-of-n:alpha=4": 3, "smc": 6})
    table = cells([read_run(path)])
    assert reference_of(4, table).method == "best-of-n:alpha=4 N=16"
    times, low, high = ratio(table[2], table[1])
    assert times == 2.0
    assert low <= 2.0 <= high


def test_no_ratio_is_given_where_the_reference_solves_nothing():
    nothing, some = (Cell(name, 8, {"m": name == "smc"}, {}, 1, 1, 1, 0, None) for name in ("best-of-n", "smc"))
    assert ratio(some, nothing) is None


def test_the_report_has_a_curve_over_the_sizes_and_rows_for_a_right_module(tmp_path):
    paths = [results(tmp_path / f"modules-{k}.jsonl", k, {"best-of-n": 8 // k, "smc": 8}) for k in (2, 4)]
    text = write_module_report(paths, tmp_path / "modules").read_text()
    assert "| 4 | `smc N=16` | 8/10 = 80%" in text
    assert "4.0 (" in text  # times as often
    assert "| 125 |" in text  # 100 rows a module, 0.8 of them right
    assert "<svg" in (tmp_path / "modules.svg").read_text()
    assert "<table>" in (tmp_path / "modules.html").read_text()


def test_the_command_has_a_subcommand_for_each_size_and_says_what_is_wrong():
    assert all(str(size) in CliRunner().invoke(main, ["--help"]).output for size in SIZES)
    failed = CliRunner().invoke(main, ["report", "no-such-file.jsonl"])
    assert failed.exit_code == 2
    assert [benchmark.max_tokens for benchmark in MODULES.values()] == sorted(b.max_tokens for b in MODULES.values())
