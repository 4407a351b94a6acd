"""``smc-decode`` and ``python -m server``: the command line, or which extra is missing for it."""

from __future__ import annotations

import sys

EXTRA_MODULES = frozenset(
    {
        *("fastapi", "starlette", "uvicorn", "sse_starlette", "httpx", "typer", "rich", "jinja2", "prometheus_client"),
        *("structlog", "opentelemetry", "tomli_w", "pydantic_settings"),
    }
)
"""What the extra ``server`` installs, by the names that are imported."""


def main() -> None:
    """Run the command line. Exits with 2 and one line where the extra ``server`` is not installed."""
    try:
        from .cli import app

        app()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA_MODULES:
            raise
        sys.exit(_say(missing))


def _say(missing: str) -> int:
    print(
        f"error: smc-decode's server needs {missing}, which is not installed: pip install 'smc-decode[server]' "
        "(with an engine in it: 'smc-decode[cpu]' or 'smc-decode[cuda]')",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    main()
