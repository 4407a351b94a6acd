"""Algorithm 1 (arXiv 2604.16453), and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from smc_decode.sampler.moves import Move
from smc_decode.sampler.state import State, Step

AsyncStep = Callable[[State], Awaitable[Step]]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """The parts of a pass, in the order in which a block uses them.

    Each takes the state and gives the next one with one event (None: nothing to tell), and may find that there is
    nothing for it to do. Replace one, and it is another algorithm: ``dataclasses.replace(algorithm, resample=...)``.
    """

    extend: AsyncStep
    score: AsyncStep
    look_ahead: AsyncStep
    weigh: AsyncStep
    recycle: AsyncStep
    stop: AsyncStep
    resample: Callable[[State], Step]
    moves: Sequence[Move]
    close: AsyncStep
    commit: AsyncStep


async def smc_pass(do: Algorithm, state: State) -> AsyncGenerator[Step, None]:
    """One pass over the blocks of a population; the last state that it yields is its result.

    With q the proposal, m_t and psi_k the factors of the target gamma, and L^ the estimate of a prefix's future:

        extend      x_k ~ q(. | x_{1:k-1})
        score       psi_k(x_{1:k})
        look ahead  L^_k(x_{1:k})
        weigh       w *= prod m/q * psi_k * L^_k / L^_{k-1}
        recycle     the rollouts, weighted, are answers too
        stop?       complete, budget, reward reached, posterior decided
        resample    where ESS < kappa N
        move        x ~ K(x, .), which leaves gamma_k L^_k invariant
        close       the block's account, and on to the next

    Raises BudgetSpent where a budget ends in the middle of a step: the last state that was yielded holds.
    """
    while not state.over:
        for step in (do.extend, do.score, do.look_ahead, do.weigh, do.recycle, do.stop):
            state, event = await step(state)
            yield state, event
        if state.over:
            return
        state, event = do.resample(state)
        yield state, event
        for move in do.moves:
            if move.due(state.block, state):
                state, event = await move(state)
                yield state, event
        state, event = await do.close(state)
        yield state, event
        state, event = await do.commit(state)
        yield state, event
