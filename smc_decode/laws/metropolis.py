"""The Metropolis-Hastings suffix-regeneration move: where to cut, and when to accept. docs/method.md, "Rejuvenation".

State x of length n at stage k. Cut c ~ Uniform{0..n-1}, regenerate the suffix from q until the sequence ends or
reaches the stage's boundary, giving x' of length n'.
"""

from __future__ import annotations

import math

import numpy as np


def draw_cut(length: int, rng: np.random.Generator, start: int = 0) -> int:
    """c ~ Uniform{start..length-1}: how many tokens are kept."""
    return start + int(rng.integers(length - start))


def log_acceptance(log_target_new: float, log_target_old: float, length_new: int, length_old: int) -> float:
    """log of min{1, [gamma L / q](x') (1/n') / ([gamma L / q](x) (1/n))}.

    The targets are log gamma(x) L^(x) / q(x) over whole sequences: the kept prefix has the same factors in both and
    cancels, so that each side holds its *full* suffix. 1/n and 1/n' are the probabilities of the cut: where cuts begin
    at some token, n and n' count from there.
    """
    if log_target_new == -math.inf:
        return -math.inf
    forward = log_target_old - math.log(length_old)
    backward = log_target_new - math.log(length_new)
    return min(0.0, backward - forward)


def accepts(log_probability: float, rng: np.random.Generator) -> bool:
    """Whether a uniform draw falls below the acceptance probability."""
    return bool(np.log1p(-rng.random()) < log_probability)


def is_low_reward_duplicate(is_copy: bool, reward: float | None, threshold: float) -> bool:
    """The paper's rule for whom to move (Algorithm 1): duplicates whose reward is below the threshold."""
    return is_copy and (reward is None or reward < threshold)
