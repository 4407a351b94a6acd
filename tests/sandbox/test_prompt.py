"""What a prompt defines, wherever it ends."""

from __future__ import annotations

import pytest

from smc_decode.sandbox.inbox.prompt import Helpers

HELPER = "def near(a, b):\n    return abs(a - b) < 1e-6\n\n"


@pytest.mark.parametrize(
    "end",
    [
        "", "def f(x):\n", "def f(x):\n    '''Doc", "def f(x):\n    '''Doc\nat the margin\n",
        "def f(x):\n    y = [1,\n", "def f(x):\n    y = {\n'a': 1,\n", "@cache\n", "@cache(\n    size=1)\n",
        "def f(x):\n    return x *", "def f(x):\n    try:\n", "class C:\n    def f(self):\n", "async def f(x):\n",
        "def f(x):\n    for i in x:\n        if i:\n            while i:\n                with i:\n", "x = '''",
        "def f(x) ->", "def f(", "if x:\n", "f = lambda x:", "def f(x):\n\tif x:\n\t\tfor y in x:\n",
        "def f(x):\n    # a comment\n", "match x:\n    case 1:\n",
    ],
)  # fmt: skip
def test_its_helpers_are_found(end: str) -> None:
    helpers = Helpers(HELPER + end)
    assert "near" in helpers.bound
    near = helpers.make()["near"]
    assert near(1, 1 + 1e-9) is True  # type: ignore[operator]


def test_code_is_found_in_prose_and_in_every_block() -> None:
    text = (
        f"Use this:\n\n```python\n{HELPER}```\n\nand that:\n\n  ~~~\n  LIMIT = 3\n  ~~~\n\nfor\n```python\ndef f(x):\n"
    )
    helpers = Helpers(text)
    assert {"near", "LIMIT"} <= helpers.bound
    assert helpers.make()["LIMIT"] == 3
    assert "near" in Helpers("Please complete the function.\n\n" + HELPER + "def f(x):\n").bound


def test_a_function_that_is_only_announced_is_not_defined() -> None:
    source = (
        "def a():\n    'Doc.'\n\ndef b(): ...\n\ndef c():\n    raise NotImplementedError\n\ndef d():\n    return 1\n"
    )
    assert Helpers(source).bound == {"d"}


def test_a_statement_that_fails_takes_only_its_own_names() -> None:
    helpers = Helpers(
        "from no_such_module import thing\ntry:\n    import gone\nexcept ImportError:\n    gone = None\n" + HELPER
    )
    made = helpers.make()
    assert callable(made["near"])
    assert made["gone"] is None
    assert set(helpers.broken) == {"thing"}


def test_helpers_that_lead_to_the_entry_point_are_known() -> None:
    source = "def a(x):\n    return f(x)\ndef b(x):\n    return a(x)\ndef c(x):\n    return x\n"
    assert Helpers(source).leading_to("f") == {"a", "b"}


@pytest.mark.parametrize("prompt", ["", "\0", "Just prose.", "```", "```python\n```", "def f(" * 50, "(" * 300])
def test_what_defines_nothing_is_no_error(prompt: str) -> None:
    helpers = Helpers(prompt)
    assert helpers.bound == set()
    helpers.make()
