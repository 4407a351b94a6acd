"""Asking the potential: at which prefixes, each once, and what comes of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from smc_decode.potentials.ask import ask
from smc_decode.potentials.base import Evaluation, Potential, Prefix, check_log_value, inexact_of, name_of, positive_of
from smc_decode.result import Usage
from smc_decode.sampler.trajectory import Trajectory

Key = tuple[tuple[int, ...], bool]
"""What a potential's answer depends on: a prefix's tokens, and whether it is complete."""


class Scorer:
    """Puts the potential's answers on trajectories, for one run.

    Prefixes that were asked before (copies after resampling, rollouts that became particles) are not asked again,
    unless the potential says that its answers depend on more than the prefix. Complete sequences that arrive while
    the engine still works on others (:meth:`arrived`) are asked about meanwhile: answers, and what is asked, are the
    same with and without.
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
        self._known: dict[Key, Evaluation] = {}
        self._early: list[Trajectory] = []
        self._asked: dict[Key, tuple[asyncio.Future[list[Evaluation]], int]] = {}

    async def score(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """The same trajectories, scored. Those that are already scored pass through.

        Raises PotentialError for NaN, +inf and whatever else a potential raises, RewardFailure when the reward failed.
        """
        if self._potential is None:
            return [each if each.log_potential is not None else each.scored(0.0) for each in trajectories]
        wanted = [() if each.log_potential is not None else self._boundaries(each) for each in trajectories]
        questions = [(each, end) for each, ends in zip(trajectories, wanted, strict=True) for end in ends]
        answers = iter(await self._ask(questions))
        return [
            each if each.log_potential is not None else self._put(each, [next(answers) for _ in ends])
            for each, ends in zip(trajectories, wanted, strict=True)
        ]

    def _boundaries(self, trajectory: Trajectory) -> Sequence[int]:
        """The lengths of the prefixes whose potential is missing (docs/method.md, "Potentials")."""
        kind, length = self._kind, len(trajectory)
        if kind == "terminal":
            return [length] if trajectory.finished else []
        if self._only_the_last:
            return [length]
        blocks = -(-length // self._block_size)
        known = len(trajectory.log_potentials)
        return [min(k * self._block_size, length) for k in range(known + 1, blocks + 1)]

    @property
    def inexact(self) -> str | None:
        """Why there is no fixed target, or None; a reward that fails may say so in the middle of the run."""
        return None if self._potential is None else inexact_of(self._potential)

    @property
    def takes_back(self) -> bool:
        """Whether what is said of a prefix counts only until more is known: a telescoping potential."""
        return self._kind == "telescoping"

    @property
    def _only_the_last(self) -> bool:
        """Whether a prefix's product of potentials is what is said of it, whatever was said of its own prefixes."""
        if self._potential is None or self._potential.kind == "product":
            return False
        return self._potential.kind == "terminal" or positive_of(self._potential)

    @property
    def _who(self) -> str:
        return "" if self._potential is None else f"the sum over blocks of the potential {name_of(self._potential)!r}"

    @property
    def _kind(self) -> str:
        return "product" if self._potential is None else self._potential.kind

    def _put(self, trajectory: Trajectory, answers: Sequence[Evaluation]) -> Trajectory:
        if not answers:  # of a part of a rollout all is known; a terminal potential says nothing of what is unfinished
            total = trajectory.log_potentials[-1] if trajectory.log_potentials else 0.0
            return trajectory.scored(total, trajectory.log_potentials, total if trajectory.log_potentials else None)
        last = answers[-1]
        if self._only_the_last:
            return trajectory.scored(last.log_value, (), _shown(last, last.log_value), last.detail, last.at_most)
        totals = list(trajectory.log_potentials)
        for answer in answers:
            totals.append(self._total(totals[-1] if totals else 0.0, answer.log_value))
        return trajectory.scored(totals[-1], tuple(totals), _shown(last, totals[-1]), last.detail, last.at_most)

    def _total(self, before: float, log_value: float) -> float:
        """log of the product of the potentials so far. A value of 0 is final: no later R brings it back (0 * R/0)."""
        if self._kind == "product":
            return check_log_value(before + log_value, self._who)
        return -math.inf if before == -math.inf else log_value

    async def _ask(self, questions: Sequence[tuple[Trajectory, int]]) -> list[Evaluation]:
        self._early.clear()
        potential = self._potential
        if potential is None or not questions:
            return []
        keys = [
            (trajectory.token_ids[:end], trajectory.finished and end == len(trajectory))
            for trajectory, end in questions
        ]
        known = self._known if potential.cacheable else {}
        seen: set[Key] = set()
        fresh: list[Key] = []
        batch: list[Prefix] = []
        for (trajectory, end), key in zip(questions, keys, strict=True):
            if potential.cacheable and (key in known or key in seen):
                self._usage.reward_cached += 1
            elif key not in self._asked:
                fresh.append(key)
                batch.append(self._prefix(trajectory, end))
            seen.add(key)
        evaluations = await self._evaluate(batch)
        if not potential.cacheable:
            return evaluations
        known.update(zip(fresh, evaluations, strict=True))
        for key in seen & self._asked.keys():
            answers, number = self._asked[key]
            known[key] = (await asyncio.shield(answers))[number]
            del self._asked[key]
        return [known[key] for key in keys]

    def _prefix(self, trajectory: Trajectory, end: int) -> Prefix:
        return Prefix(
            token_ids=trajectory.token_ids[:end],
            finished=trajectory.finished and end == len(trajectory),
            prompt_token_ids=self._prompt_token_ids,
            prompt_text=self._prompt_text,
            logprobs=trajectory.logprobs[:end] if trajectory.logprobs else None,
            decode=self._decode,
        )

    async def _evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        potential = self._potential
        if potential is None or not batch:
            return []
        self._usage.reward_calls += len(batch)
        return await ask(potential, batch)

    # ---- while the engine works -------------------------------------------------------------------------------

    def arrived(self, index: int, trajectory: Trajectory) -> None:
        """A continuation is there, and others are not yet. What arrives in one go is asked about in one go."""
        if self._potential is None or not self._potential.cacheable or not trajectory.finished:
            return
        if not self._early:
            asyncio.get_running_loop().call_soon(self._ask_early)
        self._early.append(trajectory)

    def _ask_early(self) -> None:
        """Begin what :meth:`score` will ask for; nothing, where it has been called by now."""
        ends = [(trajectory, end) for trajectory in self._early for end in self._boundaries(trajectory)[-1:]]
        self._early.clear()
        questions = {(trajectory.token_ids, True): (trajectory, end) for trajectory, end in ends}
        fresh = [key for key in questions if key not in self._known and key not in self._asked]
        if not fresh:
            return
        answers = asyncio.ensure_future(self._evaluate([self._prefix(*questions[key]) for key in fresh]))
        self._asked |= {key: (answers, number) for number, key in enumerate(fresh)}

    async def release(self) -> None:
        """Give up what was begun and never asked for."""
        begun = {answers for answers, _ in self._asked.values()}
        self._early.clear()
        self._asked.clear()
        for answers in begun:
            answers.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


def _shown(evaluation: Evaluation, log_potential: float) -> float:
    return log_potential if evaluation.reward is None else evaluation.reward
