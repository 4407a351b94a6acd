"""What reshapes the model's next-token law, in the target and in the proposal alike: the fields and their ranges.

The ranges are declared here and nowhere else: SMCConfig and the HTTP protocol use the same annotated types for their
flat fields, and an engine gets one :class:`Shaping`, handed on whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Finite = Annotated[float, Field(allow_inf_nan=False)]
TopK = Annotated[int, Field(ge=0)]
TopP = Annotated[Finite, Field(gt=0, le=1)]
MinP = Annotated[Finite, Field(ge=0, le=1)]
RepetitionPenalty = Annotated[Finite, Field(gt=0)]
AdditivePenalty = Annotated[Finite, Field(ge=-2, le=2)]
MinTokens = Annotated[int, Field(ge=0)]

MATCHED_TOLERANCE = 1e-9
"""Relative. A temperature that was written with nine digits counts as 1/alpha; what that leaves out of a weight is
less than the rounding of float32 logits."""


@dataclass(frozen=True, slots=True)
class Shaping:
    """How a next-token law is reshaped. Made without a check, so that it is cheap: see :meth:`check`.

    Truncations (``top_k``, ``top_p``, ``min_p``) act on the tempered law, as vLLM's do; ``top_k`` 0 keeps all tokens.
    ``grammar`` is an engine-neutral specification: ``{"json_schema": ...}``, ``{"regex": ...}`` or
    ``{"json_object": ...}``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(revalidate_instances="always")

    top_k: TopK = 0
    top_p: TopP = 1.0
    min_p: MinP = 0.0
    repetition_penalty: RepetitionPenalty = 1.0
    presence_penalty: AdditivePenalty = 0.0
    frequency_penalty: AdditivePenalty = 0.0
    logit_bias: Mapping[int, Finite] = field(default_factory=dict)
    min_tokens: MinTokens = 0
    ignore_eos: bool = False
    grammar: Any | None = None

    @property
    def truncates(self) -> bool:
        """Whether the support is cut (top-k, top-p, min-p or a grammar)."""
        return bool(self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0 or self.grammar is not None)

    @property
    def penalises(self) -> bool:
        """Whether a token's logit depends on the tokens before it by a penalty."""
        return bool(self.repetition_penalty != 1.0 or self.presence_penalty or self.frequency_penalty)

    @property
    def moves_logits(self) -> bool:
        """Whether logits are changed before they are tempered: log q then does not follow from log p.

        ``min_tokens`` masks EOS; ``ignore_eos`` only goes on after it, which changes no logit.
        """
        return bool(self.penalises or self.logit_bias or self.min_tokens > 0)

    @property
    def reweights(self) -> bool:
        """Whether the target is another than the model's own law, tempered and truncated."""
        return self.moves_logits or self.ignore_eos

    def used(self) -> frozenset[str]:
        """Names of the fields that ask for something."""
        return frozenset(name for name in SHAPING_FIELDS if getattr(self, name) != getattr(NO_SHAPING, name))

    def check(self) -> None:
        """Raises ValueError, which names the field, for a value outside of its range."""
        try:
            _ADAPTER.validate_python(self)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = first["loc"][0] if first["loc"] else "shaping"
            raise ValueError(f"{name}: {first['msg']}, got {first['input']!r}") from None


NO_SHAPING = Shaping()
SHAPING_FIELDS: tuple[str, ...] = tuple(each.name for each in fields(Shaping))
_ADAPTER = TypeAdapter(Shaping)


def matched(alpha: float, temperature: float, shaping: Shaping = NO_SHAPING) -> bool:
    """Whether the proposal at this temperature is p^alpha, normalised over what truncation leaves.

    Target I's weights are then 1, and log z = alpha log p - log q needs no second look at the vocabulary. Where
    ``shaping`` moves logits log q is not a power of p, so log z does not follow; leave it out to ask for the
    temperature alone.
    """
    return math.isclose(alpha * temperature, 1.0, rel_tol=MATCHED_TOLERANCE) and not shaping.moves_logits
