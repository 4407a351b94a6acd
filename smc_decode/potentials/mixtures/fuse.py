"""Weights for an ensemble without labels: how well does each verifier follow the truth, judging by how they agree?

In the spirit of FUSE (arXiv 2604.18547), as a spectral meta-learner (Parisi et al., PNAS 2014). If verifiers err
independently of one another given whether an answer is right (y = 0 or 1), then their correlations are of rank
one off the diagonal: rho_ij = v_i v_j, where v_i = corr(score_i, y). So v is estimated from unlabelled scores,
up to a sign that the assumption settles that most verifiers are better than chance. Under the same independence
the best linear combination has the weights w_i = v_i / ((1 - v_i^2) sigma_i). The share b of right answers
comes from the third moments, whose off-diagonal is v_i v_j v_k (1 - 2b) / sqrt(b (1 - b)) (Jaffe et al.,
AISTATS 2015).

Verifiers that share their errors (two prompts to one model, say) break the assumption. Correlations that rank
one cannot explain show it, if there are at least four verifiers; such pairs are named, left out of the fit, and
the fit says that it is not to be trusted.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_ITEMS = 30
MIN_EXCESS = 0.1
"""A correlation beyond rank one that is smaller is of no account, however significant."""
SIGNIFICANCE = 0.01
HIGHEST = 0.995


class FuseError(ValueError):
    """The scores cannot be fitted; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """One verifier's estimates. ``correlation`` with the truth; ``auc``: how often a right answer gets a higher
    score than a wrong one, if scores are normal within both kinds; ``weight`` for a sum of the raw scores."""

    name: str
    correlation: float
    auc: float | None
    weight: float


@dataclass(frozen=True, slots=True)
class Dependence:
    """Two verifiers that agree more (or less) than their accuracies explain, by ``excess`` in correlation."""

    first: str
    second: str
    excess: float


@dataclass(frozen=True, slots=True)
class FuseFit:
    """``items``: answers scored; ``right``: the estimated share of right answers. ``trustworthy``: the
    independence that the estimates rest on was checked and holds; ``warnings`` say what is wrong."""

    verifiers: tuple[Verifier, ...]
    items: int
    right: float | None
    dependent: tuple[Dependence, ...]
    trustworthy: bool
    warnings: tuple[str, ...]

    @property
    def weights(self) -> dict[str, float]:
        """The weights, which sum to 1."""
        return {verifier.name: verifier.weight for verifier in self.verifiers}

    def to_json(self) -> str:
        """As a file that an ensemble's ``weights`` can name."""
        return json.dumps({"weights": self.weights, **asdict(self)}, indent=2) + "\n"


def fit(scores: Mapping[str, Sequence[float]], groups: Sequence[object] | None = None) -> FuseFit:
    """Estimate accuracies and weights from scores: name to one score an answer, answers in the same order.

    ``groups``: the prompt of each answer. Answers to one prompt are not independent, so the test for dependence
    then counts prompts. Raises FuseError.
    """
    names = list(scores)
    table = _usable(scores)
    items, spread = len(table), table.std(axis=0)
    independent = items if groups is None else len(set(groups))
    standard = (table - table.mean(axis=0)) / spread
    observed = standard.T @ standard / items
    loadings, left_out = _fit_rank_one(observed, independent)
    if loadings.sum() < 0:
        loadings = -loadings
    dependent = tuple(
        Dependence(names[i], names[j], round(float(observed[i, j] - loadings[i] * loadings[j]), 4)) for i, j in left_out
    )
    right = _prevalence(standard, loadings, left_out)
    raw = np.clip(loadings, 0.0, HIGHEST) / ((1.0 - np.minimum(np.abs(loadings), HIGHEST) ** 2) * spread)
    if raw.sum() <= 0:
        raise FuseError("no verifier is better than chance")
    weights = raw / raw.sum()
    verifiers = tuple(
        Verifier(name, round(float(v), 4), _auc(float(v), right), float(w))
        for name, v, w in zip(names, loadings, weights, strict=True)
    )
    doubts = [*_of_dependence(dependent, len(names)), *_of_copies(names, loadings), *_of_noise(observed, independent)]
    chance = [f"{name} is no better than chance and has the weight 0" for name in _where(names, loadings <= 0)]
    return FuseFit(verifiers, items, right, dependent, not doubts, (*doubts, *chance))


def _of_dependence(dependent: Sequence[Dependence], count: int) -> Iterator[str]:
    for pair in dependent:
        yield (
            f"{pair.first} and {pair.second} agree {'more' if pair.excess > 0 else 'less'} than their accuracies "
            f"explain (by {abs(pair.excess):.2f}): they share errors, so count them as one, or leave one out"
        )
    if count < 4:
        yield "three verifiers always fit, so dependence cannot be seen: add a fourth to check it"


def _of_copies(names: Sequence[str], loadings: Array) -> Iterator[str]:
    for name in _where(names, np.abs(loadings) >= HIGHEST):
        yield f"{name} would be all but perfect, which is a sign of verifiers that copy one another"


def _of_noise(observed: Array, independent: int) -> Iterator[str]:
    clear = np.abs(observed) > _normal_quantile(1.0 - SIGNIFICANCE / 2) / math.sqrt(independent)
    triples = combinations(range(len(observed)), 3)
    if not any(clear[i, j] and clear[i, k] and clear[j, k] for i, j, k in triples):
        yield "no three verifiers agree with one another beyond chance: the estimates are noise"


def _where(names: Sequence[str], chosen: NDArray[np.bool_]) -> list[str]:
    return [name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]


def _usable(scores: Mapping[str, Sequence[float]]) -> Array:
    """The scores, one row an answer, if there are enough of them and none is constant."""
    table = _table(scores)
    if len(scores) < 3:
        raise FuseError(f"{len(scores)} verifiers: at least 3 are needed, since two cannot tell which of them is right")
    if len(table) < MIN_ITEMS:
        raise FuseError(f"{len(table)} answers: at least {MIN_ITEMS} are needed")
    if constant := _where(list(scores), table.std(axis=0) <= 1e-12):
        raise FuseError(f"{', '.join(constant)} gives every answer the same score: leave it out")
    return table


def _table(scores: Mapping[str, Sequence[float]]) -> Array:
    lengths = {name: len(column) for name, column in scores.items()}
    if len(set(lengths.values())) > 1:
        raise FuseError(f"every verifier must score every answer; got {lengths}")
    try:
        table = np.asarray(list(scores.values()), dtype=np.float64).T
    except (TypeError, ValueError) as error:
        raise FuseError(f"scores must be numbers: {error}") from error
    if not np.isfinite(table).all():
        raise FuseError("scores must be finite numbers")
    return table


def _fit_rank_one(observed: Array, items: int) -> tuple[Array, list[tuple[int, int]]]:
    """v with v_i v_j ~ observed_ij for i != j, and the pairs that had to be left out because they do not fit."""
    count = len(observed)
    pairs = list(combinations(range(count), 2))
    used = np.ones_like(observed) - np.eye(count)
    left_out: list[tuple[int, int]] = []
    loadings = _loadings(observed, used)
    error = np.maximum(1.0 - observed**2, 0.05) / math.sqrt(items)
    threshold = _normal_quantile(1.0 - SIGNIFICANCE / (2 * len(pairs)))
    while len(pairs) - len(left_out) > count:
        residual = np.abs(observed - np.outer(loadings, loadings)) * used
        if not np.any((residual > threshold * error) & (residual > MIN_EXCESS)):
            break
        # the pair whose absence explains most is the dependent one; its residual need not be the largest
        trials = []
        for i, j in pairs:
            if used[i, j]:
                trial = used.copy()
                trial[i, j] = trial[j, i] = 0.0
                v = _loadings(observed, trial)
                misfit = float((((observed - np.outer(v, v)) * trial) ** 2).sum())
                trials.append((misfit, (i, j), v, trial))
        _, pair, loadings, used = min(trials, key=lambda trial: trial[0])
        left_out.append(pair)
    return loadings, left_out


def _loadings(observed: Array, used: Array) -> Array:
    """Least squares over the used pairs, by alternating exact updates from the leading eigenvector on."""
    values, vectors = np.linalg.eigh(observed * used)
    v: Array = vectors[:, -1] * math.sqrt(max(float(values[-1]), 1e-6))
    v = np.clip(v, -HIGHEST, HIGHEST)
    for _ in range(500):
        before = v.copy()
        for i in range(len(v)):
            others = used[i] * v
            scale = float(others @ others)
            if scale > 1e-12:
                v[i] = np.clip(float(others @ observed[i]) / scale, -HIGHEST, HIGHEST)
        if np.abs(v - before).max() < 1e-9:
            break
    return v


def _prevalence(standard: Array, loadings: Array, left_out: Sequence[tuple[int, int]]) -> float | None:
    """The share of right answers, from the third moments; None where they say too little."""
    top, bottom = 0.0, 0.0
    for i, j, k in combinations(range(len(loadings)), 3):
        if any(pair in left_out for pair in ((i, j), (i, k), (j, k))):
            continue
        product = float(loadings[i] * loadings[j] * loadings[k])
        top += product * float((standard[:, i] * standard[:, j] * standard[:, k]).mean())
        bottom += product**2
    if bottom < 1e-3:
        return None
    skew = top / bottom
    return round(0.5 * (1.0 - skew / math.sqrt(4.0 + skew * skew)), 4)


def _auc(v: float, right: float | None) -> float | None:
    if right is None or not 0.0 < right < 1.0 or abs(v) >= 1.0:
        return None
    distance = v / math.sqrt(right * (1.0 - right) * (1.0 - v * v))
    return round(0.5 * (1.0 + math.erf(distance / 2.0)), 4)


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


# -- files ----------------------------------------------------------------------------------------------------------


def read_scores(path: str | Path) -> tuple[dict[str, list[float]], list[str] | None]:
    """Scores by verifier, and each answer's group if the file has them.

    JSON lines, ``{"scores": {"a": 0.9, "b": 0.4}, "group": "prompt 1"}``, or CSV with a column a verifier and
    an optional column ``group``. Raises FuseError.
    """
    path = Path(path)
    try:
        with path.open(newline="") as file:
            if path.suffix == ".csv":
                rows = [_csv_row(row) for row in csv.DictReader(file)]
            else:
                rows = [_json_row(line) for line in file if line.strip()]
    except OSError as error:
        raise FuseError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FuseError(
            f'{path}: expected CSV or lines of {{"scores": {{"name": 0.9, ...}}, "group": ...}}: {error!r}'
        ) from error
    if not rows:
        raise FuseError(f"{path} has no scores")
    names = list(rows[0][0])
    for number, (scores, _) in enumerate(rows, 1):
        if set(scores) != set(names):
            raise FuseError(f"{path}: row {number} has scores of {sorted(scores)}, the first of {sorted(names)}")
    groups = [group for _, group in rows]
    columns = {name: [scores[name] for scores, _ in rows] for name in names}
    return columns, None if any(group is None for group in groups) else [str(group) for group in groups]


def _json_row(line: str) -> tuple[dict[str, float], str | None]:
    row = json.loads(line)
    group = row.get("group")
    return {str(name): float(score) for name, score in row["scores"].items()}, None if group is None else str(group)


def _csv_row(row: dict[str, str]) -> tuple[dict[str, float], str | None]:
    group = row.pop("group", None)
    return {name: float(score) for name, score in row.items()}, group


def report(result: FuseFit) -> str:
    """A fit for people."""
    lines = [f"{result.items} answers, {len(result.verifiers)} verifiers"]
    if result.right is not None:
        lines.append(f"estimated share of right answers: {result.right:.2f}")
    width = max(len(verifier.name) for verifier in result.verifiers)
    lines.append(f"{'verifier':<{width}}  correlation with the truth  AUC    weight")
    for verifier in result.verifiers:
        auc = "   -" if verifier.auc is None else f"{verifier.auc:.2f}"
        lines.append(f"{verifier.name:<{width}}  {verifier.correlation:>26.2f}  {auc}  {verifier.weight:>7.3f}")
    lines += [f"warning: {warning}" for warning in result.warnings]
    lines.append("the estimates can be trusted" if result.trustworthy else "do not rely on these weights unseen")
    return "\n".join(lines)


def run(path: str | Path, output: str | Path | None = None) -> tuple[FuseFit, str]:
    """Fit the scores of a file, write the weights to ``output`` if it is given, and say what was found. Raises
    FuseError."""
    scores, groups = read_scores(path)
    result = fit(scores, groups)
    if output is not None:
        Path(output).write_text(result.to_json())
    return result, report(result)
