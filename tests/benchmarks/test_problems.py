import json

import pytest

from benchmarks.problems import DataError, Problem, choose, gpqa, humaneval, math500
from benchmarks.prompts import CODE_STOPS, make_prompt, program_of, without_stop


def test_humaneval_has_its_164_problems():
    problems = humaneval()
    assert len(problems) == 164
    assert problems[0].entry_point == "has_close_elements"
    assert "check" in problems[0].reference


def test_every_kth_problem_is_chosen_before_the_limit():
    assert choose(list(range(20)), start=1, every=5, limit=3) == [1, 6, 11]


def test_math500_is_read_from_a_file(tmp_path):
    file = tmp_path / "math.jsonl"
    file.write_text(
        json.dumps({"problem": "1+1?", "solution": "", "answer": "2", "subject": "algebra", "unique_id": "a"})
    )
    (problem,) = math500(file)
    assert (problem.id, problem.question, problem.reference) == ("a", "1+1?", "2")
    assert problem.meta == {"subject": "algebra"}


def test_gpqa_shuffles_its_choices_the_same_way_every_time(tmp_path):
    file = tmp_path / "gpqa.csv"
    file.write_text(
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\n"
        '"Which, of these?",right,wrong,bad,worse\n"And this?",yes,no,never,not\n'
    )
    first, again = gpqa(file), gpqa(file)
    assert first == again
    assert first[0].choices["ABCD".index(first[0].reference)] == "right"
    assert "A) " in make_prompt(first[0], "chat").text


def test_gpqa_is_not_ours_to_give():
    with pytest.raises(DataError, match="--data"):
        gpqa()


def test_a_file_without_the_columns_says_what_it_has(tmp_path):
    file = tmp_path / "math.jsonl"
    file.write_text('{"question": "?"}\n')
    with pytest.raises(DataError, match=r"no 'problem'; it has: question"):
        math500(file)


CODE = Problem("x", "code", "from math import sqrt\n\ndef f(x):\n    '''Root.'''\n", "", entry_point="f")


def test_a_completion_goes_on_where_the_prompt_ends():
    prompt = make_prompt(CODE, "completion")
    assert prompt.messages is None
    assert prompt.stop == CODE_STOPS
    program = program_of(CODE, "\n    return sqrt(x)\n\n\nprint(f(4))", "completion")
    assert program.startswith("from math import sqrt")
    assert program.rstrip().endswith("return sqrt(x)")


def test_a_chat_answer_is_the_function_in_its_block():
    text = "Here it is:\n```python\ndef f(x):\n    return sqrt(x)\n```\nIt works."
    program = program_of(CODE, text, "chat")
    assert "from math import sqrt" in program
    assert "It works" not in program
    space = {}
    exec(program, space)
    assert space["f"](4) == 2


def test_the_text_ends_before_the_earliest_stop_string():
    assert without_stop("    return 1\nprint(2)\ndef g", CODE_STOPS) == "    return 1"
    assert without_stop("    return 1", CODE_STOPS) == "    return 1"
