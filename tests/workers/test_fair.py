"""Places are shared round robin by key, and a request pays for what it uses."""

from __future__ import annotations

import asyncio
import threading

import pytest

from smc_decode.potentials.accounts import Account, BudgetSpent, PaidSandbox, PaidWorkers
from smc_decode.workers.fair import FairPlaces
from smc_decode.workers.pool import WorkerPool


def test_a_key_that_asks_once_is_served_after_one_turn_of_a_key_that_asks_often():
    places = FairPlaces(1)
    turns: list[str] = []
    for name in ["busy"] * 10 + ["quiet"]:
        places.ask(name).add_done_callback(lambda _, name=name: turns.append(name))
    for _ in range(10):
        places.give_back()
    assert turns == ["busy", "busy", "quiet", *["busy"] * 8]


def test_keys_take_turns_and_within_a_key_the_first_is_served_first():
    places = FairPlaces(1)
    turns: list[str] = []
    for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
        places.ask(name[0]).add_done_callback(lambda _, name=name: turns.append(name))
    for _ in range(5):
        places.give_back()
    assert turns == ["a1", "a2", "b1", "c1", "a3", "b2"]


async def test_who_goes_while_waiting_takes_no_place():
    places = FairPlaces(1)
    async with places.aplace("a"):
        waiting = asyncio.ensure_future(_hold(places, "b"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await asyncio.wait_for(_hold(places, "c"), 10)


async def test_who_goes_in_the_moment_when_the_place_is_given_gives_it_back():
    places = FairPlaces(1)
    await asyncio.wrap_future(places.ask("a"))
    waiting = asyncio.ensure_future(_hold(places, "b"))
    await asyncio.sleep(0)
    places.give_back()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(_hold(places, "c"), 10)


def test_threads_never_hold_more_places_than_there_are():
    places = FairPlaces(2)
    inside, most = 0, 0
    lock = threading.Lock()

    def work(key: int) -> None:
        nonlocal inside, most
        for _ in range(50):
            with places.place(key):
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work, args=(key,)) for key in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 2


async def _hold(places: FairPlaces, key: str) -> None:
    async with places.aplace(key):
        pass


class _Boxes:
    """A sandbox of one place, whose programs run until they are let go."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.gate = asyncio.Event()

    async def arun_stdin(self, source: str, stdin: str, timeout: float) -> str:
        self.order.append(source)
        await self.gate.wait()
        return source


async def test_a_key_whose_programs_loop_costs_another_key_one_turn():
    boxes, places = _Boxes(), FairPlaces(1)
    loops = PaidSandbox(boxes, places, Account("loops"))
    quick = PaidSandbox(boxes, places, Account("quick"))
    running = [asyncio.ensure_future(loops.arun_stdin(f"loop {i}", "", 1.0)) for i in range(20)]
    await asyncio.sleep(0)
    running.append(asyncio.ensure_future(quick.arun_stdin("quick", "", 1.0)))
    await asyncio.sleep(0)
    boxes.gate.set()
    await asyncio.gather(*running)
    assert boxes.order.index("quick") <= 2


async def test_what_is_spent_is_counted_over_all_places_and_the_error_says_what_to_change():
    now = [0.0]
    account = Account("a", 5.0, clock=lambda: now[0])

    class Slow:
        async def arun_stdin(self, source: str, stdin: str, timeout: float) -> str:
            now[0] += 2.0
            return "done"

    paid = PaidSandbox(Slow(), FairPlaces(2), account)
    for _ in range(3):
        assert await paid.arun_stdin("", "", 1.0) == "done"
    assert account.used == 6.0
    with pytest.raises(BudgetSpent, match=r"budget of 5 process seconds.*fewer particles.*server\.reward_seconds"):
        await paid.arun_stdin("", "", 1.0)
    assert account.used == 6.0


def test_workers_are_paid_for_in_threads_too():
    now = [0.0]
    account = Account("a", 1.0, clock=lambda: now[0])
    pool = WorkerPool(1)
    try:
        paid = PaidWorkers(pool, account)
        assert paid.call("code_task", 5.0, text="def f(x):\n", entry_point=None, tests=[]) == [
            "def f(x):\n",
            "f",
            [],
            False,
        ]
        now[0] += 9.0
        account.used = 9.0
        with pytest.raises(BudgetSpent):
            paid.call("code_task", 5.0, text="", entry_point=None, tests=[])
    finally:
        pool.close()
