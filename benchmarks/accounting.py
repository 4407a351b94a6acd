"""What a run cost and how its population fared: numbers for one line of the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smc_decode.events import Event, Weighted
from smc_decode.result import WORK_ACCOUNTS, SMCResult, Usage


@dataclass(frozen=True)
class Account:
    """Tokens, calls and seconds of one run. ``kept``: tokens of the answer; ``dropped``: all other drawn tokens."""

    kept: int
    dropped: int
    sampled: int
    rollout: int
    mh: int
    reused: int
    drafted: int
    computed_rows: int
    prompt_computed: int
    prompt_cached: int
    reward_calls: int
    reward_cached: int
    seconds: float

    @property
    def drawn(self) -> int:
        """All tokens that the model drew."""
        return self.sampled + self.rollout + self.mh

    @classmethod
    def of(cls, usage: Usage | Mapping[str, int], kept: int, seconds: float) -> Account:
        """From a result's usage, or from ``usage.smc`` of a response."""
        read = usage.get if isinstance(usage, Mapping) else lambda name, default: getattr(usage, name, default)
        counts = {name: int(read(name, 0)) for name in WORK_ACCOUNTS}
        drawn = counts["sampled"] + counts["rollout"] + counts["mh"]
        return cls(kept=kept, dropped=max(drawn - kept, 0), seconds=round(seconds, 3), **counts)


@dataclass
class Trace:
    """Block by block: what explains an early collapse, or a reward that is blind on prefixes."""

    ess: list[float] = field(default_factory=list)
    rewards: list[tuple[float, float, float]] = field(default_factory=list)
    """Least, mean and greatest reward of the population."""

    def see(self, event: Event) -> None:
        """Read one event of a run."""
        if isinstance(event, Weighted):
            self.ess.append(round(float(event.ess), 3))
            known = [reward for reward in event.rewards if reward is not None]
            if known:
                self.rewards.append((round(min(known), 3), round(sum(known) / len(known), 3), round(max(known), 3)))


def lineages(ancestors: Sequence[np.ndarray]) -> int | None:
    """How many of the first block's particles have descendants after the last resampling; None without blocks."""
    if not len(ancestors):
        return None
    roots = np.arange(len(ancestors[0]))
    for parents in ancestors:
        roots = roots[np.asarray(parents, dtype=int)]
    return len(np.unique(roots))


def run_numbers(result: SMCResult, trace: Trace) -> dict[str, Any]:
    """log Z, ESS, resampling, acceptance and genealogy, as JSON values."""
    return {
        "log_z": None if result.log_z is None or not np.isfinite(result.log_z) else round(float(result.log_z), 4),
        "ess": trace.ess,
        "resampled": [bool(each) for each in result.resampled],
        "rewards": trace.rewards,
        "lineages": lineages(result.ancestors),
        "acceptance": result.acceptance_rate,
        "blocks": result.blocks,
        "stopped": result.stopped,
    }
