"""What pydantic found is told by the place of the first problem."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from smc_decode.validation import problem_of


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int = Field(1, ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner = Inner()
    several: list[Inner] = Field(default_factory=list)
    named: dict[str, Inner] = Field(default_factory=dict)
    either: Inner | list[Inner] | None = None
    needed: str
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _check(self) -> Outer:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ({}, "missing", "x.needed is required"),
        ({"needed": "", "inner": {"nmber": 1}}, "unknown", "x.inner.nmber is unknown; allowed: number"),
        ({"needed": "", "several": [{}, {"number": 0}]}, "value", "x.several[1].number: "),
        ({"needed": "", "named": {"my-own": {"nmber": 1}}}, "unknown", "x.named.my-own.nmber is unknown"),
        ({"needed": "", "low": 2}, "value", "x.low: low must not be above high"),
        ({"needed": "", "either": [{"number": 0}]}, "value", "x.either[0].number: "),
    ],
)
def test_a_problem_is_told_by_its_place_and_what_is_allowed(values: dict[str, Any], kind: str, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    problem = problem_of(caught.value, Outer, "x")
    assert problem.kind == kind
    assert str(problem).startswith(told)
