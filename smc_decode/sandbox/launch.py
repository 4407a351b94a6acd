"""Starting boxes: no more at a time than there are places, each with a uid of its own."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator

from smc_decode.sandbox.bounds import START_GRACE
from smc_decode.sandbox.boxes import Box, Role, Tier, Wiring
from smc_decode.sandbox.inbox.channel import Channel, ChannelClosed, ChannelTimeout
from smc_decode.sandbox.results import BoxLimits, SandboxError
from smc_decode.sandbox.slots import UidSlots


class Launcher:
    """Starts boxes of one tier. Thread-safe."""

    def __init__(self, tier: Tier, limits: BoxLimits, slots: UidSlots, places: int) -> None:
        self.tier = tier
        self.limits = limits
        self.slots = slots
        self._places = threading.BoundedSemaphore(places)

    @contextlib.contextmanager
    def place(self) -> Iterator[contextlib.ExitStack]:
        """Waits for a place. When it is given back, what the stack holds is closed: boxes and ends of pipes."""
        with self._places, contextlib.ExitStack() as stack:
            yield stack

    def start(self, stack: contextlib.ExitStack, role: Role, wiring: Wiring, seconds: float) -> Box:
        """A box with about `seconds` of CPU time. Raises `SandboxError`."""
        uid = stack.enter_context(self.slots.take())
        box = self.tier.start(role, wiring, self.limits, math.ceil(seconds) + 1, uid)
        stack.callback(box.close)
        return box


def await_start(channel: Channel, word: str, *boxes: Box) -> None:
    """Wait until the boxes have started; untrusted code comes after that, so this failing is never its fault."""
    try:
        answer = channel.receive(time.monotonic() + 2 * START_GRACE)
    except ChannelTimeout:
        answer = "no answer in time"
    except ChannelClosed as error:
        answer = str(error)
    if answer != (word,):
        said = [answer[1] if isinstance(answer, tuple) and len(answer) == 2 else answer]
        said += [complaint for box in boxes if (complaint := box.complaint())]
        raise SandboxError("a box did not start: " + "; ".join(map(str, said)))
