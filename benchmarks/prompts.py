"""How a problem is put to the model, in two forms, and how its program or answer is read from what comes back.

``chat``: a user message, through the model's chat template. ``completion``: raw text that the model continues; stop
strings then end the answer and are part of the target.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smc_decode.engines.base import Tokenizer
from smc_decode.potentials.code.program import read_program

from .problems import Problem, PromptForm

CODE_STOPS = ("\ndef ", "\nclass ", "\nif ", "\nprint")
"""What follows a finished function in a completion. Four, which is what OpenAI's API takes."""

_CODE = (
    "Complete this Python function. Reply with the whole function in one Python code block, "
    "without examples of its use.\n\n```python\n{}\n```"
)
_MODULE = (
    "Write a Python module with the following functions. Reply with one Python code block that has all of them and the "
    "imports they need, without docstrings, comments, or examples of their use.\n\n{}"
)
# An exchange that shows the form: small models do not take it from the words alone, and copy what they are shown.
_SHOWN = '''from typing import List


def largest(values: List[int]) -> int:
    """ The largest of the values.
    >>> largest([3, 7, 2])
    7
    """


def initials(name):
    """ The first letters of the words, in upper case.
    initials("ada lovelace") => "AL"
    """
'''
_SHOWN_ANSWER = """```python
from typing import List


def largest(values: List[int]) -> int:
    return max(values)


def initials(name):
    return "".join(word[0].upper() for word in name.split())
```"""
_MATH = "{}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."
_CHOICE = "{}\n\n{}\n\nReason step by step, and put the letter of the right choice within \\boxed{{}}."


@dataclass(frozen=True)
class Prompt:
    """``text`` for a completion, or ``messages`` for a chat (``text`` is then the user's message)."""

    text: str
    messages: Sequence[Mapping[str, str]] | None
    stop: tuple[str, ...] = ()

    def encode(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """Token ids for an engine in this process."""
        if self.messages is None:
            return tuple(tokenizer.encode(self.text))
        return tuple(tokenizer.apply_chat_template(self.messages))


def make_prompt(problem: Problem, form: PromptForm) -> Prompt:
    """The problem in one of the two forms."""
    if problem.parts:
        return _module(problem)
    if form == "completion":
        return _completion(problem)
    if problem.kind == "code":
        text = _CODE.format(problem.question.strip("\n"))
    elif problem.kind == "math":
        text = _MATH.format(problem.question)
    else:
        text = _CHOICE.format(problem.question, _choices(problem))
    return Prompt(text, [{"role": "user", "content": text}])


def _module(problem: Problem) -> Prompt:
    """Always a chat: signatures and docstrings as a list, not as code that could be copied."""
    shown, asked = (_MODULE.format(_listed(code)) for code in (_SHOWN, problem.question))
    messages = [
        {"role": "user", "content": shown},
        {"role": "assistant", "content": _SHOWN_ANSWER},
        {"role": "user", "content": asked},
    ]
    return Prompt(asked, messages)


def _listed(code: str) -> str:
    """The functions of a prompt's code, each with its signature and the text of its docstring."""
    functions = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    return "\n\n".join(f"### {_signature(node)}\n{ast.get_docstring(node) or ''}".rstrip() for node in functions)


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def _completion(problem: Problem) -> Prompt:
    if problem.kind == "code":
        return Prompt(problem.question.rstrip(), None, CODE_STOPS)
    if problem.kind == "math":
        return Prompt(
            f"Problem:\n{problem.question}\n\nSolution (the final answer in \\boxed{{}}):\n", None, ("\nProblem:",)
        )
    text = f"Question:\n{problem.question}\n\n{_choices(problem)}\n\nReasoning, then the letter in \\boxed{{}}:\n"
    return Prompt(text, None, ("\nQuestion:",))


def _choices(problem: Problem) -> str:
    return "\n".join(f"{letter}) {choice}" for letter, choice in zip("ABCD", problem.choices, strict=False))


def without_stop(text: str, stop: Sequence[str]) -> str:
    """``text`` up to the earliest stop string."""
    found = [position for position in (text.find(each) for each in stop) if position >= 0]
    return text[: min(found)] if found else text


def program_of(problem: Problem, text: str, form: PromptForm) -> str:
    """The whole program that an answer to a code problem stands for, as the rewards read it."""
    program = read_program(
        problem.question.rstrip() if form == "completion" else problem.question,
        text,
        finished=True,
        entry_point=problem.entry_point,
        chat=form == "chat",
    )
    return program.source
