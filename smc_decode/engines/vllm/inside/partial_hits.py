"""Inside the engine's process: prefix-cache hits that end within a cache block.

vLLM finds whole cache blocks only, so a sequence that is submitted again computes up to a block's worth of tokens anew:
with blocks of 8 new tokens, two for each that is drawn. The keys and values are still there, though, in the last block
of whoever computed them. Here such blocks stay known after their request has ended, whole or partly filled, and a
request whose tokens agree with the first few of one adopts it: vLLM's own copy-on-write (made for hybrid models) gives
the request a private copy. Going on, forking, and cutting anywhere then cost one token of computation.

Written for vLLM 0.32: :func:`install_partial_hits` looks at what it needs first and leaves an engine of another shape
as it is. Nothing is pinned: blocks stay evictable, and go as vLLM's least recently used ones do.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MAX_ENTRIES = 4096
LIMIT = "smc_cache_limit"
"""The key of ``SamplingParams.extra_args`` for the most tokens that a request takes from the cache."""
SOURCE = "smc_cache_source"
"""The key for a request that still runs and whose tokens the request's prompt begins with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A block that holds keys and values of ``tokens``, after the blocks that ``parent`` (a hash) stands for.

    ``key`` is the hash that the pool knows it by: another one says that it holds something else by now.
    """

    block: Any
    key: bytes
    parent: bytes
    tokens: tuple[int, ...]


class PartialBlocks:
    """Which blocks begin with given tokens, for blocks that follow a given prefix. The newest come first.

    Each start of a block's tokens is a number in one dictionary; what it finds is compared, so numbers may collide.
    """

    def __init__(self, max_entries: int = _MAX_ENTRIES) -> None:
        self._most = max_entries
        # by age, not by use, and with a second index to keep in step: no cache of a library's
        self._by_block: OrderedDict[int, Entry] = OrderedDict()
        self._by_start: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._by_block)

    def add(self, entry: Entry) -> None:
        """Know a block, in the place of what the same block was known for."""
        self._forget(entry.block.block_id)
        self._by_block[entry.block.block_id] = entry
        self._by_start |= dict.fromkeys(_starts(entry.parent, entry.tokens), entry)
        if len(self._by_block) > self._most:
            self._forget(next(iter(self._by_block)))

    def longest(self, parent: bytes, tokens: Sequence[int]) -> tuple[Entry, int] | None:
        """The block that agrees with most of ``tokens``, and with how many."""
        wanted = tuple(tokens)
        starts = list(_starts(parent, wanted))
        for length in range(len(wanted), 0, -1):
            entry = self._by_start.get(starts[length - 1])
            if entry is None or entry.parent != parent or entry.tokens[:length] != wanted[:length]:
                continue
            if entry.block.block_hash == entry.key:
                return entry, length
            self._forget(entry.block.block_id)
        return None

    def _forget(self, block_id: int) -> None:
        entry = self._by_block.pop(block_id, None)
        if entry is None:
            return
        for start in _starts(entry.parent, entry.tokens):
            if self._by_start.get(start) is entry:
                del self._by_start[start]


def _starts(parent: bytes, tokens: Sequence[int]) -> Iterator[int]:
    """A number for each start of ``tokens``, from the first token alone to all of them."""
    value = hash(parent)
    for token in tokens:
        value = hash((value, token))
        yield value


class PartialHits:
    """vLLM's KV cache manager with hits that end within a block: replaces two of one instance's methods.

    ``requests``: the scheduler's, by id.
    """

    def __init__(self, manager: Any, requests: Mapping[str, Any] | None = None) -> None:
        self._manager = manager
        self._requests: Mapping[str | None, Any] = {} if requests is None else requests  # type: ignore[assignment]
        self._pool = manager.block_pool
        self._blocks = manager.coordinator.single_type_managers[0].req_to_blocks
        self._size: int = manager.coordinator.block_size
        self._known = PartialBlocks()
        self._numbers = itertools.count()
        self._find, self._free = manager.get_computed_blocks, manager.free
        manager.get_computed_blocks, manager.free = self.get_computed_blocks, self.free

    def remove(self) -> None:
        """Put vLLM's own methods back."""
        self._manager.get_computed_blocks, self._manager.free = self._find, self._free

    def get_computed_blocks(self, request: Any) -> tuple[Any, int, int]:
        """vLLM's answer, and then the part of one more block."""
        blocks, computed, boundary = self._find(request)
        if not self._manager.prefix_cache_lookup_enabled(request):
            return blocks, computed, boundary
        tokens = request.all_token_ids
        # The last token is computed in any case: its logits are wanted.
        limit = min(_limit(request), len(tokens) - 1)
        running = self._running(request, limit)
        if running is not None:
            return self._manager.create_kv_cache_blocks((running,)), limit, boundary
        whole = min(computed, limit) // self._size
        hit, computed = list(blocks.blocks[0][:whole]), whole * self._size
        found = self._known.longest(_parent(request, whole), tokens[computed : min(computed + self._size, limit)])
        if found is not None:
            entry, length = found
            hit.append(entry.block)
            computed += length
        return self._manager.create_kv_cache_blocks((hit,)), computed, boundary

    def _running(self, request: Any, limit: int) -> list[Any] | None:
        """The blocks of the request that this one departs from, if it still has them: the last may be half full."""
        source = self._requests.get(_argument(request, SOURCE))
        if source is None or source.num_computed_tokens < limit:
            return None
        blocks = self._blocks.get(source.request_id, ())[: -(-limit // self._size)]
        agree = len(blocks) * self._size >= limit and not any(block.is_null for block in blocks)
        if not agree or source.all_token_ids[:limit] != request.all_token_ids[:limit]:
            return None
        return list(blocks)

    def free(self, request: Any) -> None:
        """Remember what the request's blocks hold, from the end of its prompt on, then free them."""
        if self._manager.enable_caching:
            self._remember(request)
        self._free(request)

    def _remember(self, request: Any) -> None:
        blocks = self._blocks.get(request.request_id, ())
        tokens = request.all_token_ids
        filled = min(request.num_computed_tokens, len(tokens), len(blocks) * self._size)
        for index in range(request.num_prompt_tokens // self._size, -(-filled // self._size)):
            block, begin = blocks[index], index * self._size
            if block.is_null:
                continue
            if block.block_hash is None:
                # The pool keeps blocks that have a hash for as long as it can.
                key = _key(next(self._numbers))
                self._pool._insert_block_hash(key, block, num_tokens=filled)
            key = block.block_hash
            if key is not None:
                held = tuple(tokens[begin : min(begin + self._size, filled)])
                self._known.add(Entry(block, key, _parent(request, index), held))


def _limit(request: Any) -> int:
    limit: int | None = _argument(request, LIMIT)
    return request.num_tokens if limit is None else limit


def _argument(request: Any, key: str) -> Any:
    return (getattr(request.sampling_params, "extra_args", None) or {}).get(key)


def _parent(request: Any, index: int) -> bytes:
    """What stands before block ``index``."""
    return bytes(request.block_hashes[index - 1]) if index else b""


def _key(number: int) -> Any:
    """A hash of its own for a partly filled block: vLLM's hashes are of another length."""
    from vllm.v1.core.kv_cache_utils import BlockHash, make_block_hash_with_group_id

    return make_block_hash_with_group_id(BlockHash(b"partly filled %d" % number), 0)


def install_partial_hits(scheduler: Any) -> PartialHits | None:
    """Give an engine's scheduler partial hits; None where its cache is not of the kind that they are written for."""
    from vllm.v1.core.kv_cache_coordinator import UnitaryKVCacheCoordinator
    from vllm.v1.core.single_type_kv_cache_manager import FullAttentionManager

    manager: Any = getattr(scheduler, "kv_cache_manager", None)
    coordinator: Any = getattr(manager, "coordinator", None)
    if type(coordinator) is not UnitaryKVCacheCoordinator or not manager.enable_caching:
        return None
    (group,) = coordinator.single_type_managers
    needed = ("_partial_hit_reqs", "_apply_cow", "_has_partial_local_hit", "take_pending_cow_copies", "req_to_blocks")
    if type(group) is not FullAttentionManager or not all(hasattr(group, name) for name in needed):
        return None
    return PartialHits(manager, scheduler.requests)
