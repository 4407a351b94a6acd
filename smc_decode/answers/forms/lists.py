"""Several answers beside each other: ``1, 2 and 3``, ``x = 1, y = 2``, ``x < 1 or x > 2``."""

from __future__ import annotations

from collections.abc import Sequence

from smc_decode.answers.forms.form import Form, flat
from smc_decode.answers.forms.names import named
from smc_decode.answers.forms.spans import Read, Span, read_all
from smc_decode.notation.tokens import Token

_JOINING = frozenset(["and", "or"])


def several(span: Span, read: Read) -> Form | None:
    """A list; of pieces that name a variable each, a tuple in the variables' order; of conditions, what they allow."""
    marks = span.at_margin(_separates)
    if not marks:
        return None
    pieces = span.split(marks)
    names = [named(piece)[0] for piece in pieces]
    found = read_all(pieces, read)
    if not found:
        return None
    if len(set(names)) == len(names) > 1 and all(names):
        in_order = sorted(zip(names, found, strict=True), key=lambda each: each[0])
        return Form("tuple", tuple(form for _, form in in_order))
    if any(form.kind in ("interval", "union") for form in found):
        return _joined(found, [span.tokens[place].text for place in marks])
    return Form("list", flat(found))


def _separates(token: Token) -> bool:
    if token.kind == "word":
        return token.text.lower() in _JOINING
    return (token.kind == "op" and token.text == ",") or (
        token.kind == "sep" and not token.text.startswith(("begin", "end"))
    )


def _joined(found: Sequence[Form], between: Sequence[str]) -> Form | None:
    """Conditions: ``x < 1 or x > 2`` is a union, ``x > 1 and x < 2`` one interval."""
    if all(text in ("or", ",") for text in between):
        return Form("union", flat(found))
    ends = {form.text[0] == "(" and form.parts[0].text == "-inf" for form in found if form.kind == "interval"}
    if len(found) == 2 and ends == {True, False}:
        lower = next(form for form in found if form.parts[0].text != "-inf")
        upper = next(form for form in found if form.parts[0].text == "-inf")
        return Form("interval", (lower.parts[0], upper.parts[1]), lower.text[0] + upper.text[1])
    return None
