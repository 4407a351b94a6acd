"""Text that grows token by token, and what of it may already be shown.

Two things hold text back: a character whose bytes have not all arrived, and an ending that may be the beginning
of a stop string.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smc_decode.answers.thinking import begun

Decode = Callable[[Sequence[int]], str]

_INCOMPLETE = "\ufffd"


class Detokenizer:
    """Token ids to text, a piece for each token, in constant time per token.

    The window of the last few tokens is decoded with and without the new one (as text-generation servers do), so
    that pieces join to the text of the whole; a token that completes no character has the piece ``""``.
    ``tokenizers.decoders.DecodeStream`` does the same, but only for that library's own tokenizers: an engine here need
    only have ``decode``.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._token_ids: list[int] = []
        self._prefix = 0
        self._read = 0
        self._before = ""

    def push(self, token_id: int) -> str:
        """The text that this token adds."""
        self._token_ids.append(token_id)
        after = self._decode(self._token_ids[self._prefix :])
        if len(after) <= len(self._before) or after.endswith(_INCOMPLETE):
            return ""
        new = after[len(self._before) :]
        self._prefix, self._read = self._read, len(self._token_ids)
        self._before = self._decode(self._token_ids[self._prefix :])
        return new

    def rest(self) -> str:
        """What the incomplete ending decodes to, now that nothing will complete it."""
        return self._decode(self._token_ids[self._prefix :])[len(self._before) :]


class ShownText:
    """The part of a growing answer that may be shown: complete characters, before any stop string.

    ``markers``: like stop strings, but what follows is kept back only, for the reader who parses it (tool calls).
    ``keep_stop``: the stop string itself is shown. ``begins``: where in the text stop strings and markers count.
    """

    def __init__(
        self,
        decode: Decode,
        stop: Sequence[str] = (),
        markers: Sequence[str] = (),
        *,
        keep_stop: bool = False,
        begins: Callable[[str], int] | None = None,
    ) -> None:
        self._detokenizer = Detokenizer(decode)
        self._stop = tuple(stop)
        self._keep_stop = keep_stop
        self._holds = tuple(markers) if keep_stop else (*stop, *markers)
        self._markers = tuple(markers)
        self._begins = begins or (lambda _: 0)
        self._seen = 0
        self._scanned = 0
        self.text = ""
        """Everything decoded so far, cut at the first stop string."""
        self.pieces: list[str] = []
        """The text of each token."""
        self.shown = 0
        """How many characters have been given out."""
        self.stopped = False

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the whole sequence so far, of which what was fed before is a prefix; the text that is new and safe."""
        self._take(token_ids)
        return self._give(self._safe_length())

    def end(self, token_ids: Sequence[int]) -> str:
        """Take the whole, finished sequence; all text that was not given out yet."""
        self._take(token_ids)
        if not self.stopped:
            rest = self._detokenizer.rest()
            if rest and self.pieces:
                self.pieces[-1] += rest
            self._append(rest)
        return self._give(len(self.text))

    def _take(self, token_ids: Sequence[int]) -> None:
        for token_id in token_ids[self._seen :]:
            piece = self._detokenizer.push(token_id)
            self.pieces.append(piece)
            self._append(piece)
        self._seen = max(self._seen, len(token_ids))

    def _append(self, piece: str) -> None:
        if self.stopped or not piece:
            return
        self.text += piece
        cut = cut_at(self.text, self._stop, max(self._scanned, self._begins(self.text)), keep_stop=self._keep_stop)
        if cut is not None:
            self.text, self.stopped = self.text[:cut], True
        longest = max((len(stop) for stop in self._stop), default=0)
        self._scanned = max(0, len(self.text) - longest)

    def _safe_length(self) -> int:
        if self.stopped:
            length = len(self.text)
        else:
            length = len(self.text) - _held_back(self.text, self._holds)
        marker = first_of(self.text, self._markers, self._begins(self.text))
        return length if marker is None else min(length, marker)

    def _give(self, length: int) -> str:
        new = self.text[self.shown : length]
        self.shown = max(self.shown, length)
        return new


def cut_at(text: str, stop: Sequence[str], start: int = 0, *, keep_stop: bool = False) -> int | None:
    """Where ``text`` ends for its reader: before the earliest stop string, or behind it; None where it holds none."""
    if not keep_stop:
        return first_of(text, stop, start)
    ends = [at + len(string) for string in stop if (at := text.find(string, start)) >= 0]
    return min(ends, default=None)


def first_of(text: str, strings: Sequence[str], start: int = 0) -> int | None:
    """Where the earliest of ``strings`` begins in ``text``, or None."""
    found = [at for at in (text.find(string, start) for string in strings) if at >= 0]
    return min(found, default=None)


def _held_back(text: str, strings: Sequence[str]) -> int:
    """The length of the longest ending of ``text`` that begins one of ``strings``."""
    return max((begun(text, string) for string in strings), default=0)
