"""Types that request bodies are made of. They are strict, as OpenAI's are: ``"n": "2"`` is an error."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Label = Annotated[str, Field(max_length=512)]


class Body(BaseModel):
    """Base of all request parts: strict types, unknown fields refused, ``null`` means left out."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
