"""Drawing from the proposal: paths made longer, for blocks, rollouts and moves alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

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
from smc_decode.laws.targets import TargetLaw, matched_log_z
from smc_decode.result import Usage
from smc_decode.sampler.draw_tree import NO_DRAFT, Draft, DrawTree
from smc_decode.sampler.stop_strings import StopStrings
from smc_decode.sampler.trajectory import Path


@dataclass(frozen=True, slots=True)
class Job:
    """Extend ``path``, whose tokens ``sequence`` holds, to at most ``end`` generated tokens."""

    path: Path
    sequence: LiveSequence
    end: int
    seed: int
    temperature: float


class Proposer:
    """The engine as the sampler sees it: one call extends a whole list of paths.

    It keeps the run's live sequences, so that nothing stays behind in the engine when the run ends.
    """

    def __init__(
        self, engine: Engine, config: SMCConfig, law: TargetLaw, usage: Usage, *, keep_logprobs: bool = False
    ) -> None:
        self._engine = engine
        self._config = config
        self._law = law
        self._usage = usage
        self._tree = DrawTree() if self._drafts(config) else None
        self._logprobs = law.needs_logprobs or keep_logprobs
        # Engines know the common case by identity.
        self._shaping = NO_SHAPING if config.shaping == NO_SHAPING else config.shaping
        self._stop = StopStrings(config.stop, engine.tokenizer)
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
        mismatched = not all(map(config.matches, temperatures))
        if self._law.needs_log_z and mismatched and not info.exact_log_z:
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
        jobs: Sequence[Job],
        *,
        account: str,
        done: dict[int, Path] | None = None,
        arrived: Callable[[int, Path], None] | None = None,
    ) -> list[Path]:
        """The paths, longer; one engine call. ``account`` names the field of Usage that pays.

        ``done`` is filled as continuations arrive, so that a caller that is interrupted has what was finished;
        ``arrived`` is told of each.
        """
        paths: dict[int, Path] = {} if done is None else done
        if not jobs:
            return []

        async def put(index: int, continuation: Continuation) -> None:
            path, cut = self._stop.apply(self._grown(jobs[index], continuation))
            if cut:
                await self._engine.rewind(jobs[index].sequence, len(path))
            paths[index] = path
            if arrived is not None:
                arrived(index, path)

        drafts = [self._draft(job) for job in jobs]
        for index, draft in enumerate(drafts):
            if draft.complete:
                await put(index, draft.continued(None))
        left = [index for index, draft in enumerate(drafts) if not draft.complete]
        if not left:
            return [paths[index] for index in range(len(jobs))]
        self._usage.engine_calls += 1
        requests = [self._request(jobs[index], drafts[index]) for index in left]
        async with aclosing(self._engine.extend(requests)) as stream:
            async for number, continuation in stream:
                index = left[number]
                drawn = len(continuation.token_ids)
                setattr(self._usage, account, getattr(self._usage, account) + drawn)
                self._usage.prompt_cached += continuation.prompt_cached
                self._usage.prompt_computed += continuation.prompt_computed
                continuation = drafts[index].continued(continuation)
                if self._tree is not None and self._config.matches(jobs[index].temperature):
                    self._tree.add(jobs[index].path.token_ids, continuation)
                await put(index, continuation)
        return [paths[index] for index in range(len(jobs))]

    def _draft(self, job: Job) -> Draft:
        """The job's beginning, as far as earlier draws decide it; its sequence then has it already."""
        if self._tree is None or not self._config.matches(job.temperature):
            return NO_DRAFT
        draft = self._tree.draft(job.path.token_ids, job.end - len(job.path), job.seed)
        job.sequence.token_ids.extend(draft.token_ids)
        self._usage.drafted += len(draft.token_ids)
        return draft

    def _request(self, job: Job, draft: Draft) -> Extend:
        config, matched = self._config, self._config.matches(job.temperature)
        drafting = self._tree is not None and matched
        return Extend(
            sequence=job.sequence,
            max_new_tokens=job.end - len(job.path) - len(draft.token_ids),
            temperature=job.temperature,
            seed=job.seed,
            alpha=config.alpha if self._law.needs_log_z and not matched else None,
            logprobs=self._logprobs or drafting,
            proposal_logprobs=self._law.needs_logprobs or drafting,
            stop_token_ids=config.stop_token_ids,
            shaping=self._shaping,
            excluded=draft.excluded,
        )

    def _grown(self, job: Job, drawn: Continuation) -> Path:
        path, config = job.path, self._config
        log_z: tuple[float, ...] = tuple(drawn.log_z)
        if self._law.needs_log_z and not log_z:
            log_z = matched_log_z(config.alpha, drawn.logprobs, drawn.proposal_logprobs)
        length = len(path) + len(drawn.token_ids)
        reason: FinishReason | None = drawn.finish_reason
        if reason == "length" and length < config.max_tokens:
            reason = None
        return Path(
            path.token_ids + tuple(drawn.token_ids),
            path.logprobs + tuple(drawn.logprobs),
            path.proposal_logprobs + tuple(drawn.proposal_logprobs),
            path.log_z + log_z,
            finish_reason=reason,
            log_potential=None,
            log_potentials=path.log_potentials[: len(path) // config.block_size],
        )

    def _keep(self, sequence: LiveSequence) -> LiveSequence:
        self._live[id(sequence)] = sequence
        return sequence

    async def release(self, kept: Sequence[LiveSequence] = ()) -> None:
        """Close every live sequence but those in ``kept``."""
        keep = {id(sequence) for sequence in kept}
        for key in [key for key in self._live if key not in keep]:
            await self._engine.close(self._live.pop(key))
