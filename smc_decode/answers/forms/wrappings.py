"""What stands around an answer and says nothing: signs of a formula, bold type, a full stop behind it."""

from __future__ import annotations

import re

_WRAPPERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_ENDINGS = " \t\n.,;:"
_BOLD = re.compile(r"\\(?:textbf|mathbf|boldsymbol|bm|displaystyle|boxed|fbox|ensuremath)\s*\{(.*)\}", re.DOTALL)


def unwrapped(text: str) -> str:
    """The answer without them, however many there are."""
    before = None
    while before != text:
        before = text
        text = text.strip().strip("*`").rstrip(_ENDINGS).removesuffix("\\").lstrip(":;, ")
        bold = _BOLD.fullmatch(text)
        text = bold[1] if bold is not None and _balanced(bold[1]) else text
        for opening, closing in _WRAPPERS:
            inner = text[len(opening) : -len(closing)]
            enclosed = text.startswith(opening) and text.endswith(closing) and len(text) > len(opening + closing)
            if enclosed and opening not in inner:
                text = inner
                break
    return text


def _balanced(text: str) -> bool:
    depth = 0
    for char in text:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth < 0:
            return False
    return depth == 0
