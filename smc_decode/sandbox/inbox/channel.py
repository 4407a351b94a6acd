"""Frames over a file descriptor: four bytes of length, then one tagged plain value.

Every read and write has a deadline (on the monotonic clock), and a frame longer than `max_frame` bytes is refused
before it is read, so that a peer can neither hang its reader nor fill its memory.
"""

import os
import select
from time import monotonic

from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Codec(Protocol):
        """Writes and reads frames in another way."""

        def encode(self, message: object, max_size: int) -> bytes: ...
        def decode(self, data: bytes) -> object: ...


CHUNK = 1 << 16
MAX_ANSWER = 4 << 20  # from a box that runs untrusted code
MAX_OBJECTS = 16 << 20  # from the same, to the checker
MAX_REQUEST = 64 << 20  # from the side that is trusted


class ChannelClosed(Exception):
    """The peer has gone, or has sent what is not a frame; the channel is of no more use."""


class ChannelTimeout(Exception):
    """The deadline passed before a whole frame went through."""


class Channel:
    """A duplex channel over one socket. A `blocking` one knows no deadlines, and saves system calls.

    `max_sent` and `max_received` bound a frame, in bytes; `limits` bound what is read. `deadline` arguments are
    absolute times of `time.monotonic()`; None waits without end.
    """

    def __init__(
        self,
        fd: int,
        max_sent: int,
        max_received: int,
        limits: wire.Limits = wire.DEFAULT_LIMITS,
        blocking: bool = False,
    ) -> None:
        self.fd = fd
        self.max_sent = max_sent
        self._max_received = max_received
        self._limits = limits
        self.codec: Codec | None = None  # in place of plain values
        self._buffer = b""
        os.set_blocking(fd, blocking)
        self._poll = select.poll()

    def send(self, value: object, deadline: float | None = None) -> None:
        """Write one frame. Raises `WireError` (nothing was written), `ChannelClosed` or `ChannelTimeout`."""
        if self.codec is not None:
            payload = self.codec.encode(value, self.max_sent)
        else:
            payload = wire.encode(value)
            if len(payload) > self.max_sent:
                raise wire.WireError(f"the value takes {len(payload)} bytes, more than {self.max_sent}")
        view = memoryview(len(payload).to_bytes(4, "big") + payload)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except OSError as error:
                raise ChannelClosed(str(error)) from error

    def receive(self, deadline: float | None = None) -> object:
        """Read one frame. Raises `ChannelClosed` (end of file, or no valid frame) or `ChannelTimeout`."""
        length = int.from_bytes(self._exactly(4, deadline), "big")
        if length > self._max_received:
            raise ChannelClosed(f"the peer announced {length} bytes, more than {self._max_received}")
        try:
            payload = self._exactly(length, deadline)
            return wire.decode(payload, self._limits) if self.codec is None else self.codec.decode(payload)
        except wire.WireError as error:
            raise ChannelClosed(f"the peer sent a malformed frame: {error}") from error

    def _exactly(self, size: int, deadline: float | None) -> bytes:
        parts = [self._buffer]
        missing = size - len(self._buffer)
        if missing > 0 and deadline is not None:  # asking first saves a call that would find nothing
            self._wait(select.POLLIN, deadline)
        while missing > 0:
            # a peer that trickles bytes must not outlive the deadline either
            if deadline is not None and monotonic() >= deadline:
                raise ChannelTimeout
            try:
                part = os.read(self.fd, CHUNK)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            if not part:
                raise ChannelClosed("the peer has closed the channel")
            parts.append(part)
            missing -= len(part)
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        self._buffer = whole[size:]
        return whole[:size]

    def _wait(self, event: int, deadline: float | None) -> None:
        timeout = None
        if deadline is not None:
            timeout = max(0.0, deadline - monotonic()) * 1000
        self._poll.register(self.fd, event)
        if not self._poll.poll(timeout):
            raise ChannelTimeout
