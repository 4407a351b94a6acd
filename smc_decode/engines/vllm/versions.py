"""Which vLLM the engine's process was written for. Our sampler and cache hooks reach into its V1 model runner, whose
signatures change from minor version to minor version without notice."""

from __future__ import annotations

CHECKED = ("0.32",)
"""Minor versions whose source was read against the hooks, and on which the tests marked ``vllm`` pass."""


def check_version(version: str, *, any_version: bool = False) -> None:
    """Raises RuntimeError for a vLLM that the hooks were not checked with, unless ``any_version``."""
    if any_version or any(version == minor or version.startswith(f"{minor}.") for minor in CHECKED):
        return
    checked = " or ".join(f"{minor}.*" for minor in CHECKED)
    raise RuntimeError(
        f"this is vLLM {version}, and the engine was checked with {checked} only: install that "
        f"(pip install 'vllm=={CHECKED[-1]}.*'), or set any_version = true in [engine] to try all the same (what the "
        "sampler tells is checked at the start either way)"
    )
