"""One end of the way between the engine's process and ours: ``multiprocessing.connection`` on a socket pair.

Both ends are ours; nothing from a user is ever unpickled.
"""

from __future__ import annotations

import contextlib
import os
import socket
from multiprocessing.connection import Connection
from typing import Any


class Channel:
    """``receive`` and ``send`` block; one thread may do each at a time."""

    def __init__(self, end: socket.socket) -> None:
        """Takes the socket over."""
        self._connection: Connection[Any, Any] = Connection(end.detach())

    def send(self, message: object) -> None:
        """Raises OSError when the other end is gone."""
        self._connection.send(message)

    def receive(self) -> Any:
        """The next message. Raises EOFError when the other end is gone."""
        try:
            return self._connection.recv()
        except OSError as error:  # also: gone in the middle of a message
            raise EOFError(str(error)) from error

    def close(self) -> None:
        """Closed alone, the descriptor would leave a thread that receives waiting for ever: the socket is shut down."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
        self._connection.close()
