"""Marks the references of MATH500 in twenty usual writings against themselves, and against each other.

    python -m scripts.referee_math500 --data math500.jsonl

Each line of the file has ``answer`` and ``subject``. Printed are the writings in which a reference does not mark itself
right, and the pairs of different references of one subject that mark each other right; docs/rewards.md has the table.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from smc_decode.answers.final import final_answer
from smc_decode.answers.values import same

WRITINGS: dict[str, Callable[[str], str]] = {
    "boxed": lambda a: f"So \\boxed{{{a}}}.",
    "boxed in a formula": lambda a: f"so it is $\\boxed{{{a}}}$",
    "fbox": lambda a: f"$\\fbox{{{a}}}$",
    "an empty box behind it": lambda a: f"\\boxed{{{a}}}, written as \\boxed{{}}",
    "a full stop in the box": lambda a: f"\\boxed{{{a}.}}",
    "dollars in the box": lambda a: f"\\boxed{{${a}$}}",
    "bold in the box": lambda a: f"\\boxed{{\\textbf{{{a}}}}}",
    "displaystyle": lambda a: f"\\boxed{{\\displaystyle {a}}}",
    "the answer is, in a formula": lambda a: f"The answer is ${a}$.",
    "the answer is, in round brackets": lambda a: f"The answer is \\({a}\\), as required.",
    "the answer is, plain": lambda a: f"The answer is {a}.",
    "the answer is, bold": lambda a: f"The final answer is **{a}**.",
    "hashes": lambda a: f"some work\n#### {a}",
    "final answer and display": lambda a: f"**Final Answer**\n\n$$ {a} $$",
    "a last display": lambda a: f"Hence\n\\[ {a}. \\]",
    "dfrac": lambda a: f"\\[ \\boxed{{ {a.replace(chr(92) + 'frac', chr(92) + 'dfrac')} }} \\]",
    "no left and right": lambda a: f"\\boxed{{{re.sub(r'.left|.right', '', a)}}}",
    "no spaces": lambda a: f"\\boxed{{{re.sub(r'(?<![A-Za-z]) | (?![A-Za-z])', '', a)}}}",
    "Unicode signs": lambda a: f"\\boxed{{{_unicode(a)}}}",
    "plain thousands": lambda a: f"\\boxed{{{_plain_thousands(a)}}}",
}
_SIGNS = {"\\infty": "∞", "\\pi": "π", "\\cup": "∪", "^\\circ": "°", "-": "−"}


def _plain_thousands(answer: str) -> str:
    return re.sub(r"(?<=\d),\\!\s?(?=\d)", ",", answer)


def _unicode(answer: str) -> str:
    for latex, sign in _SIGNS.items():
        answer = answer.replace(latex, sign)
    return answer


def unlike_itself(answers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(writing, reference) that is not marked right."""
    for answer in answers:
        for name, write in WRITINGS.items():
            shown = final_answer(write(answer))
            if shown is None or not same(answer, shown):
                yield name, answer


def alike(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    """(subject, reference, another reference) that mark each other right."""
    subjects: dict[str, dict[str, None]] = {}
    for row in rows:
        subjects.setdefault(row["subject"], {})[row["answer"]] = None
    for subject, references in subjects.items():
        listed = list(references)
        for index, first in enumerate(listed):
            for second in listed[:index]:
                if same(first, second) or same(second, first):
                    yield subject, second, first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    rows = [json.loads(line) for line in parser.parse_args().data.read_text().splitlines() if line.strip()]
    unlike = list(unlike_itself([row["answer"] for row in rows]))
    print(f"{len(rows)} references in {len(WRITINGS)} writings: {len(unlike)} not marked right")
    for name, answer in unlike:
        print("   ", name, "|", answer)
    pairs = list(alike(rows))
    print(f"{len(pairs)} pairs of different references of one subject mark each other right")
    for subject, first, second in pairs:
        print("   ", subject, "|", first, "|", second)


if __name__ == "__main__":
    main()
