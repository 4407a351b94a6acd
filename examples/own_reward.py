"""A reward of one's own on a toy language: which sentences does the model write if it is asked to be kind?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from smc_decode import SMCConfig, sample_sync
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionReward, Prefix, Reward, RewardPotential, RewardSource
from smc_decode.testing import check_potential

WORDS = [".", "you", "are", "not", "kind", "rude", "very"]
NEXT = {  # which words may follow which, all equally likely
    "": ["you"], "you": ["are"], "are": ["not", "kind", "rude", "very"], "not": ["kind", "rude", "very"],
    "very": ["kind", "rude", "very"], "kind": ["."], "rude": ["."],
}  # fmt: skip


class Tokenizer:
    """Words to text: all that a reward of texts needs of an engine."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return " ".join(WORDS[token] for token in token_ids)


def next_logprobs(tokens: tuple[int, ...]) -> np.ndarray:
    follow = NEXT.get(WORDS[tokens[-1]] if tokens else "", ["."])
    return np.log([1e-12 + (word in follow) for word in WORDS])


def kindness(text: str, finished: bool) -> float:
    """r in [0, 1]: 1 for what is kind, 0 for what is rude, and 1/2 while nothing is said yet."""
    if text.count("rude") + text.count("kind") == 0:
        return 0.5
    return float(("rude" in text) == ("not" in text))


class Brevity(RewardSource):
    """The same as a class, where a reward needs more than the text: options, a service, bounds."""

    name = "brevity"

    def __init__(self, words: int) -> None:
        self.words = words

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        return [self._reward(len(prefix.token_ids)) for prefix in batch]

    def _reward(self, words: int) -> Reward:
        left = max(0.0, 1.0 - words / self.words)
        return Reward(left, {"words": words}, at_most=left)


def main() -> None:
    engine = TableEngine(next_logprobs, len(WORDS), eos_token_id=0, tokenizer=Tokenizer())  # type: ignore[arg-type]
    config = SMCConfig(n_particles=64, block_size=1, max_tokens=8)
    for source in (FunctionReward(kindness, name="kindness"), Brevity(8)):
        asyncio.run(check_potential(source, ["you are kind.", "you are not very rude.", ""]))
        print(f"{source.name}:")
        for scale in (0.0, 4.0):
            result = sample_sync(engine, (), RewardPotential(source, scale), config, seed=0)
            mean = sum(particle.weight * (particle.reward or 0.0) for particle in result.particles)
            print(f"  reward_scale {scale}: mean reward {mean:.2f}, for example {result.answer.text!r}")


if __name__ == "__main__":
    main()
