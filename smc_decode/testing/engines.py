"""``check_engine``: whether an engine keeps to the contract of ``smc_decode.engines.Engine``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from smc_decode.engines.base import Engine
from smc_decode.testing import engine_laws, engine_sequences
from smc_decode.testing.contract import ContractError, Report
from smc_decode.testing.engine_subject import LeftOut, Subject

Clause = Callable[[Subject], Awaitable[None]]

CLAUSES: dict[str, Clause] = {
    "health": engine_sequences.heals,
    "open": engine_sequences.opens,
    "extend": engine_sequences.appends,
    "max_new_tokens": engine_sequences.limits,
    "log-probabilities": engine_laws.lists,
    "seeds": engine_sequences.seeds,
    "ends": engine_sequences.ends,
    "temperature 1": engine_laws.plain,
    "temperature": engine_laws.tempered,
    "own proposal": engine_laws.own_proposal,
    "greedy": engine_laws.greedy,
    "log z": engine_laws.normalisers,
    "excluded": engine_laws.excluded,
    "shaping": engine_laws.shaping,
    "score": engine_laws.scores,
    "labels": engine_laws.labels,
    "fork and rewind": engine_sequences.forks,
    "several calls": engine_sequences.at_once,
    "cancellation": engine_sequences.cancels,
}
"""In this order; what each says is its docstring."""


async def check_engine(
    engine: Engine,
    prompt_token_ids: Sequence[int] | None = None,
    *,
    draws: int = 128,
    tokens: int = 6,
    temperature: float = 0.7,
    rounding: float = 1e-3,
    seed: int = 0,
    patience: float = 60.0,
) -> Report:
    """Try every clause of the contract on a running engine, which is left running.

    Args:
        prompt_token_ids: a prompt after which the model is not sure of its next token; None: the empty one where the
            engine takes it, else the first few tokens of the vocabulary.
        draws: of one next token, to compare with the told law. With 128 a q of 0.1 that is drawn a third of the time
            is found.
        tokens: length of longer draws.
        temperature: to try beside 0 and 1.
        rounding: nats by which one log-probability may differ from call to call: 1e-3 for float32, 0.3 for bfloat16.
        seed: of the draws; the same one gives the same verdict.
        patience: seconds that a closed or cancelled call may take to end.

    Raises ContractError, an AssertionError that names the clause; what the engine raised out of turn is its cause.
    """
    if prompt_token_ids is None:
        size = engine.info.vocab_size
        prompt_token_ids = () if engine.info.empty_prompt else [token % size for token in (1, 2, 3)]
    subject = Subject(engine, tuple(prompt_token_ids), draws, tokens, temperature, rounding, seed, patience)
    tried: list[str] = []
    left_out: dict[str, str] = {}
    for name, clause in CLAUSES.items():
        subject.clause = name
        try:
            await clause(subject)
        except LeftOut as reason:
            left_out[name] = str(reason)
        except ContractError:
            raise
        except Exception as error:
            raise ContractError(name, f"{type(error).__name__}: {error}") from error
        else:
            tried.append(name)
    return Report(tuple(tried), left_out)
