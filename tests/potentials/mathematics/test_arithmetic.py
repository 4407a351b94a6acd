"""The arithmetic reward: the share of the claims that hold, and what is done with what cannot be worked out."""

from __future__ import annotations

from smc_decode.potentials.mathematics.arithmetic import Arithmetic, ArithmeticOptions
from smc_decode.workers import pool
from tests.potentials.answers import answer


async def test_the_share_of_claims_that_hold(workers):
    source = Arithmetic(workers)
    right, half, wrong, none = await source.rewards(
        [answer("2 + 2 = 4\n"), answer("2 + 2 = 4\n4 + 1 = 6\n"), answer("1 + 1 = 3\n"), answer("Let me think.")]
    )
    assert (right.value, half.value, wrong.value, none.value) == (1.0, 0.5, 0.0, 0.5)
    assert half.detail == {"basis": "equalities", "held": 1, "total": 2, "first_wrong": "4 + 1 = 6"}


async def test_latex_goes_to_a_worker(workers):
    source = Arithmetic(workers)
    text = "$\\int_0^2 x \\, dx = 2$, $(x+1)^2 = x^2 + 2x + 1$, $\\sqrt{x} + 1 = 3$ and $\\sum_{k=1}^{3} k = 7$"
    got = (await source.rewards([answer(text)]))[0]
    assert (got.detail["held"], got.detail["total"]) == (2, 3)
    assert got.detail["first_wrong"] == "\\sum_{k=1}^{3} k = 7"


async def test_a_busy_machine_turns_no_true_identity_into_a_false_one(workers, monkeypatch):
    """The limit is of the worker's processor time: stopped for longer than that, it still says that the claim holds."""
    waiting = pool.os.read
    stopped = []

    def slow(descriptor, size):
        if not stopped:
            stopped.append(True)
            pool.time.sleep(1.2)
        return waiting(descriptor, size)

    monkeypatch.setattr(pool.os, "read", slow)
    source = Arithmetic(workers, ArithmeticOptions(timeout=0.5))
    got = (await source.rewards([answer("$\\sum_{k=1}^{4} k = 10$")]))[0]
    assert (got.value, stopped) == (1.0, [True])


async def test_a_claim_that_is_too_large_or_too_slow_does_not_hold(workers):
    source = Arithmetic(workers, ArithmeticOptions(timeout=0.3))
    text = "9**9**9 + 1 = 2\n$\\sum_{k=1}^{3} 9^{9^{9^{9}}} + k = 2$"
    got = await source.rewards([answer(text), answer("$\\sum_{k=1}^{2} k = 3$")])
    assert got[0].value == 0.0
    assert got[1].value == 1.0


async def test_a_claim_is_asked_of_sympy_once(workers):
    source = Arithmetic(workers)
    first, second = "$\\sum_{k=1}^{2} k = 3$\n", "$\\sum_{k=1}^{3} k = 6$\n"
    await source.rewards([answer(first), answer(first + second)])
    await source.rewards([answer(second)])
    assert (source.cache.calls, source.cache.hits) == (2, 1)
