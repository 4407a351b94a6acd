"""A place in a line of tokens, and what a reader does there: look ahead, take, insist."""

from __future__ import annotations

from collections.abc import Sequence

from smc_decode.notation.tokens import Token

END = Token("sep", "", 0, 0, False)
"""What stands behind the last token."""


class Unreadable(ValueError):
    """The tokens are no expression, or one that is nested too deeply."""


class Cursor:
    """Walks along ``tokens[at:end]``."""

    def __init__(self, tokens: Sequence[Token], at: int, end: int) -> None:
        self._tokens = tokens
        self._end = end
        self.at = at

    def peek(self, ahead: int = 0) -> Token:
        """The token here, or some tokens further on (or back)."""
        position = self.at + ahead
        return self._tokens[position] if position < self._end else END

    def take(self) -> Token:
        """The token here, which is then behind."""
        token = self.peek()
        self.at += 1
        return token

    def sees(self, kind: str, *texts: str) -> bool:
        """Whether a token of this kind stands here and, where texts are given, is one of them."""
        token = self.peek()
        return token.kind == kind and (not texts or token.text in texts)

    def expect(self, kind: str, *texts: str) -> None:
        """Go past a token that has to be here. Raises Unreadable."""
        if not self.sees(kind, *texts):
            raise Unreadable(f"{self.peek().text!r} where {texts} should be")
        self.at += 1
