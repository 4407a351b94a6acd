"""JSON that meets a schema: r = 0.3 for JSON and 0.7 for meeting the schema.

An unfinished answer that can still become JSON counts ``pending`` for the schema part, and nothing for it once
the schema is violated in a way that no continuation mends (a wrong type, a key that is not allowed). The schema
is checked by jsonschema in a worker process under a time limit; remote references are never fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field
from pydantic_core import from_json

from smc_decode.potentials.base import PotentialError, Prefix, Reward, RewardSource
from smc_decode.potentials.cache import gather
from smc_decode.potentials.code.program import fenced_code
from smc_decode.potentials.declaration import Kind
from smc_decode.potentials.options import Finite, Options, RewardRequestError, Share, require
from smc_decode.workers.pool import TaskDied, TaskError, WorkerPool

MAX_SCHEMA = 100_000
MAX_TEXT = 1_000_000


class JsonSchemaOptions(Options):
    """``schema``: the JSON schema, an object. ``fenced``: the JSON may stand in a ``` block. ``timeout`` in seconds."""

    json_schema: dict[str, Any] = Field(alias="schema")
    fenced: bool = True
    syntax_weight: Share = 0.3
    pending: Share = 0.5
    timeout: Finite = Field(1.0, gt=0, le=30)


class JsonSchema(RewardSource):
    """The reward source. Raises RewardRequestError for what is no schema."""

    def __init__(self, options: JsonSchemaOptions, workers: WorkerPool, *, name: str = "json_schema") -> None:
        self.name = name
        self.options = options
        self._workers = workers
        self._resolved = False
        check_schema(options.json_schema)

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        if not self._resolved:
            await self._resolve()
        return await gather(self._reward(prefix) for prefix in batch)

    async def _resolve(self) -> None:
        """Find out, once, whether the schema's references can be followed at all."""
        try:
            problem = await self._workers.acall("check_schema", self.options.timeout, schema=self.options.json_schema)
        except (TaskDied, TaskError) as error:
            problem = str(error)
        if problem:
            raise PotentialError(f"smc.reward.params.schema: {problem}")
        self._resolved = True

    async def _reward(self, prefix: Prefix) -> Reward:
        options = self.options
        text = prefix.text
        if options.fenced:
            code = fenced_code(text)
            text = text if code is None else code
        try:
            value, whole = read(text[:MAX_TEXT], prefix.finished)
        except ValueError as error:
            # a further fenced block may still be the one
            return Reward(0.0, {"basis": "json", "json": False, "note": str(error)}, float(options.fenced))
        detail: dict[str, Any] = {"basis": "json", "json": True, "complete": prefix.finished}
        if value is None and not whole:
            violations, first = 0, ""
        else:
            try:
                answer = await self._workers.acall(
                    "schema",
                    options.timeout,
                    schema=options.json_schema,
                    value=value,
                    unfinished=not prefix.finished,
                    open_end=open_end(text),
                )
                violations, first = int(answer["violations"]), str(answer["first"])
            except (TaskDied, TaskError) as error:
                violations, first = 1, f"cannot be checked: {error}"
        part = 0.0 if violations else 1.0 if prefix.finished else options.pending
        if violations:
            detail |= {"violations": violations, "note": first}
        weight = options.syntax_weight
        return Reward(weight + (1.0 - weight) * part, detail, weight if violations and not options.fenced else 1.0)


def read(text: str, finished: bool) -> tuple[Any, bool]:
    """The value of a JSON text, and whether it is there at all; of an unfinished one what is there so far.

    Raises ValueError for what is no JSON and cannot become any.
    """
    if finished:
        return from_json(text, allow_inf_nan=False), True
    try:
        value = from_json(text, allow_inf_nan=False, allow_partial="trailing-strings")
    except ValueError as error:
        if "EOF while" in str(error):
            return None, False
        raise
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if "trailing characters" in str(error):
            raise
    return value, True


def open_end(text: str) -> bool:
    """Whether a JSON prefix ends within a string or a number."""
    within = from_json(text, allow_inf_nan=False, allow_partial="trailing-strings")
    return text[-1:].isalnum() or text[-1:] in ("-", ".") or within != from_json(text, allow_partial=True)


def check_schema(schema: dict[str, Any]) -> None:
    """Raises RewardRequestError for what is no schema. References are not followed."""
    jsonschema = require("jsonschema")
    where = "smc.reward.params.schema"
    try:
        size = len(json.dumps(schema))
    except (TypeError, ValueError, RecursionError) as error:
        raise RewardRequestError(f"{where} is no JSON: {error}", where) from error
    if size > MAX_SCHEMA:
        raise RewardRequestError(f"{where} has {size} characters, more than {MAX_SCHEMA}", where)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.exceptions.SchemaError as error:
        raise RewardRequestError(f"{where}: {error.json_path}: {error.message}", where) from error
    except RecursionError as error:
        raise RewardRequestError(f"{where} is nested too deeply", where) from error


KIND = Kind(
    "JSON that meets a schema",
    JsonSchemaOptions,
    lambda options, context: JsonSchema(options, context.resources.worker_pool(), name=context.name),
    request_params=("schema", "fenced", "syntax_weight", "pending"),
    modules=("jsonschema",),
)
