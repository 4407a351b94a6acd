"""Hits that end within a cache block, on vLLM's own block manager: no model, but a memory that says what it holds."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import pytest

from smc_decode.engines.vllm.inside.partial_hits import LIMIT, SOURCE, Entry, PartialBlocks, PartialHits

SIZE = 4


class Block:
    """As much of a cache block as the index looks at."""

    def __init__(self, block_id: int, block_hash: bytes) -> None:
        self.block_id = block_id
        self.block_hash = block_hash


def entry(block_id: int, tokens: tuple[int, ...], parent: bytes = b"p") -> Entry:
    key = b"%d" % block_id
    return Entry(Block(block_id, key), key, parent, tokens)


def test_the_block_that_agrees_with_most_tokens_is_found() -> None:
    known = PartialBlocks()
    known.add(entry(1, (5, 6)))
    known.add(entry(2, (5, 6, 7, 8)))
    known.add(entry(3, (5, 9)))
    found = known.longest(b"p", (5, 6, 7, 1))
    assert found is not None
    assert (found[0].block.block_id, found[1]) == (2, 3)
    assert known.longest(b"p", (6, 5)) is None
    assert known.longest(b"other", (5, 6)) is None
    assert known.longest(b"p", ()) is None


def test_a_block_that_holds_something_else_by_now_is_not_found() -> None:
    known = PartialBlocks()
    known.add(entry(1, (5, 6)))
    known.add(entry(2, (5, 6, 7)))
    known.longest(b"p", (5, 6, 7))[0].block.block_hash = b"reused"  # type: ignore[index]
    assert known.longest(b"p", (5, 6, 7)) is None
    known.add(entry(2, (8,)))
    found = known.longest(b"p", (8, 8))
    assert found is not None
    assert found[1] == 1
    assert len(known) == 2


def test_the_oldest_blocks_are_forgotten() -> None:
    known = PartialBlocks(max_entries=3)
    for number in range(5):
        known.add(entry(number, (number, 0)))
    assert len(known) == 3
    assert known.longest(b"p", (1, 0)) is None
    assert known.longest(b"p", (4, 0)) is not None


# ---- on vLLM's manager ----------------------------------------------------------------------------------------


class Simulation:
    """vLLM's block manager with partial hits, and for each block and slot the prefix whose keys and values it holds."""

    def __init__(self, blocks: int) -> None:
        import torch
        from vllm.utils.hashing import sha256
        from vllm.v1.core.kv_cache_manager import KVCacheManager
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
        from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec

        spec = FullAttentionSpec(block_size=SIZE, num_kv_heads=1, head_size=1, dtype=torch.float32)
        config = KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)])
        self.manager = KVCacheManager(config, 64, scheduler_block_size=SIZE, hash_block_size=SIZE)
        init_none_hash(sha256)
        self._hasher = get_request_block_hasher(SIZE, sha256)
        self.running: dict[str, Any] = {}
        self.hits = PartialHits(self.manager, self.running)
        self.memory: dict[tuple[int, int], tuple[int, ...]] = {}
        self._count = 0

    def request(self, prompt: list[int], limit: int | None = None, source: Any = None) -> Any:
        from vllm import SamplingParams
        from vllm.v1.request import Request

        self._count += 1
        arguments = {} if limit is None else {LIMIT: limit}
        arguments |= {} if source is None else {SOURCE: source.request_id}
        parameters = SamplingParams(max_tokens=32, extra_args=arguments or None)
        return Request(f"r{self._count}", prompt, parameters, None, block_hasher=self._hasher)

    def admit(self, request: Any) -> int | None:
        """Prefill a request: how many tokens came from the cache, or None where there is no room."""
        blocks, cached, _ = self.manager.get_computed_blocks(request)
        new = request.num_tokens - cached
        if self.manager.allocate_slots(request, new, cached, blocks) is None:
            return None
        self._copy()
        self._check(request, cached)
        request.num_computed_tokens = cached
        self.running[request.request_id] = request
        self._compute(request)
        return cached

    def decode(self, request: Any, token: int) -> bool:
        """Draw one more token and compute the one before."""
        request.append_output_token_ids(token)
        if self.manager.allocate_slots(request, 1) is None:
            return False
        self._copy()
        self._compute(request)
        return True

    def end(self, request: Any) -> None:
        self.running.pop(request.request_id, None)
        self.manager.free(request)

    def _copy(self) -> None:
        copies, retained = self.manager.take_kv_cache_block_copies()
        for copy in copies:
            for slot in range(SIZE):
                self.memory.pop((copy.dst_block_id, slot), None)
                if (copy.src_block_id, slot) in self.memory:
                    self.memory[copy.dst_block_id, slot] = self.memory[copy.src_block_id, slot]
        self.manager.block_pool.free_blocks(retained)

    def _compute(self, request: Any) -> None:
        tokens = list(request.all_token_ids)
        (ids,) = self.manager.get_block_ids(request.request_id)
        for position in range(request.num_computed_tokens, len(tokens)):
            slot = ids[position // SIZE], position % SIZE
            self.memory[slot] = tuple(tokens[: position + 1])
        request.num_computed_tokens = len(tokens)
        self._check(request, len(tokens))

    def _check(self, request: Any, length: int) -> None:
        """What a request looks back at is of its own tokens."""
        tokens = list(request.all_token_ids)
        (ids,) = self.manager.get_block_ids(request.request_id)
        for position in range(length):
            assert self.memory[ids[position // SIZE], position % SIZE] == tuple(tokens[: position + 1])


needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")


def drawn(simulation: Simulation, prompt: list[int], tokens: list[int]) -> Any:
    request = simulation.request(prompt)
    simulation.admit(request)
    for token in tokens:
        simulation.decode(request, token)
    return request


@needs_vllm
@pytest.mark.vllm
def test_going_on_forking_and_cutting_compute_one_token() -> None:
    simulation = Simulation(64)
    simulation.end(drawn(simulation, [1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]))
    whole = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    for length in range(5, len(whole) + 1):
        request = simulation.request([*whole[:length], 99])
        assert simulation.admit(request) == length
    copies = [simulation.request([*whole[:7], 50 + i]) for i in range(3)]
    assert [simulation.admit(copy) for copy in copies] == [7, 7, 7]


@needs_vllm
@pytest.mark.vllm
def test_a_request_can_limit_what_it_takes_from_the_cache() -> None:
    simulation = Simulation(64)
    simulation.end(drawn(simulation, [1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]))
    whole = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    for limit in (0, 3, 4, 6, 8, 10):
        cached = simulation.admit(simulation.request(whole, limit))
        assert cached == (limit if limit >= 4 or limit == 0 else 0)


@needs_vllm
@pytest.mark.vllm
def test_a_request_that_departs_from_a_running_one_computes_one_token_and_leaves_it_as_it_is() -> None:
    simulation = Simulation(64)
    running = drawn(simulation, [1, 2, 3, 4, 5], [])
    for token in range(6, 20):
        leaving = simulation.request([*running.all_token_ids, 99], source=running)
        assert simulation.admit(leaving) == running.num_tokens
        simulation.decode(leaving, 98)
        simulation.decode(running, token)
    assert simulation.admit(simulation.request([*running.all_token_ids, 7])) == running.num_tokens // SIZE * SIZE


@needs_vllm
@pytest.mark.vllm
def test_a_source_that_has_ended_or_has_other_tokens_is_not_believed() -> None:
    simulation = Simulation(64)
    running = drawn(simulation, [1, 2, 3, 4, 5], [6, 7])
    assert simulation.admit(simulation.request([1, 2, 3, 4, 9, 9, 9, 9], source=running)) == 4
    longer = [*running.all_token_ids, 8, 8]
    assert simulation.admit(simulation.request(longer, source=running)) == 4
    simulation.end(running)
    assert simulation.admit(simulation.request([*running.all_token_ids, 9], source=running)) == 7


@needs_vllm
@pytest.mark.vllm
def test_vllms_own_methods_come_back() -> None:
    simulation = Simulation(64)
    simulation.hits.remove()
    simulation.end(drawn(simulation, [1, 2, 3, 4, 5], [6, 7]))
    assert simulation.admit(simulation.request([1, 2, 3, 4, 5, 6, 7, 8])) == 4


@needs_vllm
@pytest.mark.vllm
@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_evicted_or_aborted_nobody_looks_back_at_other_tokens(seed: int) -> None:
    rng = random.Random(seed)
    simulation = Simulation(rng.choice([12, 20, 60]))
    known: list[list[int]] = [[1, 2, 3, 4, 5, 6]]
    running: list[Any] = []
    hits = 0
    for _ in range(250):
        if running and rng.random() < 0.45:
            request = running.pop(rng.randrange(len(running)))
            known.append(list(request.all_token_ids))
            simulation.end(request)
        elif running and rng.random() < 0.6:
            request = rng.choice(running)
            if request.num_tokens < 40 and not simulation.decode(request, rng.randrange(3)):
                running.remove(request)
                simulation.end(request)
        else:
            start = rng.choice(known[-8:])
            prompt = [*start[: rng.randrange(1, len(start) + 1)], rng.randrange(3)]
            source = rng.choice(running) if running and rng.random() < 0.5 else None
            if source is not None and rng.random() < 0.8:
                prompt = [*source.all_token_ids, rng.randrange(3)]
            request = simulation.request(prompt, source=source)
            cached = simulation.admit(request)
            if cached is not None:
                hits += cached % SIZE > 0
                running.append(request)
    for request in running:
        simulation.end(request)
    assert hits > 10
    assert simulation.manager.block_pool.get_num_free_blocks() == simulation.manager.block_pool.num_gpu_blocks - 1
