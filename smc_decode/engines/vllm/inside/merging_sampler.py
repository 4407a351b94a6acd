"""Inside the engine's process: the sampler of the embedded engine, which draws for all members of a row.

Every draw is by inverse transform from one number, which depends on the sequence's seed and position alone
(:mod:`.draws`), whatever vLLM does in between (chunked prefill, preemption) and whoever shares the row: vLLM's own
generators count steps, and on a CPU a seeded request whose prefill is chunked brings its engine down.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.outputs import LogprobsTensors, SamplerOutput
from vllm.v1.sample.metadata import SamplingMetadata
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p

from smc_decode.engines.vllm.inside.draws import draw, uniform
from smc_decode.engines.vllm.inside.merging import Drawn, Row
from smc_decode.engines.vllm.inside.sampler import Wanted, WeighingSampler, rows_of

Shared = dict[int, tuple[Row, Wanted]]
"""Rows of the batch that are several sequences, by their place in it."""


class InverseTransform(torch.nn.Module):  # type: ignore[misc]
    """In the place of vLLM's last step of sampling: its truncation, then a draw for each row that has a number.

    For the others the token is said elsewhere.
    """

    def __init__(self) -> None:
        super().__init__()
        self.logprobs_mode = "raw_logprobs"
        self.uniforms: dict[int, float] = {}
        self.probabilities: torch.Tensor | None = None

    def forward(
        self, logits: torch.Tensor, generators: Any, k: torch.Tensor | None, p: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        law = apply_top_k_top_p(logits, k, p)
        self.probabilities = law.softmax(dim=-1, dtype=torch.float32)
        tokens = torch.zeros(len(law), dtype=torch.int64, device=law.device)
        if self.uniforms:
            rows = torch.tensor(list(self.uniforms), device=law.device)
            numbers = torch.tensor(list(self.uniforms.values()), dtype=torch.float64, device=law.device)
            tokens[rows] = draw(self.probabilities, rows, numbers)[0]
        return tokens, law


class _Points:
    """The members of a step's rows, one after the other: which row of the batch, and which of the laws, each is at."""

    def __init__(self, shared: Shared) -> None:
        self.rows: list[int] = []
        self.laws: list[int] = []
        self.uniforms: list[float] = []
        self.excluding: list[tuple[int, tuple[int, ...]]] = []
        self.tokens: torch.Tensor | None = None
        self.drawn: list[Drawn] = []
        self._law_of: dict[tuple[int, tuple[int, ...]], int] = {}
        for index, (row, _) in shared.items():
            for member in row.members:
                self.rows.append(index)
                self.laws.append(self._law(index, member.excluded))
                self.uniforms.append(member.uniform(uniform, len(row.tokens)))

    def _law(self, index: int, excluded: tuple[int, ...]) -> int:
        """Minus one, minus two ... for laws of their own: they come after the batch's rows."""
        if not excluded:
            return index
        key = index, excluded
        if key not in self._law_of:
            self.excluding.append(key)
            self._law_of[key] = -len(self.excluding)
        return self._law_of[key]

    def place_laws(self, batch: int) -> None:
        self.laws = [law if law >= 0 else batch - 1 - law for law in self.laws]


class MergingSampler(WeighingSampler):
    """The weighing sampler with draws by inverse transform, and rows of several members."""

    def __init__(self, logprobs_mode: Any, use_fp64_gumbel: bool) -> None:
        super().__init__(logprobs_mode, use_fp64_gumbel)
        self.topk_topp_sampler = InverseTransform()
        self._shared: Shared = {}
        self._points: _Points | None = None

    def forward(
        self,
        logits: torch.Tensor,
        sampling_metadata: SamplingMetadata,
        predict_bonus_token: bool = False,
        logprobs_mode_override: Any = None,
    ) -> SamplerOutput:
        rows, batch = rows_of(sampling_metadata), logits.shape[0]
        self._shared = {} if rows is None else rows.shared(batch)
        seeded = () if rows is None else rows.seeded(batch)
        self.topk_topp_sampler.uniforms = {index: uniform(seed, position) for index, seed, position in seeded}
        try:
            return super().forward(logits, sampling_metadata, predict_bonus_token, logprobs_mode_override)
        finally:
            self._shared, self._points = {}, None
            self.topk_topp_sampler.probabilities = None

    def sample(
        self, logits: torch.Tensor, sampling_metadata: SamplingMetadata, logprobs_mode_override: Any = None
    ) -> tuple[torch.Tensor, None]:
        sampled, _ = super().sample(logits, sampling_metadata, logprobs_mode_override)
        if self._shared:
            sampled = self._for_members(sampled)
        return sampled, None

    def _for_members(self, sampled: torch.Tensor) -> torch.Tensor:
        points = self._points = _Points(self._shared)
        greedy = [self._shared[index][1].greedy for index in points.rows]
        rows = torch.tensor(points.rows, device=sampled.device)
        tokens = sampled.long()[rows]
        numbers: list[tuple[float, float]] = [(1.0, 0.0)] * len(greedy)
        probabilities = self.topk_topp_sampler.probabilities
        if probabilities is not None and not all(greedy):
            points.place_laws(len(probabilities))
            probabilities = self._with_exclusions(points, probabilities)
            laws = torch.tensor(points.laws, device=sampled.device)
            uniforms = torch.tensor(points.uniforms, dtype=torch.float64, device=sampled.device)
            drawn, mass, left = draw(probabilities, laws, uniforms)
            tokens = torch.where(torch.tensor(greedy, device=sampled.device), tokens, drawn)
            numbers = list(zip(mass.tolist(), left.tolist(), strict=True))
        points.tokens = tokens
        points.drawn = [Drawn(token, *each) for token, each in zip(tokens.tolist(), numbers, strict=True)]
        sampled = sampled.clone()
        begin = 0
        for index, (row, _) in self._shared.items():
            end = begin + len(row.members)
            sampled[index] = row.lead(points.drawn[begin:end])
            begin = end
        return sampled

    def _with_exclusions(self, points: _Points, probabilities: torch.Tensor) -> torch.Tensor:
        """The laws of members whose first token is none of some, below those of the batch; their logits likewise."""
        if not points.excluding or self._law is None:
            return probabilities
        indices = torch.tensor([index for index, _ in points.excluding], device=probabilities.device)
        laws = self._law[indices]
        for law, (_, excluded) in zip(laws, points.excluding, strict=True):
            law[list(excluded)] = -torch.inf
        self._law = torch.cat([self._law, laws])
        return torch.cat([probabilities, laws.softmax(dim=-1, dtype=torch.float32)])

    def gather_logprobs(self, logprobs: torch.Tensor, num_logprobs: int, token_ids: torch.Tensor) -> LogprobsTensors:
        if self._points is not None:
            self._tell_members(self._points, logprobs, token_ids)
        return super().gather_logprobs(logprobs, num_logprobs, token_ids)

    def _tell_members(self, points: _Points, logprobs: torch.Tensor, token_ids: torch.Tensor) -> None:
        """Hand log p, and what else they asked for, to the members of rows that want it."""
        assert points.tokens is not None
        wanted = {index: each for index, (row, each) in self._shared.items() if row.law.columns is not None}
        told = [number for number, index in enumerate(points.rows) if index in wanted]
        if not told:
            return
        rows = torch.tensor([points.rows[number] for number in told], device=logprobs.device)
        tokens = points.tokens[torch.tensor(told, device=logprobs.device)]
        columns = {"p": logprobs[rows, tokens].tolist()}
        if self._law is not None and any("q" in each.columns and not each.greedy for each in wanted.values()):
            laws = [points.laws[number] for number in told]
            kept = sorted(set(laws))
            place = torch.tensor([kept.index(law) for law in laws], device=logprobs.device)
            tempered = self._law[torch.tensor(kept, device=logprobs.device)].log_softmax(dim=-1)
            columns["q"] = tempered[place, tokens].tolist()
        weighed = {index: each for index, each in wanted.items() if "z" in each.columns and each.alpha is not None}
        if weighed:
            told_z = self._log_z(weighed, logprobs, token_ids.unsqueeze(-1)).tolist()
            by_row = dict(zip(weighed, told_z, strict=True))
            columns["z"] = [by_row.get(points.rows[number], 0.0) for number in told]
        for place_, number in enumerate(told):
            names = "p" + wanted[points.rows[number]].columns
            points.drawn[number].values = tuple(columns[name][place_] if name in columns else 0.0 for name in names)
