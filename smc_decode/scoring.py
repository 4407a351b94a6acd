"""Asking the potential: at which prefixes, each once, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from smc_decode.paths import Path
from smc_decode.potentials.base import Evaluation, Potential, PotentialError, Prefix
from smc_decode.result import Usage


class Scorer:
    """Puts the potential's answers on paths, for one run.

    Prefixes that were asked before (copies after resampling, rollouts that became particles) are not asked again,
    unless the potential says that its answers depend on more than the prefix.
    """

    def __init__(
        self,
        potential: Potential | None,
        usage: Usage,
        block_size: int,
        prompt_token_ids: tuple[int, ...],
        prompt_text: str,
        decode: Callable[[Sequence[int]], str] | None,
    ) -> None:
        self._potential = potential
        self._usage = usage
        self._block_size = block_size
        self._prompt_token_ids = prompt_token_ids
        self._prompt_text = prompt_text
        self._decode = decode
        self._known: dict[tuple[tuple[int, ...], bool], Evaluation] = {}

    async def score(self, paths: Sequence[Path]) -> list[Path]:
        """The same paths, scored. Paths that are already scored pass through.

        Raises PotentialError for NaN or +inf, RewardFailure when the reward itself failed.
        """
        if self._potential is None:
            return [path if path.log_potential is not None else path.scored(0.0, (), None, {}) for path in paths]
        wanted = [() if path.log_potential is not None else self._boundaries(path) for path in paths]
        answers = await self._ask([(path, end) for path, ends in zip(paths, wanted, strict=True) for end in ends])
        scored = []
        position = 0
        for path, ends in zip(paths, wanted, strict=True):
            if path.log_potential is None:
                path = self._put(path, answers[position : position + len(ends)])
            position += len(ends)
            scored.append(path)
        return scored

    def _boundaries(self, path: Path) -> list[int]:
        """The lengths of the prefixes whose potential is missing (docs/method.md, "Potentials")."""
        kind = self._kind
        if kind == "terminal":
            return [len(path)] if path.finished else []
        if kind == "telescoping":
            return [len(path)]
        blocks = -(-len(path) // self._block_size)
        return [min(k * self._block_size, len(path)) for k in range(len(path.log_potentials) + 1, blocks + 1)]

    @property
    def _kind(self) -> str:
        return "product" if self._potential is None else self._potential.kind

    def _put(self, path: Path, answers: Sequence[Evaluation]) -> Path:
        if not answers:  # a terminal potential says nothing of an unfinished sequence: psi = 1
            total = path.log_potentials[-1] if path.log_potentials else 0.0
            return path.scored(total, path.log_potentials, None, {})
        last = answers[-1]
        if self._kind != "product":
            return path.scored(last.log_value, (), _shown(last, last.log_value), last.detail)
        totals = list(path.log_potentials)
        for answer in answers:
            totals.append((totals[-1] if totals else 0.0) + answer.log_value)
        return path.scored(totals[-1], tuple(totals), _shown(last, totals[-1]), last.detail)

    async def _ask(self, questions: Sequence[tuple[Path, int]]) -> list[Evaluation]:
        potential = self._potential
        if potential is None or not questions:
            return []
        keys = [(path.token_ids[:end], path.finished and end == len(path)) for path, end in questions]
        known = self._known if potential.cacheable else {}
        fresh: dict[tuple[tuple[int, ...], bool], Prefix] = {}
        batch: list[Prefix] = []
        for (path, end), key in zip(questions, keys, strict=True):
            if key in known or (potential.cacheable and key in fresh):
                self._usage.reward_cached += 1
                continue
            prefix = Prefix(
                token_ids=key[0],
                finished=key[1],
                prompt_token_ids=self._prompt_token_ids,
                prompt_text=self._prompt_text,
                logprobs=path.logprobs[:end] if path.logprobs else None,
                decode=self._decode,
            )
            fresh[key] = prefix
            batch.append(prefix)
        self._usage.reward_calls += len(batch)
        evaluations = await potential.evaluate(batch) if batch else []
        if len(evaluations) != len(batch):
            raise PotentialError(
                f"potential {potential.name!r} gave {len(evaluations)} values for {len(batch)} prefixes"
            )
        for evaluation in evaluations:
            if math.isnan(evaluation.log_value) or evaluation.log_value == math.inf:
                raise PotentialError(
                    f"potential {potential.name!r} gave {evaluation.log_value}: values must be finite or -inf"
                )
        if not potential.cacheable:
            return list(evaluations)
        for key, evaluation in zip(fresh, evaluations, strict=True):
            known[key] = evaluation
        return [known[key] for key in keys]


def _shown(evaluation: Evaluation, log_potential: float) -> float:
    return log_potential if evaluation.reward is None else evaluation.reward
