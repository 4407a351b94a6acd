"""What the speed cases share: the engine, the prompts, plain sampling, and one SMC run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from smc_decode import SMCConfig, sample
from smc_decode.engines.base import Extend, Shaping
from smc_decode.engines.vllm.engine import VLLMEngine
from smc_decode.potentials.base import Potential
from smc_decode.potentials.function import FunctionPotential
from smc_decode.result import SMCResult

from .problems import Problem, humaneval
from .prompts import make_prompt
from .speed_meter import Meter, MeteredEngine, MeteredPotential, Spent

N, T, PROMPT = 16, 128, 108
"""Particles, new tokens and tokens of the prompt where a case says nothing else."""

_WHOLE = Shaping(ignore_eos=True)


def cheap_reward(tokens: tuple[int, ...], finished: bool) -> float:
    """A reward that costs nothing and makes weights uneven."""
    return (hash(tokens) % 101) / 25.0


@dataclass
class Bench:
    """A loaded engine with a meter on it. Seeds never repeat, so that nothing is answered from memory."""

    raw: VLLMEngine
    meter: Meter = field(default_factory=Meter)
    seeds: Any = field(default_factory=lambda: itertools.count(1000))

    def __post_init__(self) -> None:
        self.engine: Any = MeteredEngine(self.raw, self.meter)
        self.prompts = [self._prompt(i) for i in range(64)]

    def _prompt(self, number: int) -> tuple[int, ...]:
        text = f"{number}. Write a Python function that returns the two largest numbers of a list, and explain it. "
        ids = self.raw.tokenizer.apply_chat_template([{"role": "user", "content": text * 100}])
        return tuple(ids)

    def prompt(self, number: int = 0, length: int = PROMPT) -> tuple[int, ...]:
        """One of 64 different prompts, of the wanted length (at most about 2,000)."""
        return self.prompts[number % len(self.prompts)][:length]

    def potential(self, potential: Potential | None = None) -> Any:
        """The potential with the meter on it; without one, the cheap reward."""
        return MeteredPotential(potential or FunctionPotential(cheap_reward, kind="telescoping"), self.meter)

    async def plain(
        self, prompts: Sequence[Sequence[int]] | None = None, lengths: Sequence[int] | None = None, n: int = N
    ) -> Spent:
        """Plain parallel sampling, in one call: the limit. One sequence a prompt; ``n`` of one without any."""
        prompts = [self.prompt()] * n if prompts is None else prompts
        lengths = [T] * len(prompts) if lengths is None else lengths
        with self.meter.measure() as spent:
            sequences = [await self.raw.open(prompt) for prompt in prompts]
            requests = [
                Extend(sequence, length, seed=next(self.seeds), logprobs=False, shaping=_WHOLE)
                for sequence, length in zip(sequences, lengths, strict=True)
            ]
            async for _ in self.engine.extend(requests):
                pass
        return spent()

    async def smc(
        self, config: SMCConfig, prompt: Sequence[int] | None = None, potential: Potential | None = None
    ) -> tuple[Spent, SMCResult]:
        """One run of the sampler."""
        wanted = self.potential(potential)
        with self.meter.measure() as spent:
            result = await self.run(config, prompt, wanted)
        return spent(), result

    async def run(self, config: SMCConfig, prompt: Sequence[int] | None, potential: Any, text: str = "") -> SMCResult:
        """A run that is part of a larger measured stretch."""
        prompt = self.prompt() if prompt is None else prompt
        return await sample(self.engine, prompt, potential, config, seed=next(self.seeds), prompt_text=text)


def config(**values: Any) -> SMCConfig:
    """The setting of all cases, with changes: every particle draws all its tokens, and every block resamples."""
    defaults: dict[str, Any] = {
        "n_particles": N, "max_tokens": T, "block_size": 32, "ess_threshold": 1.0, "ignore_eos": True,
        "draft_draws": False,
    }  # fmt: skip
    return SMCConfig.model_validate(defaults | values)


def code_problems(bench: Bench, count: int) -> list[tuple[Problem, tuple[int, ...]]]:
    """HumanEval problems with prompts of 80 to 140 tokens."""
    found = []
    for problem in humaneval():
        prompt = make_prompt(problem, "completion").encode(bench.raw.tokenizer)
        if 80 <= len(prompt) <= 140:
            found.append((problem, prompt))
    return found[:count]
