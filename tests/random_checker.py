"""E[Z^] = Z, and populations and draws have the posterior's law: random configurations against enumeration.

    python -m tests.random_checker --configurations 2000 --log checker.jsonl      # goes on where the log ends
    python -m tests.random_checker --summary checker.jsonl                        # a table of what it has

A case is run until the standard error of Z^ / Z is one percent. What is then beyond two standard errors (or, for the
many test functions, beyond 3.5) is run again, three times as long and with other seeds, and is a finding beyond 4.
A bias of three percent is so seen in four of five configurations that have it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from smc_decode import AllParticlesDead, SMCConfig, SMCResult, sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential
from smc_decode.sampler.passes import Amend
from tests.random_cases import Case, Letters, random_case

STANDARD_ERROR = 0.01
AT_LEAST, AT_MOST, BATCH = 300, 6000, 100
MORE = 3
LOOK_AGAIN_Z, LOOK_AGAIN, FINDING = 2.0, 3.5, 4.0


@dataclass(frozen=True)
class Verdict:
    """What a case came to. ``z``: standard errors of the mean of Z^ / Z from 1; ``worst``: the largest of all
    statements. ``inexact``: what the runs themselves said. ``aliens``: particles that the target does not have."""

    number: int
    runs: int = 0
    mean: float = 1.0
    error: float = 0.0
    z: float = 0.0
    worst: float = 0.0
    aliens: int = 0
    inexact: tuple[str, ...] = ()
    skipped: str = ""
    raised: str = ""
    again: bool = False
    features: tuple[str, ...] = ()

    @property
    def finding(self) -> bool:
        """Whether something is wrong: with the sampler, or with what it says of itself."""
        return bool(self.raised or self.aliens or (self.again and self.worst > FINDING and not self.inexact))


class Checker:
    """Runs of one case, and what they add up to. ``amend``: a slip that is put in, to see that it is found."""

    def __init__(self, case: Case, amend: Amend | None = None) -> None:
        self._case, self._amend = case, amend
        model = case.model
        values = {x: v for x, v in model.log_gamma.items() if v > -math.inf}
        self.log_z = float(np.logaddexp.reduce(list(values.values()))) if values else -math.inf
        self._index = {x: i for i, x in enumerate(values)}
        law = np.exp(np.array(list(values.values())) - self.log_z)
        best = max(values, key=lambda x: values[x], default=())
        noise = np.random.default_rng(case.number)
        tests = [noise.choice([-1.0, 1.0], size=len(values)) for _ in range(3)]
        tests += [np.array([float(len(x)) for x in values]), np.array([float(x == best) for x in values])]
        self._tests, self._law = np.array([test - test @ law for test in tests]), law
        self.config = SMCConfig.model_validate(
            {
                "block_size": model.block_size,
                "max_tokens": model.max_tokens,
                "target": model.target,
                "alpha": model.alpha,
                **case.settings,
            }
        )
        tokenizer = Letters() if model.stop else None
        self._engine = TableEngine(model.logprobs, model.vocab_size, model.eos, tokenizer=tokenizer)
        self._potential = FunctionPotential(model.log_psi, model.kind, log_scale=case.log_scale)  # type: ignore[arg-type]
        self.aliens = 0
        self.inexact: dict[str, None] = {}

    @property
    def least_spread(self) -> np.ndarray:
        """Of each statement: one draw varies as the posterior does, the mean of n by an n-th of that at least. Of Z^
        nothing is known."""
        one = np.sqrt(np.square(self._tests) @ self._law)
        return np.concatenate([[0.0], one / self.config.n_particles, one / self._case.n_draws, one])

    @property
    def trivial(self) -> bool:
        """Nothing to see: no mass, or one sequence only."""
        return self.log_z == -math.inf or len(self._index) < 2

    async def _statements(self, seed: int) -> np.ndarray:
        """One run's numbers, each of mean zero: Z^ / Z - 1, and Z^ / Z times the test functions of population and
        draws."""
        try:
            result = await sample(
                self._engine,
                (),
                self._potential,
                self.config,
                seed=seed,
                n_draws=self._case.n_draws,
                amend=self._amend,
            )
        except AllParticlesDead:
            return np.concatenate([[-1.0], np.zeros(3 * len(self._tests))])
        self.inexact.update(dict.fromkeys(result.inexact))
        if result.log_z is None:
            raise ValueError(f"no log Z: {result.inexact}")
        ratio = math.exp(result.log_z - self.log_z)
        return np.concatenate([[ratio - 1.0], ratio * self._tested(result)])

    def _tested(self, result: SMCResult) -> np.ndarray:
        population = [(p.token_ids, p.weight) for p in result.particles if p.weight > 0.0]
        draws = [(p.token_ids, 1.0 / len(result.draws)) for p in result.draws]
        last = [(result.draws[-1].token_ids, 1.0)]
        totals = []
        for sample_ in (population, draws, last):
            known = [(self._index[x], w) for x, w in sample_ if x in self._index]
            self.aliens += len(sample_) - len(known)
            indices, weights = [i for i, _ in known], np.array([w for _, w in known])
            totals.append(self._tests[:, indices] @ weights)
        return np.concatenate(totals)

    async def run(self, seed: int, at_least: int, at_most: int, error: float) -> np.ndarray:
        """Runs until the standard error of Z^ is small enough; (runs, statements)."""
        rows: list[np.ndarray] = []
        while len(rows) < at_most:
            rows += [await self._statements(seed + len(rows) + i) for i in range(BATCH)]
            spread = float(np.std([row[0] for row in rows]))
            if len(rows) >= at_least and spread <= error * math.sqrt(len(rows)):
                break
        return np.array(rows)


def deviations(rows: np.ndarray, least: np.ndarray | float = 0.0) -> np.ndarray:
    """Each statement's mean in standard errors; 0 where it is always the same and right.

    ``least``: what a statement varies by in any case. Where rare sequences happened not to come up the runs alone would
    say that it hardly varies.
    """
    mean, spread = rows.mean(axis=0), np.maximum(rows.std(axis=0, ddof=1), least)
    exact = np.where(np.abs(mean) < 1e-9, 0.0, np.inf)
    return np.where(spread > 1e-9, mean / np.maximum(spread, 1e-300) * math.sqrt(len(rows)), exact)


def check(case: Case, *, error: float = STANDARD_ERROR, at_most: int = AT_MOST, amend: Amend | None = None) -> Verdict:
    """Run a case, and again where it looks wrong."""
    checker = Checker(case, amend)
    if checker.trivial:
        return Verdict(case.number, skipped="the target has one sequence or none", features=case.features)
    again = False
    try:
        at_least = min(AT_LEAST, at_most)
        rows = asyncio.run(checker.run(1_000_000 * case.number, at_least, at_most, error))
        z = np.abs(deviations(rows, checker.least_spread))
        if z[0] > LOOK_AGAIN_Z or z.max() > LOOK_AGAIN:
            again, more = True, MORE * len(rows)
            rows = asyncio.run(checker.run(1_000_000 * case.number + 500_000, more, more, 0.0))
    except Exception as raised:  # a finding, whatever it is
        return Verdict(case.number, raised=f"{type(raised).__name__}: {raised}"[:300], features=case.features)
    z = deviations(rows, checker.least_spread)
    return Verdict(
        case.number,
        runs=len(rows),
        mean=float(1.0 + rows[:, 0].mean()),
        error=float(rows[:, 0].std() / math.sqrt(len(rows))),
        z=float(z[0]),
        worst=float(np.abs(z).max()),
        aliens=checker.aliens,
        inexact=tuple(checker.inexact),
        again=again,
        features=case.features,
    )


def check_number(number: int) -> Verdict:
    """The verdict on the case of that number."""
    return check(random_case(number))


# ---- the long run -------------------------------------------------------------------------------------------------


def logged(path: Path) -> dict[int, Verdict]:
    """What a log holds; a last line that was cut off is left out."""
    found: dict[int, Verdict] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            continue
        values |= {"inexact": tuple(values["inexact"]), "features": tuple(values["features"])}
        found[values["number"]] = Verdict(**values)
    return found


def long_run(numbers: range, path: Path, processes: int) -> Iterator[Verdict]:
    """Verdicts on what the log does not have yet, written to it as they come."""
    done = logged(path)
    left = [number for number in numbers if number not in done]
    if path.exists() and not path.read_text().endswith("\n"):
        path.write_text(path.read_text().rstrip() + "\n")  # a line that was cut off must not swallow the next
    with (
        path.open("a") as log,
        ProcessPoolExecutor(processes, mp_context=get_context("fork"), max_tasks_per_child=None) as pool,
    ):
        for future in as_completed([pool.submit(check_number, number) for number in left]):
            verdict = future.result()
            print(json.dumps(asdict(verdict)), file=log, flush=True)
            yield verdict


def table(verdicts: list[Verdict]) -> str:
    """What was checked, by feature, in Markdown."""
    rows: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        for feature in ("all", *verdict.features):
            rows[feature].append(verdict)
    lines = ["| | configurations | runs | median standard error | beyond 2 errors at first | findings |"]
    lines.append("|---|---|---|---|---|---|")
    for feature, those in sorted(rows.items(), key=lambda row: (row[0] != "all", row[0])):
        checked = [v for v in those if not v.skipped]
        if not checked:
            continue
        errors = float(np.median([v.error for v in checked]))
        again, findings = sum(v.again for v in checked), sum(v.finding for v in checked)
        runs = sum(v.runs for v in checked)
        lines.append(f"| {feature} | {len(checked)} | {runs:,} | {errors:.2%} | {again} | {findings} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--log", type=Path, default=Path("random_checker.jsonl"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--nice", type=int, default=15)
    parser.add_argument("--summary", type=Path, help="only print the table of this log")
    options = parser.parse_args()
    if options.summary is not None:
        print(table(list(logged(options.summary).values())))
        return
    os.nice(options.nice)
    numbers = range(options.first, options.first + options.configurations)
    began, done = time.monotonic(), 0
    for done, verdict in enumerate(long_run(numbers, options.log, options.processes), 1):
        seconds = time.monotonic() - began
        if verdict.finding:
            print(f"\nFINDING {verdict}", flush=True)
        sys.stderr.write(f"\r{done} configurations, {seconds / done:.1f} s each")
    print(table(list(logged(options.log).values())))


if __name__ == "__main__":
    main()
