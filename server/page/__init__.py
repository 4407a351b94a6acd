"""``GET /``: one page, complete in itself, that shows a run as it happens."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from ..edge.gate import open_to_all

router = APIRouter()

_HTML = resources.files(__name__).joinpath("index.html").read_text(encoding="utf-8")


def _hashes(tag: str) -> str:
    """The Content-Security-Policy sources of the page's own inline ``tag`` elements."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", _HTML, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


_HEADERS = {
    # Nothing runs or loads but what the page itself holds, so that a model's text can never become code.
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@router.get("/")
@open_to_all
async def page() -> HTMLResponse:
    """The page. It holds nothing of this server: what it shows comes from the API, with the reader's key."""
    return HTMLResponse(_HTML, headers=_HEADERS)
