import itertools
import math
from collections import Counter

import numpy as np
import pytest

from smc_decode.engines import EngineRequestError, Extend, TableEngine
from smc_decode.engines.base import Shaping
from tests.enumeration import hard_zero_logits, mod_logits


def engine(**kwargs):
    return TableEngine(mod_logits(4), 4, 0, **kwargs)


async def draw(table, sequence=None, **settings):
    sequence = sequence or await table.open(())
    stream = table.extend([Extend(sequence, **{"max_new_tokens": 6, **settings})])
    _, continuation = await anext(stream)
    return continuation


async def test_draws_follow_the_tempered_law():
    table, log_p = engine(), np.array(mod_logits(4)(()))
    expected = np.exp(log_p / 0.5) / np.exp(log_p / 0.5).sum()
    counts = Counter([(await draw(table, max_new_tokens=1, temperature=0.5, seed=s)).token_ids[0] for s in range(4000)])
    assert [counts[v] / 4000 for v in range(4)] == pytest.approx(expected, abs=0.03)


async def test_each_token_comes_with_raw_proposal_and_normaliser():
    drawn = await draw(engine(), temperature=0.8, alpha=3.0, seed=1)
    prefix = ()
    for token, log_p, log_q, log_z in zip(
        drawn.token_ids, drawn.logprobs, drawn.proposal_logprobs, drawn.log_z, strict=True
    ):
        base = mod_logits(4)(prefix)
        base = base - math.log(np.exp(base).sum())
        assert log_p == pytest.approx(base[token])
        assert log_q == pytest.approx(base[token] / 0.8 - math.log(np.exp(base / 0.8).sum()))
        assert log_z == pytest.approx(math.log(np.exp(3.0 * base).sum()))
        prefix = (*prefix, token)


async def test_a_draw_ends_at_eos_at_a_stop_token_or_at_the_limit():
    ends = Counter()
    for seed in range(200):
        drawn = await draw(engine(), seed=seed, stop_token_ids=(3,))
        ends[drawn.finish_reason] += 1
        last = drawn.token_ids[-1]
        assert {"eos": last == 0, "stop": last == 3, "length": len(drawn.token_ids) == 6}[drawn.finish_reason]
        assert not {0, 3} & set(drawn.token_ids[:-1])
    assert min(ends["eos"], ends["stop"]) > 0


async def test_a_hard_zero_is_never_drawn():
    table = TableEngine(hard_zero_logits, 4, 0)
    for seed in range(300):
        tokens = (await draw(table, temperature=2.0, seed=seed)).token_ids
        assert all(a != b for a, b in itertools.pairwise(tokens))


@pytest.mark.parametrize(
    ("shaping", "kept"),
    [(Shaping(top_k=2), 2), (Shaping(top_p=0.6), None), (Shaping(min_p=0.5), None)],
)
async def test_truncation_cuts_the_support_and_the_proposal_knows(shaping, kept):
    seen = {}
    for seed in range(400):
        drawn = await draw(engine(), max_new_tokens=1, temperature=1.0, seed=seed, shaping=shaping)
        seen[drawn.token_ids[0]] = drawn.proposal_logprobs[0]
    assert sum(math.exp(v) for v in seen.values()) == pytest.approx(1.0)
    assert kept in (None, len(seen))
    assert len(seen) < 4


async def test_forks_and_rewinds_do_not_touch_each_other():
    table = engine()
    sequence = await table.open((1,))
    await draw(table, sequence, seed=3)
    fork = await table.fork(sequence)
    await table.rewind(fork, 1)
    assert fork.token_ids == sequence.token_ids[:1]
    assert len(sequence.token_ids) > 1 or sequence.token_ids[-1] == 0


async def test_score_gives_base_log_probabilities_and_the_best_alternatives():
    scores = await engine().score([1, 2, 3], 1, top_logprobs=2)
    base = mod_logits(4)((1,))
    base = base - math.log(np.exp(base).sum())
    assert scores[0].logprob == pytest.approx(base[2])
    assert list(scores[0].top) == list(np.argsort(-base)[:2])
    assert (await engine().score([1], 0))[0].logprob == 0.0


async def test_what_the_engine_cannot_do_is_refused():
    with pytest.raises(EngineRequestError, match="outside the vocabulary"):
        await engine().open((7,))
    with pytest.raises(EngineRequestError, match="context of 4"):
        await draw(engine(max_model_len=4))
    with pytest.raises(EngineRequestError, match="presence_penalty"):
        await draw(engine(), shaping=Shaping(presence_penalty=1.0))
