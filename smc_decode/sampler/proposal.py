"""Drawing from the proposal: trajectories made longer, for blocks, rollouts and moves alike."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from smc_decode.config import SMCConfig
from smc_decode.engines.base import (
    NO_SHAPING,
    Continuation,
    Engine,
    EngineRequestError,
    Extend,
    FinishReason,
    LiveSequence,
)
from smc_decode.engines.checks import check_continuation
from smc_decode.laws.codes import lattice
from smc_decode.laws.targets import matched_log_z
from smc_decode.result import Usage
from smc_decode.sampler.draw_tree import NO_DRAFT, Draft, DrawTree
from smc_decode.sampler.stop_strings import StopStrings
from smc_decode.sampler.target import TargetLaw
from smc_decode.sampler.trajectory import Trajectory

Account = Literal["sampled", "rollout", "mh"]


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """Extend ``trajectory``, whose tokens ``sequence`` holds, to at most ``end`` generated tokens."""

    trajectory: Trajectory
    sequence: LiveSequence
    end: int
    seed: int
    temperature: float


class Proposal:
    """The engine as the sampler sees it: one call extends a whole list of trajectories.

    It keeps the run's live sequences, so that nothing stays behind in the engine when the run ends.
    """

    def __init__(
        self,
        engine: Engine,
        config: SMCConfig,
        target: TargetLaw,
        usage: Usage,
        *,
        keep_logprobs: bool = False,
        reads: Callable[[str], str] | None = None,
    ) -> None:
        self._engine = engine
        self._config = config
        self._target = target
        self._usage = usage
        self._tree = DrawTree() if self._drafts(config) else None
        self._logprobs = target.needs_logprobs or keep_logprobs
        # Engines know the common case by identity.
        self._shaping = NO_SHAPING if config.shaping == NO_SHAPING else config.shaping
        self._stop = StopStrings(config.stop, engine.tokenizer, reads)
        self._live: dict[int, LiveSequence] = {}
        self._check_engine()

    def _drafts(self, config: SMCConfig) -> bool:
        """Whether this run draws from the same prefixes again, in a way for which drafts are exact."""
        again = config.n_passes > 1 or config.lookahead.rollouts or config.rejuvenation.steps
        able = self._engine.info.excludes and config.temperature > 0 and not config.shaping.truncates
        return config.draft_draws and bool(again) and able

    def _check_engine(self) -> None:
        config, info = self._config, self._engine.info
        temperatures = {config.temperature}
        if config.lookahead.rollouts and config.lookahead.temperature is not None:
            temperatures.add(config.lookahead.temperature)
        mismatched = not all(map(self._target.matches, temperatures))
        if self._target.needs_log_z and mismatched and not info.exact_log_z:
            raise EngineRequestError(
                f"engine {info.name!r} gives log z only at temperature 1/alpha: leave proposal_temperature and "
                "lookahead.temperature out"
            )

    async def open(self, prompt_token_ids: Sequence[int]) -> LiveSequence:
        """The sequence of the bare prompt."""
        return self._keep(await self._engine.open(prompt_token_ids))

    async def fork(self, sequence: LiveSequence, length: int) -> LiveSequence:
        """A copy of a sequence, cut to its first ``length`` generated tokens."""
        copy = self._keep(await self._engine.fork(sequence))
        if length < len(copy.token_ids):
            await self._engine.rewind(copy, length)
        return copy

    async def extend(
        self,
        requests: Sequence[DrawRequest],
        *,
        account: Account,
        done: dict[int, Trajectory] | None = None,
        arrived: Callable[[int, Trajectory], None] | None = None,
    ) -> list[Trajectory]:
        """The trajectories, longer; one engine call. ``account`` names the field of Usage that pays.

        ``done`` is filled as continuations arrive, so that a caller that is interrupted has what was finished;
        ``arrived`` is told of each.
        """
        trajectories: dict[int, Trajectory] = {} if done is None else done

        async def put(index: int, continuation: Continuation) -> None:
            trajectory, cut = self._stop.apply(self._grown(requests[index], continuation))
            if cut:
                await self._engine.rewind(requests[index].sequence, len(trajectory))
            trajectories[index] = trajectory
            if arrived is not None:
                arrived(index, trajectory)

        codes = self._codes(requests)
        drafts = [self._draft(request, code) for request, code in zip(requests, codes, strict=True)]
        for index, draft in enumerate(drafts):
            if draft.complete:
                await put(index, draft.continued(None))
        left = [index for index, draft in enumerate(drafts) if not draft.complete]
        drawn: dict[int, Continuation] = {}
        try:
            async with aclosing(self._drawn([self._extend(requests[i], drafts[i]) for i in left])) as stream:
                async for number, continuation in stream:
                    index = left[number]
                    self._pay(account, continuation)
                    drawn[index] = drafts[index].continued(continuation)
                    await put(index, drawn[index])
        finally:
            self._remember(requests, drawn)
        return [trajectories[index] for index in range(len(requests))]

    async def _drawn(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        """The engine's answers, as they come."""
        if not requests:
            return
        self._usage.engine_calls += 1
        async with aclosing(self._engine.extend(requests)) as stream:
            async for index, continuation in stream:
                check_continuation(self._engine.info, requests[index], continuation)
                yield index, continuation

    def _pay(self, account: Account, continuation: Continuation) -> None:
        setattr(self._usage, account, getattr(self._usage, account) + len(continuation.token_ids))
        self._usage.computed_rows += _computed(continuation)
        self._usage.prompt_cached += continuation.prompt_cached
        self._usage.prompt_computed += continuation.prompt_computed

    def _remember(self, requests: Sequence[DrawRequest], drawn: Mapping[int, Continuation]) -> None:
        """Keep what was drawn for later drafts, in the order of the requests: that of arrival must not matter."""
        if self._tree is None:
            return
        for index in sorted(drawn):
            if self._target.matches(requests[index].temperature):
                self._tree.add(requests[index].trajectory.token_ids, drawn[index])

    def _codes(self, requests: Sequence[DrawRequest]) -> list[float | None]:
        """Codes that spread the draws from each prefix evenly, where draws are systematic and there are several."""
        codes: list[float | None] = [None] * len(requests)
        if self._config.proposal_draws == "independent" or not self._engine.info.codes:
            return codes
        alike: dict[tuple[tuple[int, ...], float], list[int]] = {}
        for index, request in enumerate(requests):
            if request.temperature > 0:
                alike.setdefault((request.trajectory.token_ids, request.temperature), []).append(index)
        for indices in alike.values():
            if len(indices) > 1:
                # Of a stream of its own: the first draw's seed gives its later tokens too.
                shift = random.Random(f"lattice {requests[indices[0]].seed}").random()
                for index, code in zip(indices, lattice(shift, len(indices)), strict=True):
                    codes[index] = code
        return codes

    def _draft(self, request: DrawRequest, code: float | None) -> Draft:
        """The draw's beginning, as far as earlier draws decide it; its sequence then has it already."""
        if self._tree is None or not self._target.matches(request.temperature):
            return NO_DRAFT if code is None else Draft(code=code)
        length = request.end - len(request.trajectory)
        draft = self._tree.draft(request.trajectory.token_ids, length, request.seed, code)
        request.sequence.token_ids.extend(draft.token_ids)
        self._usage.drafted += len(draft.token_ids)
        return draft

    def _extend(self, request: DrawRequest, draft: Draft) -> Extend:
        """What the engine is asked for."""
        config, matched = self._config, self._target.matches(request.temperature)
        drafting = self._tree is not None and matched
        return Extend(
            sequence=request.sequence,
            max_new_tokens=request.end - len(request.trajectory) - len(draft.token_ids),
            temperature=request.temperature,
            seed=request.seed,
            alpha=config.alpha if self._target.needs_log_z and not matched else None,
            logprobs=self._logprobs or drafting,
            proposal_logprobs=self._target.needs_logprobs or drafting,
            stop_token_ids=config.stop_token_ids,
            shaping=self._shaping,
            excluded=draft.excluded,
            code=draft.code,
        )

    def _grown(self, request: DrawRequest, drawn: Continuation) -> Trajectory:
        before, config = request.trajectory, self._config
        log_z: tuple[float, ...] = tuple(drawn.log_z)
        if self._target.needs_log_z and not log_z:
            log_z = matched_log_z(config.alpha, drawn.logprobs, drawn.proposal_logprobs)
        length = len(before) + len(drawn.token_ids)
        reason: FinishReason | None = drawn.finish_reason
        if reason == "length" and length < config.max_tokens:
            reason = None
        return Trajectory(
            before.token_ids + tuple(drawn.token_ids),
            before.logprobs + tuple(drawn.logprobs),
            before.proposal_logprobs + tuple(drawn.proposal_logprobs),
            before.log_z + log_z,
            finish_reason=reason,
            log_potential=None,
            log_potentials=before.log_potentials[: len(before) // config.block_size],
        )

    def _keep(self, sequence: LiveSequence) -> LiveSequence:
        self._live[id(sequence)] = sequence
        return sequence

    async def release(self, kept: Iterable[LiveSequence] = ()) -> None:
        """Close every live sequence but those in ``kept``."""
        keep = {id(sequence) for sequence in kept}
        for key in [key for key in self._live if key not in keep]:
            await self._engine.close(self._live.pop(key))


def _computed(continuation: Continuation) -> int:
    return len(continuation.token_ids) if continuation.computed is None else continuation.computed
