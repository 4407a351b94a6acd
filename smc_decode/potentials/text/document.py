"""A JSON schema as a hard constraint: a document that ended by itself and breaks it has weight 0.

Engines draw from grammars that hold a part of JSON Schema; jsonschema (Draft 2020-12 unless the schema names another)
checks the rest in a worker process. What was cut at the token limit is no document, and is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from smc_decode.potentials.base import Evaluation, Potential, Prefix, inexact_of, name_of
from smc_decode.potentials.cache import gather
from smc_decode.workers.pool import TaskDied, TaskError, WorkerPool

_SECONDS = 5.0  # of processor time for one document


class ValidDocument(Potential):
    """``inner`` (None: psi = 1), and 0 for complete documents that the schema refuses.

    ``max_tokens``: at this length a sequence was cut. ``stop``: strings before which the document ends. ``problem``:
    what was wrong with the last one that was refused.
    """

    def __init__(
        self,
        inner: Potential | None,
        schema: Mapping[str, Any],
        workers: WorkerPool,
        *,
        max_tokens: int,
        eos_token_ids: Sequence[int],
        stop: Sequence[str] = (),
    ) -> None:
        self.name = "the schema" if inner is None else name_of(inner)
        self.kind = "terminal" if inner is None else inner.kind
        self.log_scale = 0.0 if inner is None else inner.log_scale
        self.positive = False
        self.cacheable = inner is None or inner.cacheable
        self.needs_logprobs = inner is not None and inner.needs_logprobs
        self.inexact = None if inner is None else inexact_of(inner)
        self.problem = ""
        self._inner = inner
        self._schema = schema
        self._workers = workers
        self._max_tokens = max_tokens
        self._ends = frozenset(eos_token_ids)
        self._stop = tuple(stop)

    @property
    def rewarded(self) -> bool:
        """Whether there is a potential beside the schema."""
        return self._inner is not None

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        judged = [Evaluation(0.0)] * len(batch) if self._inner is None else await self._inner.evaluate(batch)
        problems = await gather(self._problem(prefix) for prefix in batch)
        return [self._with(each, problem) for each, problem in zip(judged, problems, strict=True)]

    def _with(self, evaluation: Evaluation, problem: str) -> Evaluation:
        if not problem:
            return evaluation
        self.problem = problem
        detail = {**evaluation.detail, "document": problem}
        return replace(evaluation, log_value=-math.inf, detail=detail)

    async def _problem(self, prefix: Prefix) -> str:
        """What is wrong with a complete document, or ''."""
        if not self._ended(prefix):
            return ""
        text = prefix.text
        for string in self._stop:
            text = text.partition(string)[0]
        try:
            checked = await self._workers.acall(
                "json_answer", _SECONDS, text=text, finished=True, fenced=False, schema=self._schema
            )
        except (TaskDied, TaskError) as error:
            return f"it cannot be checked: {error}"
        if checked["state"] == "none":
            return f"it is no JSON: {checked['note']}"
        return str(checked["first"] or "it breaks the schema") if checked["violations"] else ""

    def _ended(self, prefix: Prefix) -> bool:
        """Whether the sequence ended by itself or at a stop string."""
        ids = prefix.token_ids
        return prefix.finished and (len(ids) < self._max_tokens or (bool(ids) and ids[-1] in self._ends))
