"""Which decoder is the most efficient? log Z says so without labels: presets with one target estimate one number.

E[Z^] = Z for each of them, so the mean of log Z^ lies below log Z by about half its variance: the higher and the
steadier log Z^ is at a given number of tokens, the better the population stands for the target. Here Z is known by
enumeration.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from smc_decode import preset, sample_sync
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential

TOKENS, LENGTH, ALPHA, SEEDS = 3, 6, 2.0, 30
PRESETS = ("best-of-n", "smc-reward", "smc")


def next_logprobs(tokens: tuple[int, ...]) -> np.ndarray:
    """A rough law over three tokens, without an end."""
    logits = np.array([(7 * sum(tokens) + 5 * token + 3 * len(tokens)) % 4 / 2 for token in range(TOKENS)])
    log_p: np.ndarray = logits - np.log(np.exp(logits).sum())
    return log_p


def log_reward(tokens: tuple[int, ...], finished: bool) -> float:
    """log R of a prefix (telescoping: only the last one is in the target): a token should follow 0, 1, 2, 0, ..."""
    return 2.0 * sum((a + 1) % TOKENS == b for a, b in itertools.pairwise(tokens))


def exact_log_z() -> float:
    """log of the sum of p^alpha / z · R over all sequences."""
    total = 0.0
    for tokens in itertools.product(range(TOKENS), repeat=LENGTH):
        log_p = 0.0
        for end, token in enumerate(tokens):
            tempered = ALPHA * next_logprobs(tokens[:end])
            log_p += tempered[token] - np.log(np.exp(tempered).sum())
        total += math.exp(log_p + log_reward(tokens, True))
    return math.log(total)


def main() -> None:
    engine = TableEngine(next_logprobs, TOKENS)
    potential = FunctionPotential(log_reward, kind="telescoping")
    print(f"exact log Z {exact_log_z():.3f}")
    print(f"{'preset':12s} {'mean log Z^':>12s} {'sd':>6s} {'log mean Z^':>12s} {'tokens':>7s}")
    for name in PRESETS:
        config = preset(name, n_particles=8, max_tokens=LENGTH, target="tempered", alpha=ALPHA)
        if name != "best-of-n":  # which has one block by definition
            config = config.model_copy(update={"block_size": 2})
        results = [sample_sync(engine, (), potential, config, seed=seed) for seed in range(SEEDS)]
        log_zs = np.array([result.log_z for result in results], dtype=float)
        tokens = np.mean([result.usage.drawn for result in results])
        mean = math.log(np.exp(log_zs).mean())
        print(f"{name:12s} {log_zs.mean():12.3f} {log_zs.std():6.3f} {mean:12.3f} {tokens:7.0f}")


if __name__ == "__main__":
    main()
