"""Inside the engine's process: vLLM's sampler, made to tell log q and log z, and shaping that spans blocks.

vLLM reports either raw log-probabilities (log p) or processed ones (log q), chosen for the whole engine. Importance
weights need both, and the normaliser log z = log sum_v p(v)^alpha over the support that truncation leaves. The sampler
below is vLLM's own with one more look at the logits that it draws from, so q is the law of the draw: ties that top-k
keeps, penalties and masks included. A request says in ``extra_args`` what it wants; answers come in the columns of its
log-probabilities after the first.

Written for the V1 model runner of vLLM 0.32. ``inside.worker`` checks at start-up that the answers are consistent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from vllm.sampling_params import SamplingParams
from vllm.v1.outputs import LogprobsTensors, SamplerOutput
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.sample.metadata import SamplingMetadata
from vllm.v1.sample.sampler import Sampler

from smc_decode.engines.vllm.inside.grammar import GrammarMask, grammar_compiler
from smc_decode.engines.vllm.inside.merging import Row
from smc_decode.shaping import NO_SHAPING, Shaping

_GREEDY = 1e-5
ARGUMENT = "smc"
"""The key of ``SamplingParams.extra_args`` under which a request says what it wants: the fields of :class:`Wanted`."""


@dataclass(slots=True)
class Wanted:
    """What one request wants of the sampler.

    ``columns``: of the answers, in order: ``q``, ``z``. ``labels``: log p of these tokens instead. ``excluded``: the
    first token is none of these. ``shaping``: of it the penalties and the grammar, over the last ``generated`` tokens
    of the prompt too. ``row``: the sequences that it stands for, which get the answers.
    """

    seed: int | None = None
    columns: str = ""
    alpha: float | None = None
    labels: list[int] | None = None
    truncates: bool = False
    greedy: bool = False
    generated: int = 0
    shaping: Shaping = NO_SHAPING
    excluded: list[int] | None = None
    row: Row | None = None


class Penalties:
    """vLLM's penalties, over all of the answer: also over the blocks of it that reach the engine as a prompt.

    Repetition counts prompt and answer, presence and frequency the answer only.
    """

    def __init__(self, wanted: Wanted, prompt: list[int], output: list[int], vocab_size: int, device: Any) -> None:
        self._repetition = wanted.shaping.repetition_penalty
        self._presence = wanted.shaping.presence_penalty
        self._frequency = wanted.shaping.frequency_penalty
        self._output = output
        self._read = 0
        self._seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self._counts = torch.zeros(vocab_size, dtype=torch.float32, device=device)
        if prompt:
            self._seen[torch.tensor(prompt, device=device)] = True
        if wanted.generated:
            self._count(prompt[-wanted.generated :])

    def _count(self, tokens: list[int]) -> None:
        ids = torch.tensor(tokens, device=self._counts.device)
        self._seen[ids] = True
        self._counts.index_add_(0, ids, torch.ones(len(tokens), device=self._counts.device))

    def apply(self, logits: torch.Tensor) -> None:
        """Change one row of logits in place."""
        if self._read < len(self._output):
            self._count(self._output[self._read :])
            self._read = len(self._output)
        if self._repetition != 1.0:
            scaled = torch.where(logits > 0, logits / self._repetition, logits * self._repetition)
            logits.copy_(torch.where(self._seen, scaled, logits))
        if self._frequency:
            logits.sub_(self._counts, alpha=self._frequency)
        if self._presence:
            logits.sub_((self._counts > 0).to(logits.dtype), alpha=self._presence)


@dataclass(slots=True)
class _Row:
    wanted: Wanted
    length: int
    output: list[int]
    penalties: Penalties | None
    grammar: GrammarMask | None


class Rows(LogitsProcessor):  # type: ignore[misc]
    """Knows which row of the batch wants what, and applies the shaping that vLLM cannot carry over blocks."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._device = device
        self._vocab_size = vllm_config.model_config.get_vocab_size()
        self._grammars = grammar_compiler(vllm_config.model_config)
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._rows, batch_update, self._row)

    def _row(self, params: SamplingParams, prompt: list[int] | None, output: list[int]) -> _Row | None:
        arguments = (params.extra_args or {}).get(ARGUMENT)
        if arguments is None:
            return None
        wanted = Wanted(**arguments)
        ids = prompt or []
        penalties = None
        if wanted.shaping.penalises:
            penalties = Penalties(wanted, ids, output, self._vocab_size, self._device)
        grammar = None
        if wanted.shaping.grammar is not None:
            answer = ids[len(ids) - wanted.generated :]
            grammar = self._grammars.mask(wanted.shaping.grammar, answer, output)
        return _Row(wanted, len(ids), output, penalties, grammar)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        for index, row in self._rows.items():
            if row.penalties is not None:
                row.penalties.apply(logits[index])
            if row.grammar is not None:
                row.grammar.apply(logits[index])
            if row.wanted.excluded and not row.output:
                logits[index, row.wanted.excluded] = -torch.inf
        return logits

    def seeded(self, batch_size: int) -> Iterator[tuple[int, int, int]]:
        """(index, seed, position that it draws) of each row of a batch that is one sequence with noise of its own."""
        for index, row in self._rows.items():
            if index < batch_size and row.wanted.row is None and row.wanted.seed is not None:
                yield index, row.wanted.seed, row.length + len(row.output)

    def shared(self, batch_size: int) -> dict[int, tuple[Row, Wanted]]:
        """The rows of a batch that are several sequences, with what they want."""
        return {
            index: (row.wanted.row, row.wanted)
            for index, row in self._rows.items()
            if index < batch_size and row.wanted.row is not None
        }

    def wanted(self, batch_size: int) -> dict[int, Wanted]:
        """What the rows of a batch want, where they want anything told."""
        return {
            index: row.wanted
            for index, row in self._rows.items()
            if index < batch_size and row.wanted.row is None and (row.wanted.columns or row.wanted.labels)
        }


def rows_of(metadata: SamplingMetadata) -> Rows | None:
    return next((p for p in metadata.logitsprocs.non_argmax_invariant if isinstance(p, Rows)), None)


class WeighingSampler(Sampler):  # type: ignore[misc]
    """vLLM's sampler with log q and log z in the columns after the drawn token's log p."""

    _wanted: dict[int, Wanted] | None = None
    _law: torch.Tensor | None = None

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
            return super().forward(logits, sampling_metadata, predict_bonus_token, logprobs_mode_override)
        finally:
            self._wanted = self._law = None

    def sample(
        self, logits: torch.Tensor, sampling_metadata: SamplingMetadata, logprobs_mode_override: Any = None
    ) -> tuple[torch.Tensor, None]:
        # The inner sampler hands out the logits that it drew from; they are kept for gather_logprobs, and the
        # outer one goes on reporting raw log-probabilities.
        self.topk_topp_sampler.logprobs_mode = "processed_logits" if self._wanted else "raw_logprobs"
        sampled, self._law = super().sample(logits, sampling_metadata, logprobs_mode_override)
        return sampled, None

    def gather_logprobs(self, logprobs: torch.Tensor, num_logprobs: int, token_ids: torch.Tensor) -> LogprobsTensors:
        if self._wanted is None:  # a prompt's log-probabilities
            return Sampler.gather_logprobs(logprobs, num_logprobs, token_ids)
        drawn = token_ids.unsqueeze(-1)
        values = torch.zeros((len(logprobs), num_logprobs + 1), dtype=torch.float32, device=logprobs.device)
        values[:, :1] = logprobs.gather(-1, drawn)
        if self._wanted:
            self._fill(values, logprobs, drawn)
        # Nothing reads identities and ranks here; leaving ranks out saves a pass over the vocabulary.
        ids = drawn.expand(-1, num_logprobs + 1).to(torch.int32)
        return LogprobsTensors(ids, values, torch.zeros(len(logprobs), dtype=torch.int32, device=logprobs.device))

    def _fill(self, values: torch.Tensor, logprobs: torch.Tensor, drawn: torch.Tensor) -> None:
        wanted = self._wanted or {}
        columns: dict[str, tuple[list[int], torch.Tensor]] = {}
        told = [i for i, w in wanted.items() if "q" in w.columns and not w.greedy]
        if told and self._law is not None:
            columns["q"] = told, _normalised_at(_take(self._law, told), _take(drawn, told))
        weighed = {i: w for i, w in wanted.items() if "z" in w.columns and w.alpha is not None}
        if weighed:
            columns["z"] = list(weighed), self._log_z(weighed, logprobs, drawn)
        for name, (indices, numbers) in columns.items():
            for i, value in zip(indices, numbers.unbind(), strict=True):
                values[i, 1 + wanted[i].columns.index(name)] = value
        for i, w in wanted.items():
            if w.labels:
                values[i, 1 : 1 + len(w.labels)] = logprobs[i, torch.tensor(w.labels, device=logprobs.device)]

    def _log_z(self, weighed: dict[int, Wanted], logprobs: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """log sum_v p(v)^alpha over the support, a row each of ``weighed``: alpha log p of the drawn token, less what
        it is when p^alpha is normalised. The drawn token is in the support, so both are finite."""
        indices = list(weighed)
        alphas = torch.tensor([w.alpha for w in weighed.values()], dtype=logprobs.dtype, device=logprobs.device)
        powered = _take(logprobs, indices) * alphas.unsqueeze(-1)
        for row, (i, w) in zip(powered, weighed.items(), strict=True):
            if w.truncates and self._law is not None:
                row.masked_fill_(self._law[i] == -torch.inf, -torch.inf)
        ids = _take(drawn, indices)
        return powered.gather(-1, ids).squeeze(-1) - _normalised_at(powered, ids)


def _normalised_at(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The log-softmax of each row at its own id. logsumexp says the same and, on a CPU at low temperatures, takes ten
    times as long: its sum is over denormal numbers."""
    return logits.log_softmax(dim=-1).gather(-1, ids).squeeze(-1)


def _take(rows: torch.Tensor, indices: list[int]) -> torch.Tensor:
    """``rows[indices]``, without a copy when that is all of them in order."""
    if indices == list(range(len(rows))):
        return rows
    return rows[torch.tensor(indices, device=rows.device)]


class SamplerExtension:
    """What vLLM's worker is extended with (``worker_extension_cls``), called by ``collective_rpc``."""

    def smc_install_sampler(self) -> bool:
        """Put the weighing sampler in the place of vLLM's. False where there is no sampler of that kind."""
        runner: Any = getattr(self, "model_runner", None)
        old: Any = getattr(runner, "sampler", None)
        if type(old) is not Sampler:
            return False
        from smc_decode.engines.vllm.inside.merging_sampler import MergingSampler

        runner.sampler = MergingSampler(old.logprobs_mode, old.use_fp64_gumbel)
        return True

    def smc_install_copies(self) -> bool:
        """Copy cache blocks as machine words. False where the caches are of another shape."""
        from smc_decode.engines.vllm.inside.block_copies import install

        return install(getattr(self, "model_runner", None))
