"""What engines with a vocabulary and a context refuse, said in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from smc_decode.engines.base import EngineInfo, EngineRequestError


def check_token_ids(info: EngineInfo, token_ids: Sequence[int], name: str, *, empty: bool = False) -> None:
    """Raises EngineRequestError: no tokens (unless ``empty`` is allowed), or some that the vocabulary does not have."""
    if not token_ids and not empty:
        raise EngineRequestError(f"{name} is empty: give at least one token")
    last = info.vocab_size - 1
    if token_ids and (min(token_ids) < 0 or max(token_ids) > last):
        raise EngineRequestError(f"{name} has token ids outside of the vocabulary (0 to {last})")


def check_score(info: EngineInfo, token_ids: Sequence[int], start: int, top_logprobs: int, most: int) -> None:
    """The arguments of :meth:`Engine.score`; ``most`` alternatives can be told. Raises EngineRequestError."""
    check_token_ids(info, token_ids, "token_ids")
    limit = info.max_model_len
    if limit is not None and len(token_ids) > limit:
        raise EngineRequestError(f"{len(token_ids)} tokens exceed the model's context of {limit}")
    if not 0 <= top_logprobs <= most:
        raise EngineRequestError(f"top_logprobs must be 0 to {most}, got {top_logprobs}")
    if not 0 <= start <= len(token_ids):
        raise EngineRequestError(f"start must be 0 to {len(token_ids)}, got {start}")
