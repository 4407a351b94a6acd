"""How much work a call is, counted and not timed by the wall, so that a bound on it holds on a busy machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Work:
    """``steps``: lines of Python that were executed. ``cpu_seconds``: of this thread, for what happens inside C (a
    regular expression that backtracks is one step); tracing makes it many times more than it is otherwise."""

    steps: int
    cpu_seconds: float


def work(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Work:
    """What a call costs."""
    steps = 0

    def trace(frame: object, event: str, arg: object) -> Any:
        nonlocal steps
        steps += 1
        return trace

    before, began = sys.gettrace(), time.thread_time()
    sys.settrace(trace)
    try:
        function(*args, **kwargs)
    finally:
        sys.settrace(before)
    return Work(steps, time.thread_time() - began)
