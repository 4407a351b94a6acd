"""How long a client waits before it makes a call over HTTP again.

A formula rather than tenacity or stamina: they retry one callable, and our callers choose another replica, or heed
Retry-After and a breaker, between two tries. The loop would stay, with a dependency for one line of arithmetic.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

MAX_SECONDS = 10.0


def asked_seconds(headers: Mapping[str, str]) -> float:
    """What a ``Retry-After`` header asks for; 0 without one, and for a date."""
    try:
        return max(0.0, float(headers.get("retry-after", "0")))
    except ValueError:
        return 0.0


def delay_seconds(attempt: int, backoff: float, asked: float = 0.0) -> float:
    """``backoff`` doubled after each try, or what the server asked for if that is more, at most ``MAX_SECONDS``.

    ``attempt``: tries that failed before the last one; 0 after the first.
    """
    # Jitter between clients, not a draw of a run: its seed has no part in it.
    jittered = backoff * 2.0**attempt * random.uniform(0.5, 1.0)
    return min(max(jittered, asked), MAX_SECONDS)
