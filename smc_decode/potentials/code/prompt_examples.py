"""The examples in the prompt as unit tests: public tests, so that hidden ones can be kept for the final mark.

r = 0.3 · syntax + 0.7 · (share of examples that hold), and prefixes, as in ``unit_tests``. A prompt without
examples falls back to r = 0.3 · syntax + 0.7 · confidence (exp of the mean log-probability), and
``detail["basis"]`` says which it was. Of a prompt that leaves several functions to be written each is judged by its own
examples (``modules``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from smc_decode.potentials.accounts import Workers
from smc_decode.potentials.base import Prefix, Reward, RewardSource
from smc_decode.potentials.cache import ContentCache
from smc_decode.potentials.code.modules import ModuleTests
from smc_decode.potentials.code.reader import CodeReader
from smc_decode.potentials.code.unit_tests import (
    CODE_PARAMS,
    AssertionRunner,
    CodeOptions,
    CodeTask,
    Tally,
    UnitTests,
    code_task,
)
from smc_decode.potentials.declaration import Kind, in_the_sandbox, no_sandbox
from smc_decode.potentials.models.confidence import mean_logprob
from smc_decode.potentials.options import RewardRequest


class PromptExampleOptions(CodeOptions):
    """As for unit tests, without the tests. ``probes``: further inputs on which programs that pass every example are
    compared, for votes by ``extractor="behaviour"``; they do not change the reward."""

    probes: int = Field(8, ge=0, le=100)


class SyntaxAndConfidence(RewardSource):
    """What is left without examples: is it Python so far, and how sure is the model of it?"""

    reads_lead = True
    needs_logprobs = True

    def __init__(
        self, task: CodeTask, options: CodeOptions, *, name: str = "prompt_examples", reader: CodeReader | None = None
    ) -> None:
        self.name = name
        self.task = task
        self.options = options
        self._reader = reader or CodeReader()

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        programs = await self.task.read(batch, self._reader)
        weight = self.options.syntax_weight
        rewards: list[Reward] = []
        for prefix, program in zip(batch, programs, strict=True):
            detail: dict[str, Any] = {
                "basis": "syntax",
                "syntax": program.syntax,
                "complete": program.complete,
            }
            confidence = self.options.undecided
            if prefix.logprobs is not None:
                mean = mean_logprob(prefix.logprobs)
                confidence = min(1.0, math.exp(mean))
                detail |= {"basis": "syntax+confidence", "mean_logprob": round(mean, 6)}
            value = weight + (1.0 - weight) * confidence if program.syntax else 0.0
            rewards.append(Reward(value, {**detail, "note": "the prompt has no examples"}))
        return rewards


def create(
    options: PromptExampleOptions,
    request: RewardRequest,
    sandbox: AssertionRunner,
    *,
    name: str = "prompt_examples",
    cache: ContentCache[Tally] | None = None,
    workers: Workers | None = None,
) -> UnitTests | ModuleTests | SyntaxAndConfidence:
    """The source for one request. A prompt that leaves several functions to be written is a module of them, unless
    ``entry_point`` says which one is meant."""
    reader = CodeReader(workers)
    task = code_task(options, request, (), reader)

    def by_examples(
        entry_point: str, texts: Sequence[str], options: PromptExampleOptions
    ) -> tuple[UnitTests, int] | None:
        tests, probes = reader.examples(texts, entry_point, options.probes)
        if not tests:
            return None
        source = UnitTests(
            replace(task, entry_point=entry_point), tests, sandbox, options, name=name, cache=cache,
            param="smc.reward.params.prompt", basis="examples", probes=probes, reader=reader,
        )  # fmt: skip
        return source, len(tests)

    asked = reader.functions(task.helpers) if options.entry_point is None else []
    if len(asked) > 1:
        several = options.for_several()
        parts = {each: found for each, own in asked if (found := by_examples(each, [own], several)) is not None}
        if parts:
            return ModuleTests(parts, name=name, basis="examples")
    # a chat message may have them outside of its code
    found = by_examples(task.entry_point, [task.prompt, task.helpers], options)
    return SyntaxAndConfidence(task, options, name=name, reader=reader) if found is None else found[0]


KIND = Kind(
    "The examples written in the prompt as unit tests; without any, syntax and confidence",
    PromptExampleOptions,
    in_the_sandbox(create),
    request_params=(*CODE_PARAMS, "probes"),
    code_params=("prompt",),
    missing=no_sandbox,
)
