"""A slow toy engine whose answers have no end.

It writes down, in a file that all replicas share, which process began which prompt."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.server.toy import END, ByteTokenizer, SlowEngine, words


def endless(tokens: tuple[int, ...]) -> np.ndarray:
    """The toy's words, until ``max_tokens``."""
    logprobs = words(tokens)
    logprobs[END] = -np.inf
    return logprobs - np.logaddexp.reduce(logprobs)


class CountingEngine(SlowEngine):
    """``file`` gets a line a prompt: the process's id and the prompt."""

    def __init__(self, file: Path, seconds: float) -> None:
        super().__init__(seconds, endless)
        self._file = file

    async def open(self, prompt_token_ids: Sequence[int]) -> Any:
        line = f"{os.getpid()} {ByteTokenizer().decode(prompt_token_ids)}\n"
        with self._file.open("a") as file:  # in one write, which others' do not interleave with
            file.write(line)
        return await self._inner.open(prompt_token_ids)


def create(**options: Any) -> CountingEngine:
    """For ``[engine] kind = "tests.serving.counting:create"``."""
    return CountingEngine(Path(options["file"]), float(options["seconds"]))
