"""The kinds of reward source there are. Each declares itself in its own file and is imported when it is asked for."""

from __future__ import annotations

from typing import Any

from smc_decode.potentials.declaration import Kind
from smc_decode.registry import Registry

_OURS = "smc_decode.potentials"

KINDS: Registry[Kind[Any]] = Registry(
    "reward source",
    group="smc_decode.rewards",
    lazy={
        "unit_tests": f"{_OURS}.code.unit_tests:KIND",
        "prompt_examples": f"{_OURS}.code.prompt_examples:KIND",
        "stdin_tests": f"{_OURS}.code.stdin_tests:KIND",
        "arithmetic": f"{_OURS}.mathematics.arithmetic:KIND",
        "confidence": f"{_OURS}.models.confidence:KIND",
        "self_consistency": f"{_OURS}.mixtures.self_consistency:KIND",
        "json_schema": f"{_OURS}.text.json_schema:KIND",
        "regex": f"{_OURS}.text.regular_expression:KIND",
        "reasoning_gym": f"{_OURS}.text.reasoning_gym:KIND",
        "prm": f"{_OURS}.models.process_reward:KIND",
        "orm": f"{_OURS}.models.outcome_reward:KIND",
        "decisions": f"{_OURS}.models.decisions:KIND",
        "verifier": f"{_OURS}.models.verifier:KIND",
        "function": f"{_OURS}.own.entry_point:KIND",
        "http": f"{_OURS}.own.http:KIND",
        "ensemble": f"{_OURS}.mixtures.ensemble:KIND",
    },
    valid=lambda thing: isinstance(thing, Kind),
)


def all_kinds() -> dict[str, Kind[Any]]:
    """Every kind by the name that ``source = ...`` gives it. Raises BrokenPlugin."""
    return {name: KINDS[name] for name in KINDS}
