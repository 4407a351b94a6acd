"""From lines of results to rows of a table and points of a curve. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from .statistics import best_of_k, mcnemar, paired_bootstrap, pass_at_k, wilson

Record = Mapping[str, Any]
KS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Comparison:
    """Against the reference method on the same problems: difference of pass rates with its 95% interval, and the
    exact p-value of McNemar's test (of the first repeat)."""

    difference: float
    low: float
    high: float
    p_value: float
    only_this: int
    only_reference: int


@dataclass(frozen=True)
class Row:
    """One method. Shares from 0 to 1, tokens and seconds a problem. ``rules``: what each selection rule would have got
    from the same populations; ``pass_at``: unbiased pass@k where particles are independent."""

    label: str
    spec: str
    n: int
    problems: int
    solved: float
    rate: float
    low: float
    high: float
    rules: Mapping[str, float]
    pass_at: Mapping[int, float]
    tokens: float
    account: Mapping[str, float]
    acceptance: float | None
    ess: float | None
    lineages: float | None
    log_z: float | None
    failures: int
    against: Comparison | None = None


@dataclass(frozen=True)
class Point:
    """One budget of one method: mean tokens a problem, and the share solved with its interval. ``expected``: an
    average over all subsets of a larger run rather than a run of its own."""

    n: int
    tokens: float
    rate: float
    low: float
    high: float
    expected: bool = False


@dataclass(frozen=True)
class Curve:
    """Accuracy against tokens of one method at growing N."""

    spec: str
    points: Sequence[Point] = field(default_factory=tuple)


def by_problem(records: Sequence[Record], value: Any) -> dict[str, float]:
    """Mean over repeats of ``value(record)``, by problem."""
    found: dict[str, list[float]] = {}
    for record in records:
        found.setdefault(record["problem"], []).append(float(value(record)))
    return {problem: fmean(values) for problem, values in found.items()}


def summarise(records: Sequence[Record], labels: Sequence[str], reference: str | None = None) -> list[Row]:
    """A row a method, in the order of ``labels``; methods without results are left out."""
    groups = {label: [record for record in records if record["method"] == label] for label in labels}
    groups = {label: group for label, group in groups.items() if group}
    other = groups.get(reference or "")
    return [_row(label, group, other if label != reference else None) for label, group in groups.items()]


def default_reference(labels: Sequence[str]) -> str | None:
    """What the others are compared with: best-of-n, else the first method."""
    return next((label for label in labels if label.startswith("best-of-n")), labels[0] if labels else None)


def _row(label: str, group: Sequence[Record], reference: Sequence[Record] | None) -> Row:
    passed = by_problem(group, lambda record: record["passed"])
    n, solved = len(passed), sum(passed.values())
    low, high = wilson(solved, n)
    names = [name for name in group[0]["account"] if isinstance(group[0]["account"][name], (int, float))]
    account = {name: fmean(record["account"][name] for record in group) for name in names}
    return Row(
        label=label,
        spec=group[0]["spec"],
        n=group[0]["n"],
        problems=n,
        solved=solved,
        rate=solved / n,
        low=low,
        high=high,
        rules=_rules(group),
        pass_at=_pass_at(group),
        tokens=account["drawn"],
        account=account,
        acceptance=_mean(record.get("acceptance") for record in group),
        ess=_mean(fmean(record["ess"]) for record in group if record.get("ess")),
        lineages=_mean(record.get("lineages") for record in group),
        log_z=_mean(record.get("log_z") for record in group),
        failures=sum(bool(record.get("failure")) for record in group),
        against=None if reference is None else compare(reference, group),
    )


def compare(reference: Sequence[Record], group: Sequence[Record]) -> Comparison | None:
    """``group`` against ``reference`` on the problems that both have; None without any."""
    first, second = (by_problem(each, lambda record: record["passed"]) for each in (reference, group))
    common = [problem for problem in first if problem in second]
    if not common:
        return None
    difference, low, high = paired_bootstrap([first[p] for p in common], [second[p] for p in common])
    once, again = (
        {record["problem"]: record["passed"] for record in each if record["repeat"] == 0} for each in (reference, group)
    )
    pairs = [(once[problem], again[problem]) for problem in common if problem in once and problem in again]
    only_this, only_reference = sum(b and not a for a, b in pairs), sum(a and not b for a, b in pairs)
    return Comparison(difference, low, high, mcnemar(only_this, only_reference), only_this, only_reference)


def _rules(group: Sequence[Record]) -> dict[str, float]:
    if not all(record["rules"] or record.get("failure") for record in group):
        return {}
    names = next((list(record["rules"]) for record in group if record["rules"]), [])
    return {
        name: fmean(by_problem(group, lambda record, name=name: record["rules"].get(name, 0.0)).values())
        for name in names
    }


def _independent(record: Record) -> bool:
    """Whether the population is a set of independent draws: nothing was resampled or moved."""
    return (
        len(record["population"]) == record["n"]
        and not any(record.get("resampled") or ())
        and record["account"]["rollout"] == 0
        and record["account"]["mh"] == 0
        and record.get("blocks") == 1
    )


def _pass_at(group: Sequence[Record]) -> dict[int, float]:
    if not all(_independent(record) for record in group):
        return {}
    n = min(record["n"] for record in group)

    def value(record: Record, k: int) -> float:
        marks = [particle["passed"] for particle in record["population"]]
        return pass_at_k(len(marks), sum(marks), k)

    return {k: fmean(by_problem(group, lambda record, k=k: value(record, k)).values()) for k in KS if k <= n}


def curves(records: Sequence[Record]) -> list[Curve]:
    """Accuracy against tokens. A run of independent particles with a reward gives the whole curve of best-of-k."""
    specs = list(dict.fromkeys(record["spec"] for record in records))
    return [Curve(spec, _points([record for record in records if record["spec"] == spec])) for spec in specs]


def _points(records: Sequence[Record]) -> list[Point]:
    sizes = sorted({record["n"] for record in records})
    points = {}
    largest = [record for record in records if record["n"] == sizes[-1]]
    if sizes[-1] > 1 and all(_independent(record) and _rewarded(record) for record in largest):
        for k in (k for k in KS if k <= sizes[-1]):
            points[k] = _expected(largest, k)
    for n in sizes:
        group = [record for record in records if record["n"] == n]
        passed = by_problem(group, lambda record: record["passed"])
        low, high = wilson(sum(passed.values()), len(passed))
        tokens = fmean(record["account"]["drawn"] for record in group)
        points.setdefault(n, Point(n, tokens, fmean(passed.values()), low, high))
    return [points[n] for n in sorted(points)]


def _rewarded(record: Record) -> bool:
    return all(particle["reward"] is not None for particle in record["population"])


def _expected(records: Sequence[Record], k: int) -> Point:
    def value(record: Record) -> float:
        population = record["population"]
        return best_of_k([p["reward"] for p in population], [float(p["passed"]) for p in population], k)

    passed = by_problem(records, value)
    low, high = wilson(sum(passed.values()), len(passed))
    tokens = fmean(record["account"]["drawn"] / record["n"] * k for record in records)
    return Point(k, tokens, fmean(passed.values()), low, high, expected=True)


def _mean(values: Any) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None
