import json

import numpy as np
from typer.testing import CliRunner

from server.cli import app


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
