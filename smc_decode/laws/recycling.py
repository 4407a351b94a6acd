"""Recycling: which share of the final population each block's weighted rollouts have. docs/method.md, section 5.

After every block k the rollouts, weighted, are a properly weighted sample M_k of gamma. So is sum_k beta_k M_k, for
shares beta_k that are fixed before the run and sum to one.
"""

from __future__ import annotations

import math


def log_share(block: int, n_blocks: int, *, keep_last: bool) -> float:
    """log beta of the rollouts that were drawn after ``block`` (from 0) of at most ``n_blocks``: halves, 1/2, 1/4, ...

    What is left goes to the population that the pass ends with. With ``keep_last`` False nothing is left for it after
    the last block: the last rollouts then hold that population already.
    """
    if not 0 <= block < n_blocks - 1:
        raise ValueError(f"rollouts follow blocks 0 to {n_blocks - 2}, not {block}")
    halvings = block if block == n_blocks - 2 and not keep_last else block + 1
    return -halvings * math.log(2.0)
