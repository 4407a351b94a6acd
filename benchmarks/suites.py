"""All benchmarks by name."""

from __future__ import annotations

from collections.abc import Mapping

from .module_problems import MODULES
from .problems import GPQA, HUMANEVAL, MATH500, Benchmark

BENCHMARKS: Mapping[str, Benchmark] = {each.name: each for each in (HUMANEVAL, MATH500, GPQA, *MODULES.values())}
