import json

import numpy as np
import pytest
from typer.testing import CliRunner

from server.cli import app

TOY = ["--engine", "tests.server.toy:create"]
REGEX = ["--reward", "regex", "--params", '{"pattern": "a+"}']


def scores_file(tmp_path, count, rng):
    right = rng.random(count) < 0.5
    path = tmp_path / "scores.jsonl"
    lines = []
    for truth in right:
        scores = {
            name: float(truth * gain + rng.normal()) for name, gain in (("a", 3.0), ("b", 2.0), ("c", 1.5), ("d", 1.0))
        }
        lines.append(json.dumps({"scores": scores}))
    path.write_text("\n".join(lines))
    return path


def test_fuse_fits_weights_from_a_file_of_scores_and_writes_them(tmp_path):
    path = scores_file(tmp_path, 2000, np.random.default_rng(0))
    result = CliRunner().invoke(app, ["fuse", str(path), "--output", str(tmp_path / "fit.json")])
    assert result.exit_code in (0, 1), result.output
    assert all(name in result.output for name in "abcd")
    assert json.loads((tmp_path / "fit.json").read_text())


def test_fuse_says_in_one_line_what_is_wrong_with_the_scores(tmp_path):
    result = CliRunner().invoke(app, ["fuse", str(tmp_path / "missing.jsonl")])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def score(path, *arguments):
    return CliRunner().invoke(app, ["score", str(path), *TOY, *arguments])


def lines(path, *rows):
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_score_judges_each_line_of_a_file_in_order(tmp_path):
    rows = [{"id": number, "prompt": "q", "answers": ["a" * number, "b"]} for number in range(1, 8)]
    own = {"messages": [{"role": "user", "content": "q"}], "answers": ["bb"]}
    own["reward"] = {"name": "regex", "params": {"pattern": "b+"}}
    path = lines(tmp_path / "answers.jsonl", *rows, "", own)
    result = score(path, *REGEX, "--output", str(tmp_path / "scores.jsonl"))
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [each.get("id") for each in told] == [*range(1, 8), None]
    assert [[one["reward"] for one in each["scores"]] for each in told] == [*[[1.0, 0.0]] * 7, [1.0]]


def test_score_writes_to_standard_output_and_reads_standard_input():
    row = {"prompt": "q", "answers": ["é", "a"]}
    result = CliRunner().invoke(app, ["score", "-", *TOY, *REGEX], input=json.dumps(row))
    assert result.exit_code == 0, result.output
    assert [each["reward"] for each in json.loads(result.stdout)["scores"]] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 must be a JSON object"),
        ({"prompt": "q"}, "line 2: answers"),
        ({"prompt": "q", "answer": ["a"]}, "line 2: answer is unknown"),
        ({"prompt": "q", "answers": ["a"], "reward": "no-such"}, "line 2: unknown reward 'no-such'"),
        ({"prompt": "q", "answers": ["a"], "model": "gpt-9"}, "line 2: the model 'gpt-9' does not exist here"),
    ],
)
def test_score_says_which_line_is_wrong_and_what_to_change(tmp_path, row, told):
    path = lines(tmp_path / "answers.jsonl", {"prompt": "q", "answers": ["a"]}, row)
    result = score(path, *REGEX)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert f"answers.jsonl, {told}" in " ".join(result.output.split())


def test_score_says_what_to_write_into_an_empty_file(tmp_path):
    assert "holds no line" in score(lines(tmp_path / "empty.jsonl"), *REGEX).output
    assert "cannot read" in score(tmp_path / "missing.jsonl", *REGEX).output
