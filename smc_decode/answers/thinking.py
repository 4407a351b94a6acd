"""Models that think aloud: where in a text the thought ends and the answer begins.

Pure functions on text. A thought stands at the beginning, between the model's two tags; many chat templates write the
first of them into the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ThinkTags:
    """What a model writes around its thought."""

    open: str
    close: str


KNOWN_TAGS = (
    ThinkTags("<think>", "</think>"),
    ThinkTags("[THINK]", "[/THINK]"),
    ThinkTags("<seed:think>", "</seed:think>"),
    ThinkTags("<thinking>", "</thinking>"),
    ThinkTags("<reasoning>", "</reasoning>"),
    ThinkTags("<thought>", "</thought>"),
)
"""Those of open models, as their chat templates have them."""


def tags_of(template: str) -> ThinkTags | None:
    """The tags that a chat template speaks of; None: the model is not known to think aloud."""
    found = [tags for tags in KNOWN_TAGS if tags.close in template]
    return min(found, key=lambda tags: template.index(tags.close), default=None)


@dataclass(frozen=True)
class Parts:
    """A text apart. ``thought`` is None where there is none."""

    thought: str | None
    answer: str


@dataclass(frozen=True)
class Thinking:
    """Takes texts apart. ``opened``: the thought was begun by the prompt, so that a text begins inside it."""

    tags: ThinkTags
    opened: bool = False

    def begins(self, text: str) -> int:
        """Where the answer begins in ``text``, the space before it left out; its length while there is none yet."""
        start = self._inside(text)
        if start is None:
            return 0
        end = text.find(self.tags.close, start)
        if end < 0:
            return len(text)
        rest = text[end + len(self.tags.close) :]
        return len(text) - len(rest.lstrip())

    def final(self, text: str) -> str:
        """The answer in ``text``: what rewards, votes and stop strings look at. '' while it has not begun."""
        return text[self.begins(text) :]

    def split(self, text: str, *, ended: bool) -> Parts:
        """Thought and answer of a text. Where it has not ``ended``, what may yet turn out to be otherwise is left out,
        so that the parts of a text begin with the parts of what it grew from."""
        start = self._inside(text)
        if start is None:
            return Parts(None, text)
        if start > len(text):  # the beginning of a tag
            if not ended:
                return Parts(None, "")
            return Parts(text.strip(), "") if self.opened else Parts(None, text)
        end = text.find(self.tags.close, start)
        if end >= 0:
            return Parts(text[start:end].strip(), self.final(text))
        thought = text[start:]
        if not ended:
            thought = thought[: len(thought) - begun(thought, self.tags.close)]
        return Parts(thought.strip(), "")

    def _inside(self, text: str) -> int | None:
        """Where the thought begins; beyond the end while only a part of the tag is there; None: there is no thought."""
        written = text.lstrip()
        space = len(text) - len(written)
        if written.startswith(self.tags.open):
            return space + len(self.tags.open)
        if self.tags.open.startswith(written):
            return len(text) + 1
        return 0 if self.opened else None


def begun(text: str, string: str) -> int:
    """The length of the longest ending of ``text`` that is a beginning of ``string``, and not all of it."""
    for length in range(min(len(string) - 1, len(text)), 0, -1):
        if string.startswith(text[-length:]):
            return length
    return 0
