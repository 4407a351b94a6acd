"""Stop strings, as part of the target: a sequence is complete at the token with which its text first holds one.

They are looked for in the joined text, so that one may span blocks; what was drawn after it is cut away. The
target is then the model's law of sequences that end there, and the proposal ends there too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smc_decode.engines.base import EngineRequestError, Tokenizer
from smc_decode.sampler.trajectory import Trajectory


class StopStrings:
    """Cuts paths at stop strings. Without any it does nothing. ``reads``: the part of a text that they are looked for
    in; what it gives of a text begins with what it gives of the text's beginnings.

    Raises:
        EngineRequestError: stop strings with an engine that has no tokenizer.
    """

    def __init__(
        self, stop: Sequence[str], tokenizer: Tokenizer | None, reads: Callable[[str], str] | None = None
    ) -> None:
        if stop and tokenizer is None:
            raise EngineRequestError("stop strings need an engine with a tokenizer: use stop_token_ids")
        self._stop = tuple(stop)
        self._tokenizer = tokenizer
        self._reads = reads

    def apply(self, path: Trajectory) -> tuple[Trajectory, bool]:
        """The path up to the token that completes the earliest stop string, and whether anything was cut."""
        if not self._stop or self._tokenizer is None:
            return path, False
        length = self._completed_at(path)
        if length is None:
            return path, False
        return (
            Trajectory(
                path.token_ids[:length],
                path.logprobs[:length],
                path.proposal_logprobs[:length],
                path.log_z[:length],
                finish_reason="stop",
                log_potential=None,
                log_potentials=path.log_potentials,
            ),
            length < len(path),
        )

    def _completed_at(self, path: Trajectory) -> int | None:
        """The least number of tokens whose text holds a stop string (bisection: holding one is monotone)."""
        if not self._holds(path.token_ids):
            return None
        low, high = 1, len(path)
        while low < high:
            middle = (low + high) // 2
            if self._holds(path.token_ids[:middle]):
                high = middle
            else:
                low = middle + 1
        return low

    def _holds(self, token_ids: Sequence[int]) -> bool:
        if self._tokenizer is None:
            return False
        text = self._tokenizer.decode(token_ids)
        if self._reads is not None:
            text = self._reads(text)
        return any(stop in text for stop in self._stop)
