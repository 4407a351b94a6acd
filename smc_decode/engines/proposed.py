"""A model that another engine draws for: any law with a log q as the proposal, corrected by the weight."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from smc_decode.engines.base import BaseEngine
from smc_decode.engines.checks import check_requests
from smc_decode.engines.protocol import (
    Continuation,
    Engine,
    EngineInfo,
    EngineRequestError,
    Extend,
    LiveSequence,
    Tokenizer,
    TokenScore,
)


class ProposedBy(BaseEngine):
    """``model`` gives log p and ``proposal`` draws: a smaller model, say, or a law that knows the task.

    Whatever the proposal's own log q is, the weights correct it (docs/method.md, equation 3), as long as it can draw
    everything that the model can. Target I at another alpha than 1 needs log z of the model, which scoring does not
    give: the powered target, or alpha 1.

    Raises:
        EngineRequestError: the two have different vocabularies, or the model scores no given tokens.
    """

    def __init__(self, model: Engine, proposal: Engine) -> None:
        ours, theirs = model.info, proposal.info
        if not ours.scores:
            raise EngineRequestError(f"the engine {ours.name!r} scores no given tokens: it cannot weigh a proposal")
        if (ours.vocab_size, ours.eos_token_ids) != (theirs.vocab_size, theirs.eos_token_ids):
            raise EngineRequestError(
                f"the proposal's vocabulary ({theirs.vocab_size} tokens, ends {theirs.eos_token_ids}) is not the "
                f"model's ({ours.vocab_size}, {ours.eos_token_ids}): token ids must mean the same"
            )
        self._model = model
        self._proposal = proposal
        self._info = replace(
            theirs,
            model=ours.model,
            name=f"{ours.name} proposed by {theirs.name}",
            tempered_proposal=False,
            exact_log_z=False,
            excludes=False,
            shapes=frozenset(),
            scores=True,
            labels=ours.labels,
            max_logprobs=ours.max_logprobs,
            empty_prompt=False,  # the first token's log p would not be known
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._model.tokenizer

    async def open(self, prompt_token_ids: Sequence[int]) -> LiveSequence:
        if not prompt_token_ids:
            raise EngineRequestError("a proposal needs a prompt: scoring says nothing of a sequence's first token")
        return await self._proposal.open(prompt_token_ids)

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        """The proposal's draws, with the model's log p."""
        check_requests(self._info, requests)
        before = [tuple(request.sequence.token_ids) for request in requests]
        asked = [replace(request, alpha=None, logprobs=True, proposal_logprobs=True) for request in requests]
        async with aclosing(self._proposal.extend(asked)) as stream:
            async for index, drawn in stream:
                prefix = (*requests[index].sequence.prompt_token_ids, *before[index])
                scores = await self._model.score((*prefix, *drawn.token_ids), len(prefix))
                yield index, replace(drawn, logprobs=[score.logprob for score in scores], log_z=[])

    async def fork(self, sequence: LiveSequence) -> LiveSequence:
        return await self._proposal.fork(sequence)

    async def rewind(self, sequence: LiveSequence, length: int) -> None:
        await self._proposal.rewind(sequence, length)

    async def close(self, sequence: LiveSequence) -> None:
        await self._proposal.close(sequence)

    async def score(self, token_ids: Sequence[int], start: int = 0, *, top_logprobs: int = 0) -> list[TokenScore]:
        return await self._model.score(token_ids, start, top_logprobs=top_logprobs)

    async def health(self) -> None:
        await self._model.health()
        await self._proposal.health()
