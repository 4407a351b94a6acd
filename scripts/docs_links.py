"""A hook of mkdocs: links out of docs/ are for readers of the repository; on the site their text stays."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+[^)]*\)")
_LEFT_OUT = re.compile(r"\[([^\]]*)\]\([^)]*\.(?:html|gz|jsonl|toml)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page without links that the site cannot follow."""
    inside = page.file.src_uri.startswith("results/")
    pattern = re.compile(r"\[([^\]]*)\]\(\.\./\.\./[^)]*\)") if inside else _OUTSIDE
    return _LEFT_OUT.sub(r"\1", pattern.sub(r"\1", markdown))
