"""A run as it happens: the sampler tells what it does in small typed events, and a reader is a loop over them."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np

from smc_decode import preset, run
from smc_decode.engines import TableEngine
from smc_decode.events import Committed, Finished, Rejuvenated, Resampled, RolledOut, Weighted
from smc_decode.potentials import FunctionPotential


def next_logprobs(tokens: tuple[int, ...]) -> np.ndarray:
    """Three letters; a letter is likely to come again. Nothing ends before max_tokens."""
    return np.log([4 / 6 if tokens[-1:] == (letter,) else 1 / 6 for letter in range(3)])


def changes(tokens: tuple[int, ...], finished: bool) -> float:
    """log R of a prefix: it is good to change the letter, which the model does not like."""
    return 1.5 * sum(a != b for a, b in itertools.pairwise(tokens))


async def main() -> None:
    engine = TableEngine(next_logprobs, vocab_size=3)
    potential = FunctionPotential(changes, kind="telescoping")
    config = preset(
        "smc",
        block_size=3,
        max_tokens=12,
        n_particles=12,
        ess_threshold=0.9,
        lookahead={"start": 0},
        rejuvenation={"steps": 1, "every": 2},
    )
    async for event in run(engine, (), potential, config, seed=1):
        match event:
            case RolledOut(block=block, tokens=drawn, reused=reused):
                print(f"block {block}: looked ahead with {drawn} tokens, {reused} of them reused")
            case Weighted(ess=ess, log_z=log_z):
                print(f"  ESS {ess:5.1f} {'#' * round(2 * ess):24s} log Z so far {log_z:.3f}")
            case Resampled(ancestors=ancestors):
                print(f"  resampled: {len(set(ancestors.tolist()))} of {ancestors.size} particles have offspring")
            case Rejuvenated(proposed=proposed, accepted=accepted):
                print(f"  moved: {accepted.sum()} of {proposed.sum()} proposals accepted")
            case Committed(token_ids=token_ids):
                print(f"  certain by now: {token_ids}")
            case Finished(result=result):
                print(f"answer {result.answer.token_ids}, log Z {result.log_z:.3f}, tokens drawn {result.usage.drawn}")


if __name__ == "__main__":
    asyncio.run(main())
