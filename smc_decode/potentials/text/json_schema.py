"""JSON that meets a schema: r = 0.3 for JSON and 0.7 for meeting the schema.

An unfinished answer that can still become JSON counts ``pending`` for the schema part, and nothing for it once
the schema is violated in a way that no continuation mends (a wrong type, a key that is not allowed). Answers are read
and checked by jsonschema in a worker process under a time limit; remote references are never fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from smc_decode.potentials.accounts import Workers
from smc_decode.potentials.base import Prefix, Reward, RewardSource
from smc_decode.potentials.cache import gather
from smc_decode.potentials.declaration import Kind
from smc_decode.potentials.options import Finite, Options, RewardRequestError, Share
from smc_decode.workers.pool import TaskDied, TaskError

MAX_SCHEMA = 100_000
MAX_TEXT = 1_000_000
_WHERE = "smc.reward.params.schema"


class JsonSchemaOptions(Options):
    """``schema``: the JSON schema, an object. ``fenced``: the JSON may stand in a ``` block. ``timeout``: seconds of
    processor time."""

    json_schema: dict[str, Any] = Field(alias="schema")
    fenced: bool = True
    syntax_weight: Share = 0.3
    pending: Share = 0.5
    timeout: Finite = Field(1.0, gt=0, le=30)


class JsonSchema(RewardSource):
    """The reward source. Raises RewardRequestError for what is no schema, which a worker finds out: make it in a
    thread where that must not wait."""

    def __init__(self, options: JsonSchemaOptions, workers: Workers, *, name: str = "json_schema") -> None:
        self.name = name
        self.options = options
        self._workers = workers
        check_schema(options.json_schema, workers, options.timeout)

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        return await gather(self._reward(prefix) for prefix in batch)

    async def _reward(self, prefix: Prefix) -> Reward:
        options = self.options
        detail: dict[str, Any] = {"basis": "json", "json": True, "complete": prefix.finished}
        try:
            answer = await self._workers.acall(
                "json_answer", options.timeout, text=prefix.text[:MAX_TEXT], finished=prefix.finished,
                fenced=options.fenced, schema=options.json_schema,
            )  # fmt: skip
        except (TaskDied, TaskError) as error:
            answer = {"state": "json", "violations": 1, "first": f"cannot be checked: {error}"}
        if answer["state"] == "none":
            # a further fenced block may still be the one
            return Reward(0.0, {"basis": "json", "json": False, "note": answer["note"]}, float(options.fenced))
        violations = int(answer["violations"])
        part = 0.0 if violations else 1.0 if prefix.finished else options.pending
        if violations:
            detail |= {"violations": violations, "note": answer["first"]}
        weight = options.syntax_weight
        return Reward(weight + (1.0 - weight) * part, detail, weight if violations and not options.fenced else 1.0)


def check_schema(schema: dict[str, Any], workers: Workers, seconds: float) -> None:
    """Raises RewardRequestError for what is no schema, or refers to what is not in it."""
    try:
        size = len(json.dumps(schema))
    except (TypeError, ValueError, RecursionError) as error:
        raise RewardRequestError(f"{_WHERE} is no JSON: {error}", _WHERE) from error
    if size > MAX_SCHEMA:
        raise RewardRequestError(f"{_WHERE} has {size} characters, more than {MAX_SCHEMA}", _WHERE)
    try:
        problem = workers.call("check_schema", seconds, schema=schema)
    except TaskDied as error:
        problem = f"cannot be checked within the limits: {error}"
    except TaskError as error:
        problem = str(error)
    if problem:
        raise RewardRequestError(f"{_WHERE}: {problem}", _WHERE)


KIND = Kind(
    "JSON that meets a schema",
    JsonSchemaOptions,
    lambda options, context: JsonSchema(options, context.workers, name=context.name),
    request_params=("schema", "fenced", "syntax_weight", "pending"),
    modules=("jsonschema",),
)
