"""How many replicas the work asks for."""

from __future__ import annotations

import math
from typing import Any

SLOTS = "particle_slots_in_use"
"""The share of a replica's particle slots that requests hold: what autoscaling goes by."""


def by_slots(context: Any) -> tuple[int, dict[str, Any]]:
    """As many replicas as bring the slots in use to the target: Ray Serve's policy, from its AutoscalingContext.

    The first calls have no figures: nothing changes then.
    """
    running = int(context.current_num_replicas)
    figures = [float(value) for value in context.aggregated_metrics.get(SLOTS, {}).values() if value is not None]
    if not figures or running == 0:
        return max(running, 1), {}
    target = float(context.config.target_ongoing_requests)
    wanted = sum(figures) / len(figures) * running / target
    return max(math.ceil(wanted - 1e-9), 1), {}
