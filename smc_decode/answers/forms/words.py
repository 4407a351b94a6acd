"""Answers in words: a name, a choice, a date, "no solution", "all real numbers"."""

from __future__ import annotations

import re

from smc_decode.answers.forms.form import Form, interval

_EMPTY = frozenset(
    ["emptyset", "empty set", "the empty set", "no solution", "no solutions", "no real solution", "no real solutions"]
)
_REALS = frozenset(["all real numbers", "all reals", "the real numbers", "all real x"])


def in_words(text: str) -> Form | None:
    """The form of an answer in words; None for what may be mathematics."""
    plain = plain_words(text)
    if plain in _EMPTY or re.fullmatch(r"\\(?:emptyset|varnothing)|∅|\\\{\s*\\\}", text):
        return Form("words", text="∅")
    if plain in _REALS or re.fullmatch(r"(?:[a-z]\s*(?:\\in|∈)\s*)?(?:\\mathbb\s*\{?R\}?|ℝ)", text):
        return interval(None, None, False, False)
    if (
        re.fullmatch(r"[A-Za-z]", plain)
        and text not in ("i", "e")
        and not re.search(r"[=+*/^\\]", text.replace("\\text", "").replace("\\math", ""))
    ):
        return Form("words", text=plain)
    first = re.match(r"[^\W\d_]+", plain)
    if first is None or re.search(r"[\\^_=<>+*/]", plain) or (len(plain) < 3 and "text" not in text):
        return None
    return Form("words", text=plain) if _is_prose(plain, text) else None


def plain_words(text: str) -> str:
    """Words without layout, case and punctuation; other text without spaces."""
    text = re.sub(
        r"\\(?:text\w*|mathrm|mathbf|mathit|mbox|operatorname|left|right|displaystyle|boxed|fbox)(?![A-Za-z])",
        " ",
        text,
    )
    text = re.sub(r"\\[,;:! ]|[{}$~]", " ", text).casefold()
    text = re.sub(r"(?<=[a-z])\.(?=[a-z\s]|$)|(?<=\d)(?:st|nd|rd|th)\b", "", text)
    if re.search(r"[\\^_=<>+*/]", text):
        return re.sub(r"\s+", "", text)
    return " ".join(re.sub(r"[^\w\s.:/%-]", " ", text).split()).strip(" .:-")


def _is_prose(plain: str, text: str) -> bool:
    """Whether it begins with a word, and not with a product of variables or a function."""
    first = re.split(r"[^\w']", plain, maxsplit=1)[0]
    if "\\text" in text or "\\mbox" in text or "\\mathrm" in text:
        return text.lstrip(" ({").startswith(("\\text", "\\mbox", "\\mathrm")) and first not in ("or", "and")
    return len(first) >= 3 and "\\" not in text and first not in ("sin", "cos", "tan", "log", "sqrt")
