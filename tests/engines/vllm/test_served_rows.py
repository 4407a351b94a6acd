"""The logits processor of ``vllm serve``: what it tells those who ask, and that all others get what vLLM gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from smc_decode.engines.remote.wire import column_ids

pytestmark = pytest.mark.vllm

VOCAB = 50
LABELS = [4, 9, 11]


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """vLLM's sampler, which becomes ours at its first use."""
    from vllm.v1.sample.sampler import Sampler

    from smc_decode.engines.vllm.inside.served_rows import _adopt_sampler

    monkeypatch.setattr(Sampler, "forward", Sampler.forward)  # put back afterwards
    _adopt_sampler.__wrapped__()
    return Sampler()


def batch(label_rows: dict[int, list[int]] | None) -> Any:
    """Four rows: one wants log q and log z, one is anybody's, one wants labels, one is anybody's."""
    import torch
    from vllm.v1.sample.logits_processor import LogitsProcessors
    from vllm.v1.sample.metadata import SamplingMetadata

    from smc_decode.engines.vllm.inside.sampler import Wanted, _Row
    from smc_decode.engines.vllm.inside.served_rows import ServedRows

    rows = ServedRows.__new__(ServedRows)
    rows._rows = {
        0: _Row(Wanted(columns="qz", alpha=2.0), 3, [], None, None),
        2: _Row(Wanted(labels=LABELS), 3, [], None, None),
    }
    zeros = torch.zeros(4)
    return SamplingMetadata(
        temperature=torch.full((4,), 0.5),
        all_greedy=False,
        all_random=True,
        top_p=None,
        top_k=None,
        generators={},
        max_num_logprobs=3,
        no_penalties=True,
        prompt_token_ids=None,
        frequency_penalties=zeros,
        presence_penalties=zeros,
        repetition_penalties=zeros + 1,
        output_token_ids=[[] for _ in range(4)],
        allowed_token_ids_mask=None,
        bad_words_token_ids={},
        logitsprocs=LogitsProcessors([rows]),
        logprob_token_ids=label_rows,
    )


@pytest.mark.parametrize("others", [None, [5], list(range(20))])
def test_rows_that_ask_are_told_their_columns_beside_any_others(sampler: Any, others: list[int] | None) -> None:
    import torch

    logits = 2 * torch.randn(4, VOCAB, generator=torch.Generator().manual_seed(1))
    log_p, log_q = torch.log_softmax(logits, -1), torch.log_softmax(logits / 0.5, -1)
    output = sampler(logits.clone(), batch(None if others is None else {1: others}))
    told, drawn = output.logprobs_tensors, output.sampled_token_ids[:, 0].tolist()
    assert told.logprob_token_ids[0, 1:3].tolist() == column_ids(drawn[0], 2)
    log_z = float(torch.logsumexp(2 * log_p[0], -1))
    assert told.logprobs[0, :3].tolist() == pytest.approx(
        [float(log_p[0, drawn[0]]), float(log_q[0, drawn[0]]), log_z], abs=1e-4
    )
    assert told.logprob_token_ids[2, 1:4].tolist() == column_ids(drawn[2], 3)
    assert told.logprobs[2, 1:4].tolist() == pytest.approx(log_p[2, LABELS].tolist(), abs=1e-4)
    theirs = log_p[1].topk(3).values if others is None else log_p[1, others]
    assert told.logprobs[1, 1 : 1 + len(theirs)].tolist() == pytest.approx(theirs.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "logprobs"),
    [
        ({"smc_columns": "qz"}, 2),
        ({"smc_columns": "qz", "smc_alpha": 2.0}, 1),
        ({"smc_columns": "q"}, None),
        ({"smc_columns": "q"}, -1),
        ({"smc_columns": ["q"]}, 2),
        ({"smc_columns": "x"}, 2),
        ({"smc_columns": "z", "smc_alpha": float("nan")}, 2),
        ({"smc_columns": "z", "smc_alpha": "2"}, 2),
        ({"smc_labels": [1.5]}, 2),
        ({"smc_labels": []}, 2),
        ({"smc_labels": [1, 2, 3]}, 2),
        ({"smc_labels": [1], "smc_columns": "q"}, 2),
    ],
)
def test_arguments_that_a_step_could_not_take_are_refused(arguments: dict[str, Any], logprobs: int | None) -> None:
    from vllm import SamplingParams

    from smc_decode.engines.vllm.inside.served_rows import ServedRows

    with pytest.raises(ValueError, match="smc_"):
        ServedRows.validate_params(SamplingParams(logprobs=logprobs, extra_args=arguments))


def test_labels_outside_of_the_vocabulary_are_not_looked_up() -> None:
    from vllm import SamplingParams

    from smc_decode.engines.vllm.inside.served_rows import ServedRows

    rows = ServedRows.__new__(ServedRows)
    rows._vocab_size = VOCAB
    assert rows._row(SamplingParams(logprobs=1, extra_args={"smc_labels": [VOCAB]}), [1], []) is None
    assert rows._row(SamplingParams(logprobs=1, extra_args={"smc_labels": [VOCAB - 1]}), [1], []) is not None
    assert rows._row(SamplingParams(logprobs=1), [1], []) is None
