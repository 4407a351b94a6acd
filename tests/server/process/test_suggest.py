"""``smc-decode suggest``: what a sample of answers says of the decoder."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from server.cli import app
from server.process.advice import Judged, advise

TOY = ["--engine", "tests.server.toy:create"]


def answers(*rewards: float, along: object = None, tokens: int = 120, prompt: int = 0) -> list[Judged]:
    """Answers with these rewards, each of whose beginnings had what ``along`` says of its reward."""
    told = along if callable(along) else lambda reward: 0.5
    return [Judged(prompt, tokens, reward, (told(reward),) * 3) for reward in rewards]


def test_a_reward_that_never_differs_cannot_choose():
    assert advise(answers(*[0.4] * 16)).preset == "low-temperature"
    assert "full reward" in advise(answers(*[1.0] * 16)).why


def test_beginnings_that_tell_ask_for_resampling_with_blocks_an_eighth_of_an_answer():
    found = advise(answers(0.2, 0.4, 0.6, 0.8, 1.0, along=lambda reward: reward / 2, tokens=256))
    assert found.preset == "parts"
    assert found.block_size == 32
    assert found.auc == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("along", [None, lambda reward: 1 - reward])
def test_where_only_whole_answers_tell_the_first_that_is_right_will_do(along):
    found = advise(answers(0.2, 0.4, 0.6, 0.8, 1.0, along=along))
    assert found.preset == "search"
    assert found.block_size is None
    assert advise(answers(0.2, 0.4, 0.6, 0.8, along=along)).preset == "best-of-n"


def test_answers_to_different_prompts_are_not_compared():
    easy, hard = answers(1.0, 1.0, 1.0, prompt=0), answers(0.0, 0.0, 0.0, prompt=1)
    found = advise([*easy, *hard])
    assert found.pairs == 0
    assert found.preset == "low-temperature"


def test_no_answers_give_no_advice():
    with pytest.raises(ValueError, match="no answers"):
        advise([])


def suggest(path, *arguments):
    return CliRunner().invoke(app, ["suggest", "--sample", str(path), *TOY, *arguments])


REGEX = ["--reward", "regex", "--params", '{"pattern": "[a-f ]+"}']


def test_the_command_draws_and_prints_what_to_set_and_the_figures(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text('Say something.\n{"prompt": "abc", "max_tokens": 12, "seed": 1}\n', encoding="utf-8")
    told = suggest(path, *REGEX)
    assert told.exit_code == 0, told.output
    assert '"preset"' in told.stdout.splitlines()[0]
    assert "16 answers" in told.stdout
    figures = json.loads(suggest(path, *REGEX, "--json", "--prompts", "1").stdout)
    assert figures["measured"]["answers"] == 8
    assert set(figures["measured"]["auc"]) == {"25%", "50%", "75%"}


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("", REGEX, "holds no prompt"),
        ("Say.\n", [], "names no reward"),
        ("{nonsense\n", REGEX, "line 1 is not JSON"),
        ('{"prompt": 3.5}\n', REGEX, "line 1"),
        ("Say.\n", ["--reward", "no_such"], "no_such"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, text, arguments, said):
    path = tmp_path / "prompts.txt"
    path.write_text(text, encoding="utf-8")
    told = suggest(path, *arguments)
    assert told.exit_code == 2
    assert said in told.stderr
    assert "Traceback" not in told.output
