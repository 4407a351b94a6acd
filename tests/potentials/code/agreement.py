"""Answers in the ways in which models write them, with plain Python as the referee.

Each program is written into many forms of answer. What is read back must do on the test's arguments what the program
does when plain Python runs it by itself: right programs pass, wrong ones fail, and drafts never count. Scripts and
prompts with examples likewise. By hand, also against another version of the package::

    PYTHONPATH=PACKAGE:. python -m tests.potentials.code.agreement
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator

from smc_decode.potentials.code.examples import find_examples
from smc_decode.potentials.code.program import read_program

PROMPT = (
    'from typing import List\n\n\ndef span(xs: List[int]) -> int:\n    """Largest minus smallest; 0 for none.\n\n'
    '    >>> span([4, 9])\n    5\n    """\n'
)
ARGUMENTS: list[list[int]] = [[], [4], [3, 9, -1], [2, 2], [-5, -7]]
EXPECTED = [0, 0, 10, 0, 2]

# -- programs: each is a whole module; the name says what is special about it ----------------------------------------

PROGRAMS = {
    "plain": "def span(xs):\n    return max(xs) - min(xs) if xs else 0\n",
    "wrong": "def span(xs):\n    return max(xs) - min(xs) if xs else None\n",
    "wrong sign": "def span(xs):\n    return min(xs) - max(xs) if xs else 0\n",
    "annotated": (
        "from typing import List\n\n\ndef span(xs: List[int]) -> int:\n    if not xs:\n        return 0\n"
        "    return max(xs) - min(xs)\n"
    ),
    "helper after": (
        "def span(xs):\n    return width(sorted(xs))\n\n\ndef width(s):\n"
        "    return s[-1] - s[0] if s else 0\n"
    ),
    "constant after": "def span(xs):\n    return max(xs) - min(xs) if xs else NOTHING\n\n\nNOTHING = int('0')\n",
    "table": (
        "TABLE = {}\nfor n in range(-20, 20):\n    TABLE[n] = n\n\n\ndef span(xs):\n"
        "    return TABLE[max(xs)] - TABLE[min(xs)] if xs else 0\n"
    ),
    "table filled by a function": (
        "TABLE = []\n\n\ndef fill():\n    for n in range(20):\n        TABLE.append(n)\n\n\nfill()\n\n\ndef span(xs):\n"
        "    return TABLE[max(xs) - min(xs)] if xs else TABLE[0]\n"
    ),
    "import that may fail": (
        "try:\n    from nowhere_to_be_found import spread\nexcept ImportError:\n    def spread(xs):\n"
        "        return max(xs) - min(xs)\n\n\ndef span(xs):\n    return spread(xs) if xs else 0\n"
    ),
    "lambda": "import operator\n\nspan = lambda xs: operator.sub(max(xs), min(xs)) if xs else 0\n",
    "partial": (
        "from functools import partial\n\n\ndef general(empty, xs):\n"
        "    return max(xs) - min(xs) if xs else empty\n\n\n"
        "span = partial(general, 0)\n"
    ),
    "conditional": (
        "import sys\n\nif sys.version_info >= (3, 0):\n    def span(xs):\n"
        "        return max(xs) - min(xs) if xs else 0\n"
        "else:\n    def span(xs):\n        return -1\n"
    ),
    "bound anew": (
        "def empty_is_zero(f):\n    return lambda xs: f(xs) if xs else 0\n\n\ndef span(xs):\n"
        "    return max(xs) - min(xs)\n\n\n"
        "span = empty_is_zero(span)\n"
    ),
    "decorated": (
        "import functools\n\n\ndef safe(f):\n    @functools.wraps(f)\n    def g(xs):\n"
        "        return f(xs) if xs else 0\n"
        "    return g\n\n\n@safe\ndef span(xs):\n    return max(xs) - min(xs)\n"
    ),
    "instance": (
        "class Span:\n    def __call__(self, xs):\n        return max(xs) - min(xs) if xs else 0\n\n\nspan = Span()\n"
    ),
    "recursion limit": (
        "import sys\nsys.setrecursionlimit(3000)\n\n\ndef most(xs):\n"
        "    return xs[0] if len(xs) == 1 else max(xs[0], most(xs[1:]))\n"
        "\n\ndef span(xs):\n    return most(xs) + most([-x for x in xs]) if xs else 0\n"
    ),
    "future": (
        "from __future__ import annotations\n\n\ndef span(xs: list[Undefined]) -> int:\n"
        "    return max(xs) - min(xs) if xs else 0\n"
    ),
    "star import": "from math import *\n\n\ndef span(xs):\n    return int(fabs(max(xs) - min(xs))) if xs else 0\n",
    "defined twice": (
        "def span(xs):\n    return 1\n\n\ndef span(xs):\n    return max(xs) - min(xs) if xs else 0\n"
    ),
    "wrong at last": (
        "def span(xs):\n    return max(xs) - min(xs) if xs else 0\n\n\ndef span(xs):\n    return len(xs)\n"
    ),
    "text with fences": (
        "def span(xs):\n    '''Not ``` this:\n    ```\n    span([])\n    ```\n    '''\n"
        "    return max(xs) - min(xs) if xs else 0\n"
    ),
    "class with constants": (
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Range:\n    low: int\n    high: int\n    step = 1\n\n"
        "    def width(self):\n        return (self.high - self.low) * self.step\n\n\ndef span(xs):\n"
        "    return Range(min(xs), max(xs)).width() if xs else 0\n"
    ),
}  # fmt: skip
RIGHT, WRONG = PROGRAMS["plain"], PROGRAMS["wrong sign"]
BODY = "    if not xs:\n        return 0\n    return max(xs) - min(xs)\n"


def fenced(code: str, info: str = "python", fence: str = "```") -> str:
    return f"{fence}{info}\n{code}{fence}\n"


def indented(text: str, by: str = "   ") -> str:
    return "".join(by + line if line.strip() else line for line in text.splitlines(keepends=True))


def draft(code: str) -> str:
    """What the answer must not be taken for: wrong where the program is right, right where it is wrong."""
    return fenced(WRONG if behaviour(code) == EXPECTED else RIGHT)


def one_fence_each(code: str) -> str:
    pieces = code.split("\n\n\n")
    return "".join(f"Next:\n\n{fenced(piece.rstrip() + chr(10))}\n" for piece in pieces)


SHOWS = (
    "\n\nassert span([1, 2]) == 99\nprint(span([]))\nresult = span([3])\nprint(f'{result} is it')\n"
    "for case in ([], [1]):\n    print(span(case))\n\n\ndef main():\n    n = input()\n    print(span([n]))\n\n\n"
    "if __name__ == '__main__':\n    main()\n"
)

FORMS: dict[str, Callable[[str], str]] = {
    "fence": lambda code: f"Here it is:\n\n{fenced(code)}\nIt takes linear time.\n",
    "fence without language": lambda code: fenced(code, ""),
    "tildes": lambda code: fenced(code, "py", "~~~"),
    "long fence": lambda code: fenced(code, "python3", "`````"),
    "capital letters": lambda code: fenced(code, "Python"),
    "title": lambda code: fenced(code, 'python title="span.py"'),
    "attributes": lambda code: fenced(code, "{.python .numberLines}"),
    "list": lambda code: f"1. The code:\n\n{indented(fenced(code))}\n2. Done.\n",
    "deep list": lambda code: f"- a\n  - b\n\n{indented(fenced(code), '      ')}\n",
    "bullet on the fence": lambda code: f"* {indented(fenced(code), '  ').lstrip()}\n",
    "quotation": lambda code: "".join(f"> {line}\n" for line in fenced(code).splitlines()),
    "closed on the code's line": lambda code: f"```python\n{code.rstrip()}```\nThat is it.",
    "not closed": lambda code: f"So:\n```python\n{code}",
    "closing fence forgotten": lambda code: f"```python\n{WRONG}\n```python\n{code}```\n",
    "no fence": lambda code: f"The function:\n\n{code}\nIt's linear (in the list's length.\n",
    "prose that begins like code": lambda code: (
        f"import note: lists may be empty.\nclass of problems: folds.\nfrom here on, it is easy.\n\n{code}"
    ),
    "byte order mark": lambda code: "\ufeff" + fenced(code),
    "zero-width space": lambda code: fenced("\u200b" + code),
    "no-break spaces": lambda code: fenced(code.replace("    ", "\u00a0" * 4)),
    "carriage returns": lambda code: fenced(code).replace("\n", "\r\n"),
    "thoughts": lambda code: f"<think>\nTry\n{draft(code)}Hmm, no.\n</think>\n\n{fenced(code)}",
    "thoughts that the prompt opened": lambda code: f"Try\n{draft(code)}Hmm.\n</think>\n\n{fenced(code)}",
    "thoughts with an open fence": lambda code: f"<think>\n```python\n{WRONG}\n</think>\n{fenced(code)}",
    "draft": lambda code: f"{draft(code)}That is wrong. Better:\n{fenced(code)}",
    "two drafts": lambda code: f"{draft(code)}or\n{draft(code)}No:\n{fenced(code)}Good.",
    "one fence a statement": one_fence_each,
    "other languages": lambda code: f"{fenced('pip install x', 'bash')}{fenced(code)}{fenced('[1, 2]', '')}",
    "other language first": lambda code: f"{fenced('int span();', 'cpp')}In Python:\n{fenced(code)}",
    "signature first": lambda code: f"{fenced('def span(xs: list[int]) -> int:' + chr(10))}{fenced(code)}",
    "stub first and last": lambda code: (
        f"{fenced('def span(xs):' + chr(10) + '    ...' + chr(10))}{fenced(code)}As asked:\n"
        + fenced('def span(xs):\n    """Width."""\n')
    ),
    "tried out in the fence": lambda code: fenced(code + SHOWS),
    "tried out in another fence": lambda code: f"{fenced(code)}Usage:\n{fenced(SHOWS)}Output:\n{fenced('0', '')}",
    "explained line by line": lambda code: (
        f"{fenced(code)}Here\n{fenced('best = max(best, x)')}keeps the best, and\n{fenced('return best')}ends."
    ),
    "session after": lambda code: f"{fenced(code)}Try:\n{fenced('>>> span([1, 4])' + chr(10) + '3' + chr(10))}",
    "Markdown in a fence": lambda code: fenced(f"# Answer\n\n{fenced(code)}", "markdown", "````"),
    "driver that reads": lambda code: fenced(
        code + "\n\nxs = list(map(int, input().split()))\nprint(span(xs))\nexit()\n"
    ),
    "unit tests": lambda code: fenced(
        code + "\n\nimport unittest\n\n\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertEqual(span([]), 1)\n\n\nunittest.main()\n"
    ),
}
COMPLETIONS: dict[str, tuple[Callable[[str], str], str]] = {
    "whole function": (lambda code: "\n" + code, PROMPT),
    "fence": (lambda code: "\n" + fenced(code), PROMPT),
    "fence after a prompt without its last line break": (lambda code: "\n" + fenced(code), PROMPT.rstrip()),
    "prose and fence after it": (lambda code: "\nHere is the code:\n\n" + fenced(code), PROMPT.rstrip()),
    "fence at once": (lambda code: fenced(code), PROMPT.rstrip()),
    "tried out": (lambda code: "\n" + code + SHOWS, PROMPT),
    "draft and fence": (lambda code: f"\n{draft(code)}Better:\n{fenced(code)}", PROMPT.rstrip()),
}
BODIES = {
    "body": (BODY, PROMPT),
    "body after a line break": ("\n" + BODY, PROMPT.rstrip()),
    "body and fence": (BODY + "```\n\nIt is linear.\n", PROMPT),
    "body and usage": (BODY + "\n\n" + SHOWS.lstrip(), PROMPT),
    "body in a fence": ("\n" + fenced(BODY), PROMPT.rstrip()),
    "body in a fence at the margin": ("\n" + fenced("if not xs:\n    return 0\nreturn max(xs) - min(xs)\n"), PROMPT),
    "body that is repeated": (BODY + "\n\ndef span(xs):\n" + BODY, PROMPT),
    "body and a new binding": (BODY + "\n\nspan = (lambda f: lambda xs: f(xs))(span)\n", PROMPT),
    "body and prose": (BODY + "\nThis works because max and min do.\n", PROMPT),
    "body and a truncated function": (BODY + "\n\ndef other(xs):\n    return sum(", PROMPT),
}  # fmt: skip
METHODS = {
    "class Solution": "class Solution:\n    def span(self, xs):\n        return max(xs) - min(xs) if xs else 0\n",
    "class Solution with a helper": (
        "class Solution:\n    def width(self, s):\n        return s[-1] - s[0]\n\n    def span(self, xs):\n"
        "        return self.width(sorted(xs)) if xs else 0\n"
    ),
    "static method": (
        "class Solution:\n    @staticmethod\n    def span(xs):\n        return max(xs) - min(xs) if xs else 0\n"
    ),
}


def behaviour(source: str, name: str = "span") -> list[object]:
    """What a program of this file gives on each of the arguments: a value, or the name of the exception."""
    names: dict[str, object] = {"__name__": "candidate"}
    results: list[object] = []
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            exec(source, names)
        except BaseException as error:
            return [type(error).__name__]
        for xs in ARGUMENTS:
            try:
                results.append(names[name](list(xs)))  # type: ignore[operator]
            except BaseException as error:
                results.append(type(error).__name__)
    return results


def answers() -> Iterator[tuple[str, str, str, bool, list[object]]]:
    """Name, prompt, answer, whether it is a message, and what plain Python makes of the program in it."""
    for program, code in PROGRAMS.items():
        wanted = behaviour(code)
        for form, write in FORMS.items():
            if not (program == "text with fences" and form in _NO_FENCES_INSIDE):
                yield f"{program} / {form}", PROMPT, write(code), True, wanted
        for form, (write, prompt) in COMPLETIONS.items():
            yield f"{program} / completion: {form}", prompt, write(code), False, wanted
    for form, (text, prompt) in BODIES.items():
        yield form, prompt, text, False, EXPECTED
    for form, code in METHODS.items():
        yield form, PROMPT, fenced(code), True, EXPECTED
        yield f"{form}, tried out", PROMPT, fenced(code + "\nprint(Solution().span([1]))\n"), True, EXPECTED


_NO_FENCES_INSIDE = ("no fence", "prose that begins like code", "bullet on the fence", "one fence a statement")

# -- prompts with examples -------------------------------------------------------------------------------------------

T = "True"
EXAMPLES: list[tuple[str, list[str]]] = [
    (">>> f(2)\n    4", ["f(2) == 4"]),
    (">>> f(2)\n    4\n    >>> f(3)\n    9", ["f(2) == 4", "f(3) == 9"]),
    (">>> f(2) == 5\n    False", ["not f(2) == 5"]),
    (">>> f(2) == 4\n    True", ["f(2) == 4"]),
    (">>> f(2) == 4", ["f(2) == 4"]),
    (">>> f(2) in (4, 5)\n    True", ["f(2) in (4, 5)"]),
    (">>> not f(0)\n    True", ["not f(0)"]),
    (">>> print(f(2))\n    4", ["str(f(2)) == '4'"]),
    (">>> print(f(2))\n    a\n    b", ["str(f(2)) == 'a\\nb'"]),
    (">>> f('a')\n    'b'", ["f('a') == 'b'"]),
    (">>> f([1,\n    ...    2])\n    [2,\n     3]", ["f([1, 2]) == [2, 3]"]),
    (">>> x = [3]\n    >>> f(x)\n    3", ["x = [3]; f(x) == 3"]),
    (">>> x = [3]\n    >>> f(x)\n    >>> x\n    [4]", ["x = [3]; f(x); x == [4]"]),
    (">>> x = [3]\n    >>> x.append(1)\n    >>> f(x)\n    3", []),
    (">>> y = f(3)\n    >>> y\n    9", ["y = f(3); y == 9"]),
    (">>> sorted(f(3))\n    [1, 2]", ["sorted(f(3)) == [1, 2]"]),
    (">>> f(2), f(3)\n    (4, 9)", ["(f(2), f(3)) == (4, 9)"]),
    (">>> f(0)\n    inf", ["f(0) == float('inf')"]),
    (">>> f(0)\n    -inf", ["f(0) == float('-inf')"]),
    (">>> f(2)  # doctest: +ELLIPSIS\n    4", ["f(2) == 4"]),
    (">>> f(2)\n    4 apples", []),
    (">>> f(2)\n    1, 2", []),
    (">>> f(-1)\n    Traceback (most recent call last):\n    ValueError", []),
    (">>> assert f(2) == 4", ["f(2) == 4"]),
    ("assert not f(0)", ["not f(0)"]),
    ("assert f(2) == 4, 'four'", ["f(2) == 4"]),
    ("assert set(f([1, 1])) == set([1])", ["set(f([1, 1])) == set([1])"]),
    ("assert f([[1, 2],\n           [3]]) == 3", ["f([[1, 2], [3]]) == 3"]),
    ("assert f(1) is None", ["f(1) is None"]),
    ("assert f(2) != 3", ["f(2) != 3"]),
    ("assert 2 < f(2) < 5", ["2 < f(2) < 5"]),
    ("f(2) == 4", ["f(2) == 4"]),
    ("`f(2)` returns `4`", ["f(2) == 4"]),
    ("**f(2)** returns **4**", ["f(2) == 4"]),
    ("``f(2)`` -> ``4``", ["f(2) == 4"]),
    ("<code>f(2)</code> is <b>4</b>", ["f(2) == 4"]),
    ("f(2) == 4  # two squared", ["f(2) == 4"]),
    ("f(2) == 4 (2, times two)", ["f(2) == 4"]),
    ("f(2) == 4 // two squared", ["f(2) == 4"]),
    ("f(2) => 4, f(3) => 9", ["f(2) == 4", "f(3) == 9"]),
    ("f(2) returns 1,000", ["f(2) == 1000"]),
    ("f(2) returns 2,000,000.", ["f(2) == 2000000"]),
    ("f(2) returns 1,234", []),
    ("f(2) returns 5, 6 and 7", []),
    ("f(2) returns (5, 6)", ["f(2) == (5, 6)"]),
    ("f(2) is 3 times larger", []),
    ("f(2) returns x + 1", []),
    ("f(x) = x * x", []),
    ("f(2)\n    # => 4", ["f(2) == 4"]),
    ("For example, f(2) is 4 and f(3) is 9.", ["f(2) == 4", "f(3) == 9"]),
    ("f(2) == 1.5", ["abs(f(2) - 1.5) <= 1e-06"]),
    ("f(true) == null", ["f(True) == None"]),
    ("If x = 2, the result should be 4.", ["f(2) == 4"]),
    ("Input: 2\n    Output: 4", ["f(2) == 4"]),
    ("**Input:** x = 2\n    **Output:** 4", ["f(2) == 4"]),
    ("- Input: [1, 2]\n    - Output: 3", ["f([1, 2]) == 3"]),
    ("Example 1:\n    Input: x = 2\n    Output: 4\n    Explanation: squared", ["f(2) == 4"]),
    ("Input: 2, Output: 4", ["f(2) == 4"]),
    ("Input:\n    2\n    Output:\n    4", ["f(2) == 4"]),
    ("Input: abc\n    Output: 4", []),
]  # fmt: skip
PROMPTS: list[tuple[str, list[str]]] = [
    *((f'def f(x):\n    """Does it.\n    {doc}\n    """\n', wanted) for doc, wanted in EXAMPLES),
    ('def f(x):\n    """\n    >>> f(2)\n    4"""\n', ["f(2) == 4"]),
    ('def f(x):\n    """Square. f(2) == 4"""\n', ["f(2) == 4"]),
    ("def f(x):\n    'Square, so f(2) == 4'\n", ["f(2) == 4"]),
    ("def f(x):\n    '''>>> f(2)\n    4\n    '''\n", ["f(2) == 4"]),
    ('def f(x):\n    """\n    >>> f("a\\\\tb")\n    2\n    """\n', ["f('a\\tb') == 2"]),
    ('def f(x):\n    r"""\n    >>> f("a\\tb")\n    2\n    """\n', ["f('a\\tb') == 2"]),
    ('def f(a, b):\n    """\n    Input: 1, 2\n    Output: 3\n    """\n', ["f(1, 2) == 3"]),
    ('def f(a, b):\n    """\n    Input: b = 2, a = [1]\n    Output: 3\n    """\n', ["f([1], 2) == 3"]),
    ("Square a number.\nassert f(2) == 4\nassert f(3) == 9\n", ["f(2) == 4", "f(3) == 9"]),
    ('"""\nSquare a number.\nassert f(2) == 4\n"""\n', ["f(2) == 4"]),
    ("Your code should pass these tests:\n\nassert f(-2) == 4\nassert not f(0)\n[BEGIN]\n", ["f(-2) == 4", "not f(0)"]),
    ("Count.\nassert f('aab') == {'a': 2, 'b': 1}\n", ["f('aab') == {'a': 2, 'b': 1}"]),
    ("Split.\nassert f((5, 'x', None)) == ([5], ['x'])\n", ["f((5, 'x', None)) == ([5], ['x'])"]),
    ("Angle.\nassert math.isclose(f(0, 1j), 1.57, rel_tol=0.001)\n",
     ["import math; math.isclose(f(0, 1j), 1.57, rel_tol=0.001)"]),
    ("Endless.\nassert f([]) == float('inf')\n", ["f([]) == float('inf')"]),
]  # fmt: skip


def read_back(prompt: str) -> list[str]:
    """The examples of a prompt, each on one line."""
    return [each.assertion.replace("assert ", "").replace("\n", "; ") for each in find_examples(prompt, "f")]


def same_examples(found: list[str], wanted: list[str]) -> bool:
    """Whether two lists say the same, brackets and spaces of no account."""
    return [each.replace("((", "(").replace("))", ")") for each in found] == [
        each.replace("((", "(").replace("))", ")") for each in wanted
    ]


# -- scripts ---------------------------------------------------------------------------------------------------------

SCRIPT = "a, b = map(int, input().split())\nprint(a + b)\n"
OTHER_SCRIPT = "print(0)\n"
SCRIPT_FORMS: dict[str, str] = {
    "fence": fenced(SCRIPT),
    "no fence": SCRIPT,
    "prose around it": f"This reads two numbers:\n\n{SCRIPT}\nIt's simple.\n",
    "main": fenced(f"def main():\n{indented(SCRIPT, '    ')}\n\nif __name__ == '__main__':\n    main()\n"),
    "shell first": fenced("pip install x", "bash") + fenced(SCRIPT),
    "another language first": fenced("int main() { return 0; }", "cpp") + "Python:\n" + fenced(SCRIPT),
    "sample input first": f"For\n{fenced('3 4', '')}write\n{fenced(SCRIPT)}",
    "sample output after": f"{fenced(SCRIPT)}prints\n{fenced('7', '')}",
    "sample input that is Python": f"For\n{fenced('[3, 4]', '')}write\n{fenced(SCRIPT, '')}",
    "draft": f"{fenced(OTHER_SCRIPT)}Better:\n{fenced(SCRIPT)}",
    "thoughts": f"<think>\n{fenced(OTHER_SCRIPT)}</think>\n{fenced(SCRIPT)}",
    "list": f"1. So:\n\n{indented(fenced(SCRIPT))}",
    "closed on the code's line": f"```python\n{SCRIPT.rstrip()}```",
    "byte order mark": "\ufeff" + fenced("\ufeff" + SCRIPT),
    "no-break spaces": fenced("if True:\n    print(sum(map(int, input().split())))\n".replace("    ", "\u00a0" * 4)),
    "helper in another fence": (
        f"{fenced('def add(a, b):' + chr(10) + '    return a + b' + chr(10))}then\n"
        + fenced("print(add(*map(int, input().split())))\n")
    ),
    "import in another fence": (
        f"{fenced('import sys' + chr(10))}then\n{fenced('print(sum(map(int, sys.stdin.read().split())))' + chr(10))}"
    ),
    "input in another fence": (
        fenced("import sys\ndata = sys.stdin.read()\n") + "then\n" + fenced("print(sum(map(int, data.split())))\n")
    ),
    "carriage returns": fenced(SCRIPT).replace("\n", "\r\n"),
    "not closed": f"```python\n{SCRIPT}",
    "a line of it explained": f"{fenced(SCRIPT)}Here\n{fenced('a, b = map(int, input().split())' + chr(10))}reads.",
    "future": fenced("from __future__ import annotations\n" + SCRIPT),
}  # fmt: skip


def script_output(source: str) -> str:
    """What a script of this file prints for ``3 4``."""
    out = io.StringIO()
    stdin, sys.stdin = sys.stdin, io.StringIO("3 4\n")
    try:
        with contextlib.redirect_stdout(out):
            exec(source, {"__name__": "__main__"})
    except BaseException as error:
        return type(error).__name__
    finally:
        sys.stdin = stdin
    return out.getvalue()


# -- disagreements ---------------------------------------------------------------------------------------------------


def disagreements() -> Iterator[tuple[str, str]]:
    """Family and name of every input that is read otherwise than plain Python would have it."""
    for name, prompt, text, chat, wanted in answers():
        program = read_program(prompt, text, finished=True, entry_point="span", chat=chat)
        got = behaviour(program.source) if program.syntax else ["SyntaxError"]
        if (got == EXPECTED) != (wanted == EXPECTED) or not program.syntax:
            yield "answers", name
    for prompt, wanted_examples in PROMPTS:
        if not same_examples(read_back(prompt), wanted_examples):
            yield "examples", repr(prompt)
    for name, text in SCRIPT_FORMS.items():
        program = read_program("", text, finished=True, entry_point="", chat=True)
        if not program.syntax or script_output(program.source) != "7\n":
            yield "scripts", name


def sizes() -> dict[str, int]:
    """How many inputs each family has."""
    return {"answers": sum(1 for _ in answers()), "examples": len(PROMPTS), "scripts": len(SCRIPT_FORMS)}


def main() -> None:
    """Print every disagreement, then the counts."""
    found = list(disagreements())
    for family, name in found:
        print(f"{family}: {name}")
    for family, size in sizes().items():
        print(f"{family}: {sum(each == family for each, _ in found)} of {size} disagree")


if __name__ == "__main__":
    main()
