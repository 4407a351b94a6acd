"""Answers, examples and scripts are read as plain Python would have it (``agreement.py`` has the inputs)."""

from __future__ import annotations

import pytest

from smc_decode.potentials.code.program import read_program
from tests.potentials.code.agreement import SCRIPT_FORMS, answers, disagreements, fenced, script_output, sizes


def test_there_are_more_than_three_hundred_inputs():
    assert sum(sizes().values()) > 300


def test_no_input_is_read_otherwise_than_plain_python_would_have_it():
    assert list(disagreements()) == []


def test_a_wrong_program_is_among_the_inputs_in_every_form():
    names = [name for name, *_ in answers()]
    assert sum(name.startswith("wrong sign / ") for name in names) >= 40


@pytest.mark.parametrize("form", SCRIPT_FORMS)
def test_no_prefix_of_a_script_is_taken_for_broken_python(form):
    text = SCRIPT_FORMS[form]
    for cut in range(0, len(text), 7):
        program = read_program("", text[:cut], finished=False, entry_point="", chat=True)
        assert program.syntax


def test_no_prefix_of_a_message_is_taken_for_broken_python_for_good():
    for name, prompt, text, chat, _ in answers():
        if chat and name.startswith(("helper after", "conditional", "class with")):
            for cut in range(0, len(text), 41):
                program = read_program(prompt, text[:cut], finished=False, entry_point="span", chat=True)
                assert program.syntax or program.mendable, (name, cut)


def test_a_draft_counts_until_a_better_program_prints():
    text = fenced("print(0)\n") + "Better:\n" + fenced("print(sum(map(int, input().split())))\n")
    cut = text.index("sum")
    before = read_program("", text[:cut], finished=False, entry_point="", chat=True)
    assert script_output(before.source) == "0\n"
