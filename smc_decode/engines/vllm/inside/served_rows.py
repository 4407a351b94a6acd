"""Inside ``vllm serve``: log q and log z in a request's log-probabilities, for remote engines.

``vllm serve MODEL --logits-processors smc_decode.engines.vllm.inside.served_rows:ServedRows`` loads this, and needs
this package where vLLM is installed. A request with ``vllm_xargs: {"smc_columns": "qz", "smc_alpha": 2.0}`` and
``logprobs: 2`` is told log q and log z(alpha) of each drawn token under the two token ids of ``column_ids``. One with
``smc_labels`` is told the log p of these tokens likewise. All other requests are served as they were.

vLLM gives a logits processor no way to the sampler, so the first of them changes the class of vLLM's own sampler when
that is first used. Written for the V1 model runner; the remote engine checks what it is told.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.outputs import LogprobsTensors, SamplerOutput
from vllm.v1.sample.metadata import SamplingMetadata
from vllm.v1.sample.sampler import Sampler

from smc_decode.engines.remote.wire import ALPHA, COLUMNS, LABELS
from smc_decode.engines.vllm.inside.sampler import Rows, Wanted, WeighingSampler, _Row, rows_of

_GREEDY = 1e-5


class ServedRows(Rows):
    """Knows which rows of the batch want columns. Penalties, seeds and grammars stay vLLM's own.

    Its arguments come from any client of the server: what they must be is checked before a step reads them.
    """

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        _adopt_sampler()

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raises ValueError, which the client gets as a 400."""
        arguments = sampling_params.extra_args or {}
        labels = arguments.get(LABELS)
        if labels is not None:
            if not isinstance(labels, list) or not labels or not all(type(each) is int for each in labels):
                raise ValueError(f"{LABELS} must be a list of token ids")
            if (sampling_params.logprobs or 0) < len(labels):
                raise ValueError(f"{LABELS} needs logprobs of at least {len(labels)}")
            if COLUMNS in arguments:
                raise ValueError(f"{LABELS} and {COLUMNS} exclude each other")
        if COLUMNS not in arguments:
            return
        columns, alpha = arguments[COLUMNS], arguments.get(ALPHA)
        if columns not in ("q", "z", "qz"):
            raise ValueError(f"{COLUMNS} must be q, z or qz")
        if (sampling_params.logprobs or 0) < len(columns):
            raise ValueError(f"{COLUMNS} needs logprobs of at least {len(columns)}")
        if "z" in columns and not (isinstance(alpha, int | float) and 0 < alpha < math.inf):
            raise ValueError(f"{ALPHA} must be a positive number")

    def _row(self, params: SamplingParams, prompt: list[int] | None, output: list[int]) -> _Row | None:
        arguments = params.extra_args or {}
        labels = arguments.get(LABELS)
        if labels is not None:
            known = all(0 <= label < self._vocab_size for label in labels)
            return _Row(Wanted(labels=labels), len(prompt or ()), output, None, None) if known else None
        if COLUMNS not in arguments:
            return None
        cut = params.top_k > 0 or params.top_p < 1 or params.min_p > 0 or params.min_tokens > 0
        wanted = Wanted(
            columns=arguments[COLUMNS],
            alpha=arguments.get(ALPHA),
            truncates=cut or params.structured_outputs is not None,
            greedy=params.temperature < _GREEDY,
        )
        return _Row(wanted, len(prompt or ()), output, None, None)


class ServedSampler(WeighingSampler):
    """vLLM's sampler with columns for the rows that want them, and nothing else changed."""

    _columns: torch.Tensor | None = None

    def forward(
        self,
        logits: torch.Tensor,
        sampling_metadata: SamplingMetadata,
        predict_bonus_token: bool = False,
        logprobs_mode_override: Any = None,
    ) -> SamplerOutput:
        rows = rows_of(sampling_metadata)
        self._wanted = {} if rows is None else rows.wanted(logits.shape[0])
        try:
            output = Sampler.forward(self, logits, sampling_metadata, predict_bonus_token, logprobs_mode_override)
            if self._wanted and self._columns is not None:
                output.logprobs_tensors = self._told(output.logprobs_tensors, output.sampled_token_ids)
            return output
        finally:
            self._wanted = self._law = self._columns = None

    def gather_logprobs(self, logprobs: torch.Tensor, num_logprobs: int, token_ids: torch.Tensor) -> LogprobsTensors:
        if self._wanted:
            widest = max(map(_width, self._wanted.values()))
            self._columns = torch.zeros((len(logprobs), 1 + widest), dtype=torch.float32, device=logprobs.device)
            self._fill(self._columns, logprobs, token_ids.unsqueeze(-1))
        return Sampler.gather_logprobs(logprobs, num_logprobs, token_ids)

    def _told(self, tensors: LogprobsTensors, sampled: torch.Tensor) -> LogprobsTensors:
        """vLLM's log-probabilities with the columns written over the rows that want them.

        Last of all: a request with ``logprob_token_ids`` replaces those of its whole batch.
        """
        wanted, columns = self._wanted or {}, self._columns
        if columns is None:
            return tensors
        ids, values = tensors.logprob_token_ids, tensors.logprobs
        missing = columns.shape[1] - values.shape[1]
        if missing > 0:
            ids = torch.nn.functional.pad(ids, (0, missing))
            values = torch.nn.functional.pad(values, (0, missing), value=-torch.inf)
        for i, each in wanted.items():
            others = torch.arange(_width(each), device=ids.device)
            # ``column_ids`` without waiting for the device.
            ids[i, 1 : 1 + len(others)] = (others + (others >= sampled[i, 0])).to(ids.dtype)
            values[i, 1 : 1 + len(others)] = columns[i, 1 : 1 + len(others)]
        return tensors._replace(logprob_token_ids=ids, logprobs=values)


def _width(wanted: Wanted) -> int:
    return len(wanted.labels or wanted.columns)


@cache
def _adopt_sampler() -> None:
    """Make vLLM's sampler a ServedSampler at its next use, where it reports raw log-probabilities."""
    original = Sampler.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> SamplerOutput:
        if type(self) is Sampler and self.logprobs_mode == "raw_logprobs":
            self.__class__ = ServedSampler
            return self.forward(*args, **kwargs)
        return original(self, *args, **kwargs)

    Sampler.forward = forward
