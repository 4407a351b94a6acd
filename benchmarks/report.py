"""Reports: a Markdown table and one self-contained HTML page. Several files of the same benchmark are put together.

python -m benchmarks.report results/a.jsonl results/b.jsonl --out results/together
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .html import page
from .records import RecordsError, RunFile, read_run
from .summary import Comparison, Row, curves, default_reference, summarise


def write_reports(paths: Sequence[Path], out: Path, reference: str | None = None) -> tuple[Path, Path]:
    """Write ``out.md`` and ``out.html``; their paths. Raises RecordsError."""
    runs = [read_run(path) for path in paths]
    markdown, html = (out.parent / f"{out.name}.{suffix}" for suffix in ("md", "html"))
    out.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text(to_markdown(runs, reference), encoding="utf-8")
    html.write_text(to_html(runs, reference), encoding="utf-8")
    return markdown, html


def to_markdown(runs: Sequence[RunFile], reference: str | None = None) -> str:
    """The tables as Markdown."""
    parts = [f"# {title(runs)}", "", *(f"* {line}" for line in facts(runs)), ""]
    table = rows(runs, reference)
    if not table:
        return "\n".join([*parts, "No results yet.", ""])
    parts += [_table(*main_table(table, published(runs))), "", legend(table), ""]
    for heading, cells in details(runs, table):
        parts += [f"## {heading}", "", _table(*cells), ""]
    return "\n".join(parts)


def to_html(runs: Sequence[RunFile], reference: str | None = None) -> str:
    """The same with plots, the configurations and the versions, as one page that needs no network."""
    table = rows(runs, reference)
    tables = [("Results", *main_table(table, published(runs)))]
    tables += [(heading, *cells) for heading, cells in details(runs, table)]
    config = [
        {"file": run.path.name, **{name: value for name, value in run.header.items() if name != "kind"}} for run in runs
    ]
    return page(
        title(runs), facts(runs), legend(table), tables, table, curves(merged(runs)), json.dumps(config, indent=1)
    )


def title(runs: Sequence[RunFile]) -> str:
    """Benchmark, model and how many problems."""
    names = ", ".join(dict.fromkeys(str(run.header["benchmark"]) for run in runs))
    models = ", ".join(dict.fromkeys(str(run.header["model"]) for run in runs))
    n = len({record["problem"] for run in runs for record in run.records})
    return f"{names}, {models}, {n} problems"


def facts(runs: Sequence[RunFile]) -> list[str]:
    """What a reader must know of how the figures came about."""
    lines = []
    for run in runs:
        header = run.header
        seen = header.get("reward_saw_the_tests")
        honest = "**the reward saw the hidden tests** that also give the mark" if seen else "hidden from the reward"
        reward = str(header["reward"])
        name = f"{run.path.name}: " if len(runs) > 1 else ""
        lines.append(
            f"{name}reward `{reward}` ({'no reward; ' if reward == 'none' else ''}the final mark's tests and answers: "
            f"{honest}); prompt form `{header['prompt_form']}`; at most {header['max_tokens']} tokens; "
            f"seed {header['seed']}; problems: {', then '.join(dict.fromkeys(map(_selection, run.headers)))}"
        )
    digests = dict.fromkeys((run.header["model"], run.header["digest"]) for run in runs)
    lines += [f"model {model}, SHA-256 `{digest}`" for model, digest in digests]
    lines += dict.fromkeys(_software(header) for run in runs for header in run.headers)
    lines += [str(run.header["note"]) for run in runs if run.header.get("note")]
    return lines


def rows(runs: Sequence[RunFile], reference: str | None) -> list[Row]:
    """All methods of all files, in the order in which they were planned; the budgets of one side by side."""
    labels = list(dict.fromkeys(label for run in _relabelled(runs) for label in run.methods))
    records = merged(runs)
    known = {record["method"]: (record["spec"], record["n"]) for record in records}
    present = [label for label in labels if label in known]
    specs = list(dict.fromkeys(known[label][0] for label in present))
    present.sort(key=lambda label: (specs.index(known[label][0]), known[label][1]))
    return summarise(records, present, reference or default_reference(present))


def merged(runs: Sequence[RunFile]) -> list[Mapping[str, Any]]:
    """The records of all files."""
    return [record for run in _relabelled(runs) for record in run.records]


def _relabelled(runs: Sequence[RunFile]) -> list[RunFile]:
    """Methods of files with different rewards are told apart by it."""
    ways = {(run.header["reward"], run.header["prompt_form"], run.header["model"]) for run in runs}
    if len(ways) == 1:
        return list(runs)
    changed = []
    for run in runs:
        differs = [
            str(run.header[name])
            for name in ("model", "prompt_form", "reward")
            if len({str(each.header[name]) for each in runs}) > 1
        ]
        suffix = f" [{', '.join(differs)}]"
        records = [
            record | {"method": record["method"] + suffix, "spec": record["spec"] + suffix} for record in run.records
        ]
        methods = {label + suffix: value for label, value in run.header["methods"].items()}
        changed.append(RunFile(run.path, [{**run.header, "methods": methods}], records))
    return changed


def published(runs: Sequence[RunFile]) -> dict[str, float]:
    """Figures of others, by method's preset, in percent."""
    found: dict[str, float] = {}
    for run in runs:
        found |= run.header.get("published", {})
    return found


Cells = tuple[list[str], list[list[str]]]


def main_table(table: Sequence[Row], others: Mapping[str, float]) -> Cells:
    """Heads and cells of the first table."""
    heads = ["method", "solved", "pass@1 (95%)", "tokens", "against the reference", "p (McNemar)", "seconds"]
    if others:
        heads.insert(3, "published")
    cells = []
    for row in table:
        line = [
            row.label,
            f"{round(row.solved, 1):g}/{row.problems}",
            f"{row.rate:.1%} ({row.low:.1%} to {row.high:.1%})",
            f"{row.tokens:.0f}",
            _difference(row.against),
            "" if row.against is None else f"{row.against.p_value:.3g}",
            f"{row.account['seconds']:.1f}",
        ]
        if others:
            line.insert(3, _figure(others.get(row.spec.partition(" [")[0])))
        cells.append(line)
    return heads, cells


def details(runs: Sequence[RunFile], table: Sequence[Row]) -> list[tuple[str, Cells]]:
    """The further tables: selection rules, accounts, health of the populations, pass@k, curves."""
    found: list[tuple[str, Cells]] = []
    chosen = [row for row in table if row.rules]
    if chosen:
        names = list(chosen[0].rules)
        found.append(
            (
                "By selection rule, from the same populations",
                (["method", *names], [[row.label, *(f"{row.rules[n]:.1%}" for n in names)] for row in chosen]),
            )
        )
    sampled = [row for row in table if row.pass_at]
    if sampled:
        ks = sorted({k for row in sampled for k in row.pass_at})
        cells = [[row.label, *(_share(row.pass_at.get(k)) for k in ks)] for row in sampled]
        found.append(("pass@k (one of k samples passes)", (["method", *(f"k={k}" for k in ks)], cells)))
    names = [
        "kept",
        "dropped",
        "sampled",
        "rollout",
        "mh",
        "reused",
        "drafted",
        "computed_rows",
        "reward_calls",
        "reward_cached",
        "prompt_computed",
    ]
    found.append(
        (
            "Account, a problem",
            (["method", *names], [[row.label, *(f"{row.account.get(n, 0):.0f}" for n in names)] for row in table]),
        )
    )
    health = [
        [
            row.label,
            _number(row.ess),
            _number(row.lineages),
            _share(row.acceptance),
            _number(row.log_z),
            str(row.failures),
        ]
        for row in table
    ]
    heads = ["method", "mean ESS", "lineages at the end", "accepted moves", "mean log Z", "failures"]
    found.append(("Populations", (heads, health)))
    lines = [
        [curve.spec, str(point.n), f"{point.tokens:.0f}", f"{point.rate:.1%}", "yes" if point.expected else ""]
        for curve in curves(merged(runs))
        for point in curve.points
        if len(curve.points) > 1
    ]
    if lines:
        found.append(
            (
                "Accuracy against tokens",
                (["method", "N", "tokens", "pass@1", "mean over subsets of a larger run"], lines),
            )
        )
    return found


def legend(table: Sequence[Row]) -> str:
    """How the first table is read."""
    if not table:
        return ""
    compared = next((row.label for row in table if row.against is None), "")
    return (
        "pass@1 is the share of problems whose returned answer passes the final mark, with Wilson's 95% interval; "
        "tokens are all that were drawn, a problem. The difference in points and its interval are of a paired "
        f"bootstrap over problems, and McNemar's test is exact; the reference is {compared}."
    )


def _table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _difference(against: Comparison | None) -> str:
    if against is None:
        return "reference"
    return f"{100 * against.difference:+.1f} ({100 * against.low:+.1f} to {100 * against.high:+.1f})"


def _selection(header: Mapping[str, Any]) -> str:
    chosen = header.get("selection", {})
    step = chosen.get("every", 1)
    ending = {2: "nd", 3: "rd"}.get(step, "th")
    every = f"every {step}{ending}" if step > 1 else "all"
    extra = f" from number {chosen['start']}" if chosen.get("start") else ""
    return f"{every}{extra} ({header['problems']})"


def _software(header: Mapping[str, Any]) -> str:
    known = ", ".join(f"{name} {number}" for name, number in header.get("versions", {}).items())
    where = header.get("machine", {})
    return (
        f"{known}; commit {header.get('commit') or 'unknown'}; {where.get('cpus')} CPUs ({where.get('architecture')})"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:g}%"


def main(
    files: Annotated[list[Path], typer.Argument(help="Files of results, compressed by gzip or not.")],
    out: Annotated[Path | None, typer.Option(help="Without suffix; default: beside the first file.")] = None,
    reference: Annotated[str | None, typer.Option(help="The method's label that others are compared with.")] = None,
) -> None:
    """Write the reports of files of results."""
    try:
        beside = files[0].with_name(files[0].name.removesuffix(".gz")).with_suffix("")
        written = write_reports(files, out or beside, reference)
    except RecordsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{written[0]}\n{written[1]}")


if __name__ == "__main__":
    typer.run(main)
