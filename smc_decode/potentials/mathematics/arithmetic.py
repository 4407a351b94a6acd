"""The arithmetic checker: the share of the equalities in the worked steps that hold. Needs no weights.

The text is read and its plain arithmetic worked out exactly in a worker process (:mod:`smc_decode.notation.claims`);
LaTeX that is more than that goes on to SymPy. A claim that cannot be checked within the limits counts as one that does
not hold (else a solution would gain by being too large to check); an equation with variables that is no identity
claims nothing. Works on prefixes: a claim whose last number may still grow waits. r = held / claims; without claims
r = ``empty``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from smc_decode.potentials.accounts import Workers
from smc_decode.potentials.base import Prefix, Reward, RewardSource
from smc_decode.potentials.cache import ContentCache, content_key, gather
from smc_decode.potentials.declaration import Kind
from smc_decode.potentials.options import Finite, Options, Share
from smc_decode.workers.pool import TaskDied, TaskError

Verdict = Literal["holds", "fails", "no claim"]

READING_SECONDS = 10.0
"""Processor time for one text; reading is linear in it, so none needs as much."""


class ArithmeticOptions(Options):
    """``empty``: the reward without any claim. ``timeout``: seconds of processor time for one claim.
    ``max_equalities``: so many are looked at, from the first one on."""

    empty: Share = 0.5
    timeout: Finite = Field(1.0, gt=0, le=30)
    max_equalities: int = Field(100, ge=1, le=1000)


@dataclass(frozen=True, slots=True)
class _Claim:
    left: str
    right: str
    approximate: bool
    outcome: str

    @property
    def content(self) -> tuple[str, str, bool]:
        return self.left, self.right, self.approximate


class Arithmetic(RewardSource):
    """The reward source. The cache may be shared."""

    def __init__(
        self,
        workers: Workers,
        options: ArithmeticOptions | None = None,
        *,
        name: str = "arithmetic",
        cache: ContentCache[Verdict] | None = None,
    ) -> None:
        self.name = name
        self.options = options or ArithmeticOptions()
        self.cache: ContentCache[Verdict] = ContentCache() if cache is None else cache
        self._workers = workers

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        found = await gather(self._claims(prefix) for prefix in batch)
        unread = list(dict.fromkeys(claim for claims in found for claim in claims or () if claim.outcome == "other"))
        keys = [content_key(claim.content, self.options.timeout) for claim in unread]

        async def compute(missing: list[int]) -> list[Verdict]:
            return await gather(self._verdict(unread[index]) for index in missing)

        verdicts = dict(zip(unread, await self.cache.map(keys, compute), strict=True))
        return [
            Reward(0.0, {"basis": "equalities", "note": "the text cannot be read within the limits"})
            if claims is None
            else self._reward([(claim, verdicts.get(claim, claim.outcome)) for claim in claims])
            for claims in found
        ]

    async def _claims(self, prefix: Prefix) -> list[_Claim] | None:
        """The claims of one text; None: reading it took too much."""
        try:
            found = await self._workers.acall(
                "claims", READING_SECONDS, text=prefix.text, finished=prefix.finished, limit=self.options.max_equalities
            )
        except (TaskDied, TaskError):
            return None
        return [_Claim(*each) for each in found]

    async def _verdict(self, claim: _Claim) -> Verdict:
        try:
            answer = await self._workers.acall(
                "holds", self.options.timeout, left=claim.left, right=claim.right, approximate=claim.approximate
            )
        except TaskDied:
            return "fails"
        except TaskError as error:
            return "fails" if "MemoryError" in str(error) else "no claim"
        return {"true": "holds", "false": "fails"}.get(answer, "no claim")  # type: ignore[return-value]

    def _reward(self, judged: Sequence[tuple[_Claim, str]]) -> Reward:
        claims = [(claim, verdict) for claim, verdict in judged if verdict != "no claim"]
        held = sum(verdict == "holds" for _, verdict in claims)
        detail: dict[str, Any] = {"basis": "equalities", "held": held, "total": len(claims)}
        wrong = next((claim for claim, verdict in claims if verdict == "fails"), None)
        if wrong is not None:
            detail["first_wrong"] = f"{wrong.left} = {wrong.right}"[:200]
        failed = len(claims) - held
        at_most = 1.0 - failed / self.options.max_equalities  # if all that is still looked at holds
        return Reward(held / len(claims) if claims else self.options.empty, detail, at_most)


KIND = Kind(
    "Share of the equalities in the worked steps that hold",
    ArithmeticOptions,
    lambda options, context: Arithmetic(context.workers, options, name=context.name, cache=context.cache()),
    request_params=("empty", "max_equalities"),
    modules=("sympy", "latex2sympy2_extended"),
)
