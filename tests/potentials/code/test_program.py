"""Reading programs out of unfinished answers."""

from __future__ import annotations

import threading

import pytest

from smc_decode.potentials.code.program import CUT, code_of_prompt, infer_entry_point, parse, read_program
from tests.work import work

PROMPT = 'from typing import List\n\n\ndef f(xs: List[int]) -> int:\n    """Sum."""\n'
BODY = "    total = 0\n    for x in xs:\n        if x > 0:\n            total += x\n    return total\n"


def read(text: str, finished: bool = False, chat: bool = False, prompt: str = PROMPT, entry: str = "f"):
    return read_program(prompt, text, finished=finished, entry_point=entry, chat=chat)


def run(source: str, *args: object) -> object:
    """Executes a source of this file's own."""
    names: dict[str, object] = {}
    exec(source, names)
    return names["f"](*args)  # type: ignore[operator]


@pytest.mark.parametrize("length", range(len(BODY)))
def test_every_prefix_of_a_valid_body_is_valid_so_far(length):
    program = read(BODY[:length])
    assert program.syntax
    assert not program.complete


@pytest.mark.parametrize("length", range(0, len(BODY), 3))
def test_every_closed_prefix_compiles_and_raises_at_the_cut(length):
    program = read(BODY[:length])
    with pytest.raises(NotImplementedError, match=CUT):
        run(program.source, [1, 2])


def test_a_call_that_returns_before_the_cut_gives_its_final_answer():
    program = read("    if not xs:\n        return 0\n    total = ")
    assert program.runnable
    assert run(program.source, []) == 0
    with pytest.raises(NotImplementedError, match=CUT):
        run(program.source, [1])


def test_a_prefix_without_a_return_is_not_worth_running():
    assert not read("    total = 0\n    for x in xs:\n").runnable


def test_an_unfinished_branch_is_cut_and_what_follows_it_too():
    program = read("    if xs == [1]:\n        return 5\n    elif xs == [2]:\n        y = 3\n")
    assert run(program.source, [1]) == 5
    for argument in ([2], [3]):
        with pytest.raises(NotImplementedError, match=CUT):
            run(program.source, argument)


@pytest.mark.parametrize(
    "text",
    [
        "    try:\n        return xs[0]\n",
        "    try:\n        return xs[0]\n    except IndexError:\n",
        "    with open('x') as f:\n        pass\n",
        "    match xs:\n",
        "    match xs:\n        case []:\n            return 0\n",
        "    def helper(y):\n        return y\n    ",
        "    class Helper:\n        def method(self):\n            return 1\n",
        "    while True:\n        break\n",
        "    return sum(\n        x for x in xs\n",
        '    """A longer\n    docstring',
        "    s = '''text\nat the margin\n",
        "    async def g():\n        async with xs:\n            return 1\n",
        "    @staticmethod\n",
        "    lines = [\n        1,\n",
        "    x = 1 + \\\n",
    ],
)
def test_open_statements_of_every_kind_can_be_closed(text):
    program = read(text)
    assert program.syntax
    assert not program.complete
    assert parse(program.source) is not None


@pytest.mark.parametrize(
    "text",
    ["    return )\n", "    for x in xs\n        pass\n", "  x = 1\n      y = 2\n", "    s = 'open\n    t = 1\n"],
)
def test_an_error_in_a_finished_line_cannot_be_mended(text):
    assert not read(text).syntax


def test_an_error_in_the_last_line_may_still_be_mended():
    assert read("    return xs[0] if").syntax


def test_the_function_ends_where_text_returns_to_the_margin():
    program = read(BODY + "\n\nprint(f([1]))\n# more")
    assert program.complete
    assert not program.ended
    assert "print" not in program.source
    assert run(program.source, [1, -2, 3]) == 4


def test_helpers_after_the_function_are_kept_and_sample_calls_are_not():
    program = read(
        "    return g(xs)\n\ndef g(xs):\n    return 7\n\nassert f([]) == 1\nif __name__ == '__main__':\n    f(1)\n"
    )
    assert run(program.source, []) == 7


def test_prose_after_a_finished_function_does_no_harm():
    program = read(BODY + "\nThis function adds up the numbers.\n", finished=True)
    assert program.syntax
    assert run(program.source, [1]) == 1


def test_a_string_at_the_margin_does_not_end_the_function():
    program = read("    s = '''\ntext\n'''\n    return len(s)\n", finished=True)
    assert run(program.source, []) == 6


def test_a_finished_answer_that_stops_in_a_statement_is_no_python():
    assert not read("    return sum(", finished=True).syntax


def test_a_whole_function_replaces_the_prompts_and_keeps_its_imports():
    program = read("def f(xs: List[int]) -> int:\n    return 3\n", finished=True)
    assert run(program.source, []) == 3


def test_a_whole_function_in_progress_is_not_taken_for_the_end_of_the_prompts():
    program = read("from typing import List\n\ndef ")
    assert program.syntax
    assert not program.complete
    assert not program.runnable


@pytest.mark.parametrize("fence", ["```python", "```", "~~~py", "```Python3"])
def test_a_chat_answer_has_its_code_in_a_fence(fence):
    closing = fence[:3]
    text = f"Here it is:\n\n{fence}\ndef f(xs):\n    return 4\n{closing}\nHope that helps."
    program = read(text, chat=True)
    assert program.complete
    assert run(program.source, []) == 4


def test_the_block_that_defines_the_function_is_taken():
    function = "```python\ndef f(xs):\n    return 4\n```"
    text = f"Install:\n```sh\npip install x\n```\nThen\n{function}\nUse:\n```python\nf([])\n```\n"
    assert run(read(text, finished=True, chat=True).source, []) == 4


def test_prose_before_the_code_says_nothing_yet():
    program = read("Let me think about the problem.\nFirst,", chat=True)
    assert program.syntax
    assert not program.complete


def test_a_fence_that_the_prompt_opened_is_closed_by_a_bare_one():
    program = read(BODY + "```\nThis adds.\n")
    assert program.complete
    assert run(program.source, [2]) == 2


def test_a_prompt_without_a_last_line_break_is_continued():
    assert run(read(BODY, prompt=PROMPT.rstrip("\n") + "\n", finished=True).source, [1]) == 1
    assert run(read("\n" + BODY, prompt=PROMPT.rstrip("\n"), finished=True).source, [1]) == 1
    assert run(read("return 9", prompt=PROMPT + "    ", finished=True).source, [1]) == 9
    assert run(read("    return 9", prompt=PROMPT + "    ", finished=True).source, [1]) == 9


def test_a_method_is_found_in_its_class():
    text = "class Solution:\n    def f(self, x):\n        return x\n"
    program = read(text + "\n\nx", chat=True, entry="Solution.f", prompt="")
    assert program.complete
    open_program = read(
        "class Solution:\n    def f(self, x):\n        if x: return 1\n", chat=True, entry="Solution.f", prompt=""
    )
    assert open_program.runnable


@pytest.mark.parametrize(
    "text",
    [
        "(" * 50_000,
        "    return " + "-" * 50_000 + "1\n",
        "    return " + "not " * 20_000 + "1\n",
        "    return " + "[" * 5_000 + "]" * 5_000 + "\n",
        "    x" + ".a" * 30_000 + "\n",
        "    return " + "lambda: " * 10_000 + "1\n",
        "    return 1" + "0" * 50_000 + "\n",
        "\n".join(" " * n + "if 1:" for n in range(4, 300)) + "\n",
        "    return '\0'\n",
        "    return \ud800\n",
        "a" * 200_000,
        "#" + "`" * 50_000,
        "```\n" * 5_000,
        "x\n" * 20_000,
        "def f(x):\n" * 3_000,
    ],
    ids=str.__len__,
)
def test_hostile_text_neither_crashes_nor_hangs(text):
    results: list[object] = []

    def work() -> None:
        for finished in (False, True):
            for chat in (False, True):
                results.append(read(text, finished=finished, chat=chat))

    thread = threading.Thread(target=work)  # as the server calls it: threads have smaller stacks
    thread.start()
    thread.join(60)
    assert len(results) == 4


def test_code_is_found_in_prose():
    code = "def g(x):\n    return x"
    assert code_of_prompt(f"Please complete:\n```python\n{code}\n```\nThanks") == code + "\n"
    assert code_of_prompt(f"Complete this function.\n\n{code}\n\nIt should be fast.").startswith(code)
    assert code_of_prompt("Write a function that adds two numbers.") == ""
    assert code_of_prompt(PROMPT) == PROMPT


@pytest.mark.parametrize("prompt", ["def f(x): blah\nprose\n" * 4_000, "def f(x)\n" + "some text ( here\n" * 5_000])
def test_hostile_prompts_cost_a_bounded_time(prompt):
    cost = work(code_of_prompt, prompt)
    assert cost.steps < 100 * len(prompt)
    assert cost.cpu_seconds < 60


def test_the_entry_point_is_what_the_tests_call_or_the_prompts_last_function():
    assert infer_entry_point(PROMPT) == "f"
    assert infer_entry_point("", ["assert set(similar((1, 2), (3,))) == {1}"]) == "similar"
    helper = "def poly(x):\n    return x\n\n\ndef root(x):\n    '''...'''\n"
    assert infer_entry_point(helper, ["def check(candidate):\n    assert poly(candidate(1)) == 0"]) == "root"
    assert infer_entry_point("", []) is None
