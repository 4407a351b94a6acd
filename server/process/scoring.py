"""``smc-decode score``: the answers of a file, judged by a reward, without HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from smc_decode.validation import problem_of

from ..edge.logs import configure_logging
from ..errors import translate
from ..openai.scores import Judge, ScoreBody
from ..openai.thinking import think_tags
from ..runs.plan import Planner
from ..runs.runner import together
from ..settings import ConfigError, Settings
from .loading import Loaded, load

_MODEL = "model"  # stands in the rows until the model's own name is known


@dataclass(frozen=True)
class Row:
    """A line of the file."""

    place: str
    body: ScoreBody
    id: Any = None
    """What the line has under ``id``, if anything, to be given back."""


async def score_file(settings: Settings, source: str, output: Path | None, usual: Mapping[str, Any] | None) -> None:
    """Judge each line of ``source`` ('-': standard input) and write one line for each, in order.

    ``usual``: the ``reward`` of lines that have none. Raises ConfigError that names the line and says what to change;
    what was judged by then is written.
    """
    configure_logging(settings.server.model_copy(update={"log_level": "warning", "log_format": "console"}))
    rows = read_rows(source, usual)
    console = Console(stderr=True)
    loaded = await load(settings, console)
    try:
        with _opened(output) as out:
            await _score(loaded, settings, rows, out, console)
    finally:
        await loaded.aclose()


def read_rows(source: str, usual: Mapping[str, Any] | None = None) -> list[Row]:
    """The lines of a file of JSON objects. Raises ConfigError."""
    name = "standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {name}: {error}") from None
    numbered = enumerate(text.splitlines(), 1)
    rows = [_row(line, f"{name}, line {number}", usual) for number, line in numbered if line.strip()]
    if not rows:
        raise ConfigError(f'{name} holds no line: write {{"prompt": "...", "answers": ["...", "..."]}}, one a line')
    return rows


def _row(line: str, place: str, usual: Mapping[str, Any] | None) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f'{place} must be a JSON object, such as {{"prompt": "...", "answers": ["..."]}}')
    given = {"model": _MODEL, "reward": usual, **value}
    told = given.pop("id", None)
    try:
        return Row(place, ScoreBody.model_validate(given), told)
    except ValidationError as error:
        raise ConfigError(f"{place}: {problem_of(error, ScoreBody)}") from None


async def _score(loaded: Loaded, settings: Settings, rows: Sequence[Row], out: IO[str], console: Console) -> None:
    book = loaded.presets(settings)
    planner = Planner(loaded.engine.info, loaded.catalogue, book, settings.server)
    judge = Judge(
        loaded.engine,
        planner,
        settings.server.max_particles,
        think_tags(loaded.engine.tokenizer, settings.server),
    )

    async def one(row: Row) -> dict[str, Any]:
        body = row.body
        if body.model == _MODEL:
            body = body.model_copy(update={"model": book.model_names[0]})
        try:
            scores = await (await judge.plan(body, local=True)).scores()
        except Exception as error:
            raise ConfigError(f"{row.place}: {translate(error).message}") from error
        return {"scores": scores} if row.id is None else {"id": row.id, "scores": scores}

    with _progress(console) as progress:
        task = progress.add_task("lines", total=len(rows))
        width = settings.server.concurrent_prompts
        for start in range(0, len(rows), width):
            for told in await together([one(row) for row in rows[start : start + width]]):
                out.write(json.dumps(told, ensure_ascii=False) + "\n")
                progress.advance(task)
            out.flush()


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        out = output.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror or error}") from None
    with out:
        yield out
