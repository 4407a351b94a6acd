"""An engine of one's own on Hugging Face transformers. ``python examples/transformers_engine.py MODEL "a prompt"``"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from smc_decode import SMCConfig, sample
from smc_decode.engines import BaseEngine, Continuation, EngineInfo, Extend, check_requests


class TransformersEngine(BaseEngine):
    """Draws from softmax(log p / temperature), one sequence after another."""

    def __init__(self, name: str) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32).eval()
        self._next = lru_cache(maxsize=256)(self._log_p)  # particles share the laws of what they have in common
        config, eos = self._model.config, self._model.generation_config.eos_token_id
        self._info = EngineInfo(
            name="transformers",
            model=name,
            vocab_size=config.vocab_size,
            eos_token_ids=(eos,) if isinstance(eos, int) else tuple(eos or ()),
            max_model_len=config.max_position_embeddings,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        check_requests(self.info, requests)
        for index, request in enumerate(requests):
            drawn = await asyncio.to_thread(self._draw, request)
            request.sequence.token_ids.extend(drawn.token_ids)
            yield index, drawn

    def _log_p(self, prefix: tuple[int, ...]) -> torch.Tensor:
        with torch.inference_mode():
            return self._model(torch.tensor([prefix]), logits_to_keep=1).logits[0, -1].double().log_softmax(-1)

    def _draw(self, request: Extend) -> Continuation:
        noise = torch.Generator().manual_seed(request.seed & (2**63 - 1))
        prefix = (*request.sequence.prompt_token_ids, *request.sequence.token_ids)
        drawn = Continuation([], [], [], [], "length")
        while len(drawn.token_ids) < request.max_new_tokens:
            log_p = self._next((*prefix, *drawn.token_ids))
            greedy = request.temperature == 0
            log_q = (log_p / (request.temperature or 1.0)).log_softmax(-1)
            token = int(log_p.argmax() if greedy else torch.multinomial(log_q.exp(), 1, generator=noise))
            drawn.token_ids.append(token)
            drawn.logprobs.append(float(log_p[token]))
            drawn.proposal_logprobs.append(0.0 if greedy else float(log_q[token]))
            if request.alpha is not None:
                drawn.log_z.append(float((request.alpha * log_p).logsumexp(-1)))
            if token in (*self.info.eos_token_ids, *request.stop_token_ids):
                return replace(drawn, finish_reason="eos" if token in self.info.eos_token_ids else "stop")
        return drawn


async def main(name: str, prompt: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(name)
    config = SMCConfig(n_particles=4, block_size=8, max_tokens=24, target="powered", alpha=2.0)
    result = await sample(TransformersEngine(name), tokenizer.encode(prompt), config=config, seed=0)
    for particle in result.particles:
        print(f"{particle.weight:.3f}  {tokenizer.decode(particle.token_ids)!r}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
