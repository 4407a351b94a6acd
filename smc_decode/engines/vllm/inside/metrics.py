"""Inside the engine's process: what vLLM counts of itself."""

from __future__ import annotations


def metrics_text() -> str:
    """vLLM's metrics in Prometheus' text format: of all that this process keeps, those with vLLM's prefix."""
    from prometheus_client import REGISTRY, generate_latest

    lines = generate_latest(REGISTRY).decode().splitlines(keepends=True)
    return "".join(line for line in lines if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("vllm:"))
