"""Draws by inverse transform, on tensors."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from smc_decode.engines.vllm.inside.draws import draw, uniform  # noqa: E402


@pytest.mark.parametrize("vocabulary", [3, 512, 513, 1500])
def test_each_token_is_drawn_by_the_share_of_the_numbers_that_is_its_probability(vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    probabilities = torch.randn((2, vocabulary), generator=generator).mul(2).softmax(-1)
    n = 8_000
    numbers = ((torch.arange(n, dtype=torch.float64) + 0.5) / n).repeat(2)
    rows = torch.arange(2).repeat_interleave(n)
    tokens, mass, _ = draw(probabilities, rows, numbers)
    for row in range(2):
        counts = torch.bincount(tokens[rows == row], minlength=vocabulary) / n
        assert torch.allclose(counts, probabilities[row].to(counts.dtype), atol=1.5 / n)
    assert torch.allclose(mass, probabilities[rows, tokens].double(), rtol=1e-5)


def test_it_is_the_inverse_of_the_distribution_function_and_tells_where_in_the_token_the_number_fell() -> None:
    probabilities = torch.randn((3, 2000), generator=torch.Generator().manual_seed(5)).mul(3).softmax(-1)
    rows = torch.randint(3, (500,), generator=torch.Generator().manual_seed(6))
    numbers = torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    tokens, mass, left = draw(probabilities, rows, numbers)
    exact = probabilities.double() / probabilities.double().sum(-1, keepdim=True)
    before = exact.cumsum(-1) - exact
    back = before[rows, tokens] + left * mass
    assert torch.allclose(back, numbers, atol=1e-6)
    assert ((left >= 0) & (left < 1)).all()


def test_tokens_without_probability_are_never_drawn() -> None:
    probabilities = torch.zeros((1, 1300))
    probabilities[0, [4, 700, 1299]] = torch.tensor([0.5, 0.25, 0.25])
    numbers = torch.tensor([0.0, 0.4999999, 0.5, 0.75, 1 - 2**-53], dtype=torch.float64)
    tokens, _, _ = draw(probabilities, torch.zeros(5, dtype=torch.int64), numbers)
    assert tokens.tolist() == [4, 4, 700, 1299, 1299]
    one, _, _ = draw(probabilities * 1e-3, torch.zeros(5, dtype=torch.int64), numbers)
    assert one.tolist() == tokens.tolist()


def test_the_numbers_of_seeds_and_positions_look_independent_and_uniform() -> None:
    numbers = torch.tensor(
        [[uniform(seed, position) for position in range(200)] for seed in range(100)], dtype=torch.float64
    )
    assert abs(numbers.mean() - 0.5) < 0.01
    assert len(numbers.unique()) == numbers.numel()
    correlations = torch.corrcoef(numbers) - torch.eye(100)
    assert correlations.abs().max() < 0.4
    across = torch.corrcoef(numbers.T) - torch.eye(200)
    assert across.abs().max() < 0.55
    assert numbers.min() >= 0
    assert numbers.max() < 1
