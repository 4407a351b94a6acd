"""Prefilled answers: a message that the client began (``continue_final_message``) is judged as a whole.

A source may say ``reads_lead = True``: it takes the beginning of the message into account itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smc_decode.potentials.base import Prefix, Reward, RewardSource


class WithLead(RewardSource):
    """A source whose every text begins with ``lead``."""

    def __init__(self, inner: RewardSource, lead: str) -> None:
        self.inner = inner
        self.lead = lead
        self.name = inner.name
        self.prefixes = inner.prefixes
        self.cacheable = inner.cacheable
        self.needs_logprobs = inner.needs_logprobs
        self.inexact = inner.inexact

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        return await self.inner.rewards([replace(prefix, lead=self.lead) for prefix in batch])


def with_lead(source: RewardSource, lead: str) -> RewardSource:
    """``source``, made to judge messages that begin with ``lead``."""
    return source if not lead or source.reads_lead else WithLead(source, lead)
