"""Moves inside a run: whom each mode proposes to move, and the kernel that comes of it, enumerated."""

import math
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from smc_decode import events, run
from smc_decode.potentials import FunctionPotential
from tests.choices import Choices, EnumeratedEngine, EnumeratedGenerator
from tests.enumeration import MODELS, Model, mod_logits, soft
from tests.harness import config_of, engine_of, potential_of

# ---- whom paper mode moves ----------------------------------------------------------------------------------------

THRESHOLD = 0.9


async def rounds(seed, **settings):
    """(ancestors, rewards before, proposed) of the first move after each resampling of a run in paper mode."""
    model = MODELS["tempered-no-eos-telescoping"]
    rejuvenation = {"steps": 2, "mode": "paper", "reward_threshold": THRESHOLD}
    config = config_of(model, n_particles=12, ess_threshold=1.0, rejuvenation=rejuvenation, **settings)
    weighed, resampled, found = None, None, []
    async for event in run(engine_of(model), (), potential_of(model), config, seed=seed):
        if isinstance(event, events.Weighted):
            weighed, resampled = event, None
        elif isinstance(event, events.Resampled):
            resampled = event
        elif isinstance(event, events.Rejuvenated) and event.step == 0 and resampled is not None:
            found.append((resampled.ancestors.tolist(), weighed.rewards, event.proposed.tolist()))
    return found


@pytest.mark.parametrize("resampling", ["systematic", "multinomial"])
async def test_paper_mode_moves_all_copies_but_the_first_where_their_reward_is_below_the_threshold(resampling):
    moved = stayed = first = 0
    for seed in range(20):
        for ancestors, rewards, proposed in await rounds(seed, resampling=resampling):
            for i, ancestor in enumerate(ancestors):
                copy, low = ancestor in ancestors[:i], rewards[ancestor] < THRESHOLD
                assert proposed[i] == (copy and low)
                moved, stayed, first = moved + (copy and low), stayed + (copy and not low), first + (low and not copy)
    assert min(moved, stayed, first) > 20


async def test_the_other_modes_move_everybody():
    model = MODELS["tempered-eos-product"]
    for mode in ("exact", "corrected"):
        config = config_of(model, rejuvenation={"steps": 2, "mode": mode, "reward_threshold": THRESHOLD})
        told = [event async for event in run(engine_of(model), (), potential_of(model), config, seed=0)]
        assert all(event.proposed.all() for event in told if isinstance(event, events.Rejuvenated))


# ---- the kernel ---------------------------------------------------------------------------------------------------

SMALL = {
    model.name: model
    for model in [
        Model("tempered", mod_logits(3), 3, 4, 2, log_psi=soft),
        Model("tempered-no-eos", mod_logits(2, eos=False), 2, 4, 2, eos=None, log_psi=soft, alpha=1.5),
        Model("powered", mod_logits(3, 0.5), 3, 4, 2, target="powered", log_psi=soft),
    ]
}


CLOSE = 1e-12


class MoveGenerator(EnumeratedGenerator):
    """Gives this cut and this uniform number to the move of a copy of the first particle."""

    def __init__(self, cut: int, uniform: float) -> None:
        super().__init__(Choices())
        self.cut, self.uniform = cut, uniform
        self.moving = False
        self.lengths: set[int] = set()
        """Among how many cuts it was asked to choose."""

    def integers(self, low, *args, **kwargs):
        if low > 2**31:
            return 0
        self.lengths.add(low)
        return self.cut

    def random(self, size=None, *args, **kwargs):
        if self.moving:
            return self.uniform
        return 0.25 if size is None else np.full(size, 0.25)  # of two equal weights, the first


async def accepted(model, rejuvenation, x, cut, y, uniform):
    """Whether a duplicate of ``x`` moves to ``y``, when it was cut at ``cut`` and draws this uniform number."""
    engine, generator = EnumeratedEngine(model, Choices()), MoveGenerator(cut, uniform)
    settings = {"n_particles": 2, "resampling": "multinomial", "ess_threshold": 1.0, "draft_draws": False}
    config = config_of(model, rejuvenation=rejuvenation, **settings)
    engine.forced = x
    potential = FunctionPotential(model.log_psi, model.kind)
    async with aclosing(run(engine, (), potential, config, seed=generator)) as stream:
        async for event in stream:
            if isinstance(event, events.Resampled):
                assert event.ancestors.tolist() == [0, 0]
                generator.moving, engine.forced = True, y
            if isinstance(event, events.Rejuvenated):
                assert generator.lengths == {len(x)}
                assert event.proposed.tolist() == [rejuvenation["mode"] != "paper", True]
                return bool(event.accepted[1])
    raise AssertionError("nothing was moved")


async def acceptance(*move, guess):
    """The share of uniform numbers that accept: those on one side of some number, found by bisection.

    ``guess``: where to look first, which saves time where it is right.
    """
    low, high = 0.0, 1.0 - 2.0**-53
    at_zero, at_one = await accepted(*move, low), await accepted(*move, high)
    if at_zero == at_one:
        return float(at_zero)
    for near in (guess, 1.0 - guess):
        around = near - CLOSE, near + CLOSE
        if around[0] > 0.0 and around[1] < 1.0 and [await accepted(*move, u) for u in around] == [at_zero, at_one]:
            return guess
    while high - low > CLOSE:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if await accepted(*move, middle) == at_zero else (low, middle)
    return low if at_zero else 1.0 - low


async def kernel(model, rejuvenation, log_target):
    """K[x, y] of one move of a duplicate after the first block. ``log_target`` is where guesses come from."""
    states = list(log_target)
    log_q = {x: [float(tempered(model, x[:t])[x[t]]) for t in range(len(x))] for x in states}
    matrix = np.zeros((len(states), len(states)))
    for i, x in enumerate(states):
        for j, y in enumerate(states):
            for cut in range(min(len(x), len(y))):
                if y[:cut] == x[:cut]:
                    log_ratio = log_target[y] + sum(log_q[x][cut:]) - log_target[x] - sum(log_q[y][cut:])
                    guess = min(1.0, math.exp(log_ratio) * len(x) / len(y))
                    share = await acceptance(model, rejuvenation, x, cut, y, guess=guess)
                    matrix[i, j] += math.exp(sum(log_q[y][cut:])) / len(x) * share
        matrix[i, i] += 1.0 - matrix[i].sum()
    return matrix


def tempered(model, tokens):
    """log q of every next token at temperature 1/alpha."""
    powered = model.alpha * model.logprobs(tokens)
    return powered - np.logaddexp.reduce(powered)


def normalised(log_gamma):
    values = np.exp(list(log_gamma.values()))
    return values / values.sum()


KERNELS = [
    ("tempered", "paper", "powered"),
    ("tempered-no-eos", "paper", "powered"),
    ("powered", "paper", "powered"),
    ("tempered", "corrected", "powered"),
    ("tempered", "exact", "tempered"),
    ("powered", "exact", "powered"),
]


@pytest.mark.parametrize(("name", "mode", "target"), KERNELS)
async def test_moves_accept_for_the_target_of_their_mode(name, mode, target):
    """``paper`` and ``corrected`` moves leave Target II invariant inside a Target I run, ``exact`` ones the run's."""
    model = SMALL[name]
    targets = {each: replace(model, target=each).log_intermediate(0) for each in ("tempered", "powered")}
    log_target = targets.pop(target)
    matrix = await kernel(model, {"steps": 1, "mode": mode, "reward_threshold": 100.0}, log_target)
    right, [wrong] = normalised(log_target), map(normalised, targets.values())
    assert np.all(matrix > -1e-12)
    assert np.abs(right @ matrix - right).max() < 1e-10
    assert np.abs(wrong @ matrix - wrong).max() > 1e-3
