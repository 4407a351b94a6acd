"""A model that writes one of a few texts, byte by byte, and problems that it can solve: benchmarks without weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.marking import Marking
from benchmarks.problems import Problem, PromptForm
from benchmarks.settings import Settings, make_settings
from smc_decode.engines import TableEngine

END = 256
VOCAB = 257
RIGHT, WRONG, BROKEN = "\n    return x + 1\n", "\n    return x - 1\n", "\n    return (x\n"


class ByteTokenizer:
    """One token a byte."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return bytes(token for token in token_ids if token < END).decode("utf-8", "replace")

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> list[int]:
        return [byte for message in messages for byte in message["content"].encode()]


def writer_of(texts: Mapping[str, float]) -> TableEngine:
    """A model that writes each text with its probability, and then ends."""
    scripts = {(*text.encode(), END): weight for text, weight in texts.items()}

    def law(tokens: tuple[int, ...]) -> np.ndarray:
        weights = np.zeros(VOCAB)
        for script, weight in scripts.items():
            if script[: len(tokens)] == tokens and len(tokens) < len(script):
                weights[script[len(tokens)]] += weight
        if not weights.any():
            weights[END] = 1.0
        return np.array([math.log(weight) if weight else -math.inf for weight in weights])

    return TableEngine(law, VOCAB, END, tokenizer=ByteTokenizer())


def engine() -> TableEngine:
    """Right three times in ten."""
    return writer_of({RIGHT: 0.3, WRONG: 0.5, BROKEN: 0.2})


PROMPT = 'def f(x):\n    """One more.\n    >>> f(1)\n    2\n    """\n'
TEST = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(5) == 6\n"


def problems(directory: Path, n: int = 4) -> Path:
    """A file in HumanEval's format."""
    path = directory / "problems.jsonl"
    rows = [{"task_id": f"toy/{i}", "prompt": PROMPT, "test": TEST, "entry_point": "f"} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(directory: Path, **values: Any) -> Settings:
    """A run of the toy."""
    given = {
        "benchmark": "humaneval",
        "methods": ["best-of-n", "smc:block_size=8"],
        "particles": 4,
        "prompt_form": "completion",
        "max_tokens": 40,
        "data": problems(directory),
        "out": directory / "run.jsonl",
    }
    return make_settings(**given | values)


class TextMarker(Marking):
    """Marks by the text: no sandbox."""

    async def mark(self, problem: Problem, texts: Sequence[str], form: PromptForm) -> list[float]:
        return ["x + 1" in text for text in texts]
