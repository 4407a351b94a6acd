"""Which form an answer has: each is tried in turn, on the whole answer and again on its parts."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from smc_decode.answers.forms.brackets import bracketed, union
from smc_decode.answers.forms.expressions import value
from smc_decode.answers.forms.form import Form
from smc_decode.answers.forms.lists import several
from smc_decode.answers.forms.matrices import matrix
from smc_decode.answers.forms.relations import relation
from smc_decode.answers.forms.spans import Span
from smc_decode.answers.forms.words import in_words, plain_words
from smc_decode.answers.forms.wrappings import unwrapped
from smc_decode.notation.tokens import tokenize

_MAX_DEPTH = 8
_READERS = (matrix, several, relation, union, bracketed, value)
_LOOSE_WORDS = re.compile(
    r"(?<![A-Za-z\\{])(and|or|cm|mm|km|kg|mg|ml|ft|oz|lb|hr|yd|mi|am|pm|AM|PM|sq)(?![A-Za-z(}])", re.ASCII
)
"""Words that LaTeX would read as products of variables."""


def read_form(latex: str) -> Form:
    """The form of a final answer; what is no mathematics is words."""
    text = unwrapped(unicodedata.normalize("NFC", latex))
    words = in_words(text)
    if words is not None:
        return words
    text = re.sub(r"(?<=\d)[ ]?:[ ]?(?=\d)", ":", text)
    source = _LOOSE_WORDS.sub(r"\\text{ \1 }", text)
    tokens = tokenize(source, latex=True)
    form = _read(Span(tokens, source, 0, len(tokens)))
    return form if form is not None else Form("words", text=plain_words(text))


def _read(span: Span) -> Form | None:
    span = span.trimmed()
    if not len(span) or span.depth > _MAX_DEPTH:
        return None
    inside = replace(span, depth=span.depth + 1)
    for reader in _READERS:
        form = reader(inside, _read)
        if form is not None:
            return form
    return None
