"""Inside the engine's process: tokens drawn by inverse transform, one uniform number each.

vLLM draws by Gumbel noise, a number for each token of the vocabulary. With one uniform number a draw instead, many
sequences of one prefix draw from one row of logits at hardly more cost than one does, a draw is the same whatever else
is in the batch, and draws of one row can be stratified (arithmetic sampling: Vilnis et al. 2023, arXiv 2210.15458).
"""

from __future__ import annotations

import torch

from smc_decode.laws.codes import BELOW_ONE

_CHUNK = 512
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1), 53 bits of it, for one position of a sequence (SplitMix64: Steele, Lea and Flood 2014)."""
    z = _mixed(_mixed(seed) + (position + 1) * _GOLDEN)
    return float(z >> 11) * 2.0**-53


def _mixed(z: int) -> int:
    z &= _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def draw(
    probabilities: torch.Tensor, rows: torch.Tensor, uniforms: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens by the inverse of each row's distribution function, their probabilities, and where in it each number fell.

    Two steps, since a running sum over a whole vocabulary takes ten times as long as sums of its chunks: the chunk,
    then the token in it.

    Args:
        probabilities: (R, V) float32, not negative, each row with a positive sum.
        rows: (M,) int64, the row that each draw is from.
        uniforms: (M,) float64 in [0, 1).

    Returns:
        (M,) int64 tokens, each of positive probability; (M,) float64, these probabilities; and (M,) float64 in [0, 1):
        given the token, a uniform number again, with fewer bits.
    """
    vocabulary = probabilities.shape[1]
    sums = _chunk_sums(probabilities).to(torch.float64).cumsum(dim=-1)[rows]
    total = sums[:, -1]
    wanted = torch.minimum(uniforms * total, total * BELOW_ONE)
    chunk = (sums <= wanted.unsqueeze(-1)).sum(dim=-1)
    before = torch.where(chunk > 0, sums.gather(-1, (chunk - 1).clamp(min=0).unsqueeze(-1)).squeeze(-1), 0.0)
    share = (wanted - before) / (sums.gather(-1, chunk.unsqueeze(-1)).squeeze(-1) - before)

    ids = chunk.unsqueeze(-1) * _CHUNK + torch.arange(_CHUNK, device=probabilities.device)
    inner = probabilities[rows.unsqueeze(-1), ids.clamp(max=vocabulary - 1)].to(torch.float64)
    inner = torch.where(ids < vocabulary, inner, 0.0)
    inner_sums = inner.cumsum(dim=-1)
    # Of the chunk's own exact sum: that of the first step was rounded otherwise.
    rest = torch.minimum(share, torch.full_like(share, BELOW_ONE)) * inner_sums[:, -1]
    place = (inner_sums <= rest.unsqueeze(-1)).sum(dim=-1)
    last = _CHUNK - 1 - (inner.flip(-1) > 0).to(torch.int64).argmax(dim=-1)
    place = torch.minimum(place, last).unsqueeze(-1)
    mass = inner.gather(-1, place).squeeze(-1)
    left = (rest - (inner_sums.gather(-1, place).squeeze(-1) - mass)) / mass
    return ids.gather(-1, place).squeeze(-1), mass / total, left.clamp(0.0, BELOW_ONE)


def _chunk_sums(probabilities: torch.Tensor) -> torch.Tensor:
    """(R, ceil(V / chunk)) sums of the rows' chunks."""
    whole = probabilities.shape[1] // _CHUNK * _CHUNK
    sums = probabilities[:, :whole].unflatten(-1, (-1, _CHUNK)).sum(dim=-1) if whole else probabilities[:, :0]
    if whole == probabilities.shape[1]:
        return sums
    return torch.cat([sums, probabilities[:, whole:].sum(dim=-1, keepdim=True)], dim=-1)
