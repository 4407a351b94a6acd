"""Copies of cache blocks, on tensors."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from smc_decode.engines.vllm.inside.block_copies import copy_blocks, fits  # noqa: E402


@pytest.mark.parametrize("shape", [(6, 2, 3, 4, 8), (12, 3, 4, 8)])
def test_blocks_are_copied_in_every_layer_and_nothing_else_changes(shape: tuple[int, ...]) -> None:
    caches = [torch.randn(shape).to(torch.bfloat16) for _ in range(3)]
    before = [cache.clone().view(6, -1) for cache in caches]
    copy_blocks([*caches, caches[0]], 6, [(0, 5), (2, 3), (2, 4)])
    for cache, old in zip(caches, before, strict=True):
        new = cache.view(6, -1)
        assert torch.equal(new[[5, 3, 4]], old[[0, 2, 2]])
        assert torch.equal(new[:3], old[:3])


def test_caches_of_another_shape_are_not_copied_blindly() -> None:
    assert fits([torch.zeros(6, 4, 8)], 6)
    assert not fits([torch.zeros(6, 4, 8).transpose(1, 2)], 6)
    assert not fits([torch.zeros(2, 6, 4, 8)], 6)
    assert not fits([torch.zeros(6, 4, 8).transpose(0, 1)], 4)
    with pytest.raises(ValueError, match="run of blocks"):
        copy_blocks([torch.zeros(2, 6, 4, 8)], 6, [(0, 1)])
