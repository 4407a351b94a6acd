"""Code of models and clients, read in a worker process. Nothing is executed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any


def program(
    prompt: str, text: str, finished: bool, entry_point: str, chat: bool, names: Sequence[str] = ()
) -> dict[str, Any]:
    """The fields of the :class:`~smc_decode.potentials.code.scripts.Program` that a text answers a prompt with."""
    from smc_decode.potentials.code.program import read_program

    return asdict(read_program(prompt, text, finished=finished, entry_point=entry_point, chat=chat, names=names))


def task(text: str, entry_point: str | None, tests: Sequence[str]) -> tuple[str, str, list[str], bool]:
    """The code that a task shows, the function that it asks for ('' where it names none), what else of the program the
    tests use, and whether these are under test too."""
    from smc_decode.potentials.code.prompt_code import asserts_in, code_of_prompt, infer_entry_point
    from smc_decode.sandbox.screening import names_under_test

    code = code_of_prompt(text)
    names, has_check = names_under_test(tests, text)
    inferred = infer_entry_point(code, list(tests) or asserts_in(text)) or (names[0] if names else "")
    chosen = entry_point or inferred
    others = [name for name in names if name != chosen.partition(".")[0]]
    return code, chosen, others, bool(others) and not (entry_point or has_check)


def refused(tests: Sequence[str], entry_point: str, helpers: str) -> tuple[int, str] | None:
    """The first of the tests that is no Python, or would accept every program, and why."""
    from smc_decode.potentials.code.syntax import MAX_SOURCE, parse
    from smc_decode.sandbox.screening import refuse_tests

    for number, test in enumerate(tests):
        if len(test) > MAX_SOURCE:
            return number, f" has {len(test)} characters, more than {MAX_SOURCE}"
        if parse(test) is None:
            return number, " is no valid Python"
    found = refuse_tests(tests[0] if len(tests) == 1 else tests, entry_point, helpers)
    return None if found is None else (found[0], f": {found[1]}")


def test_names(tests: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    """The first line, last line and name of the tests in each source."""
    from smc_decode.sandbox.screening import named_tests

    return named_tests(tests)


def examples(texts: Sequence[str], entry_point: str, probes: int) -> dict[str, Any]:
    """The assertions of the first text that gives examples, and calls near them (``wire``'s bytes, one a character)."""
    from smc_decode.potentials.code.examples import find_examples
    from smc_decode.potentials.code.probes import probes_of
    from smc_decode.sandbox.inbox import wire

    found = next((found for text in texts if (found := find_examples(text, entry_point))), [])
    calls = [wire.encode(call.args).decode("latin-1") for call in probes_of(found, probes)]
    return {"assertions": [example.assertion for example in found], "probes": calls}


def functions(text: str) -> list[tuple[str, str]]:
    """The functions that a task leaves to be written, each with its own part of the task's code."""
    from smc_decode.potentials.code.prompt_code import asked_functions, code_of_prompt

    return asked_functions(code_of_prompt(text))


def key(text: str) -> str | None:
    """What an answer's code says, without how it says it."""
    from smc_decode.answers.extractors import code_key

    return code_key(text)
