"""From a configuration to the parts of Algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from smc_decode.answers.selection import answer_key
from smc_decode.engines.base import LiveSequence
from smc_decode.sampler.close import Close, Commit
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.extend import Extend, Start, as_it_is, from_own_end
from smc_decode.sampler.lookahead import LookAhead, Rollouts, TakeRollouts
from smc_decode.sampler.moves import MOVES, Move, first_cut
from smc_decode.sampler.recycle import Recycle
from smc_decode.sampler.resample import Resample, ResampleConditionally
from smc_decode.sampler.smc_pass import Algorithm, AsyncStep
from smc_decode.sampler.state import Extension, LiveParticle, State, Step
from smc_decode.sampler.stops import AnyOf, StopRule
from smc_decode.sampler.stops.posterior import PosteriorDecided
from smc_decode.sampler.stops.reward import RewardReached, SetAside
from smc_decode.sampler.tempering import Tempering
from smc_decode.sampler.trajectory import Trajectory
from smc_decode.sampler.weigh import Score, Weigh


@dataclass(frozen=True, slots=True)
class Parts:
    """What the passes of one run are made of. They share rollouts and moves; each pass has its own Algorithm."""

    context: RunContext
    rollouts: Rollouts | None
    moves: Sequence[Move]
    tempering: Tempering | None
    set_aside: SetAside | None

    @classmethod
    def of(cls, context: RunContext) -> Parts:
        """The parts that the run's configuration asks for."""
        config = context.config
        rollouts = Rollouts(context) if config.lookahead.rollouts else None
        moves = MOVES[config.rejuvenation.move](context, rollouts) if config.rejuvenation.steps else ()
        tempering = Tempering(context) if config.bridge.alpha or config.bridge.reward else None
        search = config.stop_at_reward is not None and config.first_pass_size is not None
        set_aside = SetAside(config.stop_at_reward) if search and config.stop_at_reward is not None else None
        return cls(context, rollouts, moves, tempering, set_aside)

    @property
    def recycles(self) -> bool:
        """Whether weighted rollouts are answers of the final population."""
        return self.rollouts is not None and self.context.config.recycles

    @property
    def pools(self) -> bool:
        """Whether the final population is a pool that was filled on the way."""
        return self.recycles or self.context.config.exchanges or self.context.config.recycles_moves

    @property
    def first_level(self) -> float:
        """How far the target is raised when a run begins."""
        return 1.0 if self.tempering is None else 0.0

    def algorithm(self, held: Sequence[LiveSequence], length: int | None = None) -> Algorithm:
        """An SMC pass. ``held``: sequences that later passes need. ``length``: how long earlier passes' answers are."""
        start: Start = from_own_end
        if self.rollouts is not None and self.rollouts.reusable:
            start = TakeRollouts(self.context, self.rollouts)
        first = self.context.config.first_lookahead(length) if self.rollouts is not None else 0
        return self._algorithm(start, held, early_stop=self.context.config.lookahead.early_stop, first=first)

    def conditional(self, held: Sequence[LiveSequence], reference: LiveParticle) -> Algorithm:
        """A pass of conditional SMC, whose particle 0 is the ``reference``.

        Rollout reuse and moves are off in it: the reference's own would have to be drawn from their law given it.
        """
        start = FollowReference(self.context, reference)
        plain = replace(self, moves=())._algorithm(start, held, early_stop=None)
        return replace(plain, resample=ResampleConditionally(self.context))

    def _algorithm(
        self, start: Start, held: Sequence[LiveSequence], *, early_stop: float | None, first: int = 0
    ) -> Algorithm:
        context = self.context
        further = context.config.n_passes > 1
        return Algorithm(
            extend=Extend(context, start, self._moves_follow),
            score=Score(context),
            look_ahead=self._look_ahead(first),
            weigh=Weigh(context, self.tempering),
            recycle=self._recycle(first),
            stop=AnyOf(self.stop_rules(early_stop)),
            # What a product's factors say of a prefix stands; a telescoping potential may take it back.
            resample=Resample(context, first if context.scorer.takes_back else 0),
            moves=self.moves,
            close=Close(context, held, self.tempering),
            commit=Commit(lambda block: 0 if further else self._final(block)),
        )

    def _final(self, block: int) -> int | None:
        """How many tokens no move changes after ``block`` or later; None: there are no moves."""
        return first_cut(self.moves, block) if self.moves else None

    def _moves_follow(self, block: int) -> bool:
        """Whether a move is scheduled after ``block`` or later, whatever the population looks like."""
        scheduled = self.context.config.rejuvenation.scheduled
        return bool(self.moves) and any(map(scheduled, range(block, self.context.n_blocks)))

    def _look_ahead(self, first: int) -> AsyncStep:
        if self.rollouts is None:
            return nothing
        return LookAhead(self.context, self.rollouts, self.hopeless, first)

    def _recycle(self, first: int) -> AsyncStep:
        if self.rollouts is None or not self.recycles:
            return nothing
        return Recycle(self.context.config, self.rollouts, self.context.n_blocks, first)

    def stop_rules(self, early_stop: float | None) -> list[StopRule]:
        """What may end a pass before its last block, in the order in which it is asked."""
        config, rules = self.context.config, list[StopRule]()
        if config.stop_at_reward is not None:
            rules.append(RewardReached(config.stop_at_reward))
        if self.set_aside is not None:
            rules.append(self.set_aside)
        if self.rollouts is not None:
            key = (
                answer_key(config.extractor, self.context.read)
                if early_stop is not None
                else answer_key("tokens", None)
            )
            rules.append(PosteriorDecided(self.rollouts, early_stop, key, recycling=self.recycles))
        return rules

    def hopeless(self, trajectory: Trajectory) -> bool:
        """Whether a search in passes has nothing to hope for from this trajectory."""
        return self.set_aside is not None and self.set_aside.hopeless(trajectory)


async def nothing(state: State) -> Step:
    """A step that is not part of this run."""
    return state, None


class FollowReference:
    """A start: particle 0 takes the next block of a path that is given."""

    def __init__(self, context: RunContext, reference: LiveParticle) -> None:
        self._context = context
        self._reference = reference

    async def __call__(self, state: State, end: int) -> list[Extension]:
        """The reference's block for particle 0; the others go on where they are."""
        extensions = [as_it_is(particle) for particle in state.particles]
        trajectory = self._reference.trajectory.head(end, self._context.config.block_size)
        sequence = await self._context.proposal.fork(self._reference.sequence, len(trajectory))
        extensions[0] = replace(extensions[0], trajectory=trajectory, sequence=sequence)
        return extensions
