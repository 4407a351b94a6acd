"""The way between the engine's process and ours."""

from __future__ import annotations

import socket
import threading

import pytest

from smc_decode.engines.vllm.channel import Channel
from smc_decode.engines.vllm.messages import Abort, Generate, Ping
from smc_decode.shaping import Shaping


def ends() -> tuple[Channel, Channel, socket.socket]:
    """Two channels, and a second descriptor of the socket under the first."""
    ours, theirs = socket.socketpair()
    return Channel(ours.dup()), Channel(theirs), ours


def test_messages_arrive_whole_and_in_order_whatever_their_size() -> None:
    one, other, spare = ends()
    messages = [Ping(1), Generate(2, list(range(400_000)), 4, 1.0, 9, shaping=Shaping(top_k=3)), Abort([2])]

    def send() -> None:
        for message in messages:
            one.send(message)

    sender = threading.Thread(target=send)
    sender.start()
    assert [other.receive() for _ in messages] == messages
    sender.join()
    spare.close()


def test_the_end_of_the_other_side_is_told_also_in_the_middle_of_a_message() -> None:
    one, other, spare = ends()
    one.close()
    spare.close()
    with pytest.raises(EOFError):
        other.receive()
    with pytest.raises(OSError):
        other.send(Ping(1))
    one, other, spare = ends()
    spare.sendall(b"\0\0\0\x64half")
    one.close()
    spare.close()
    with pytest.raises(EOFError):
        other.receive()


def test_closing_wakes_a_thread_that_receives() -> None:
    one, _other, spare = ends()
    woken = threading.Event()

    def receive() -> None:
        with pytest.raises(EOFError):
            one.receive()
        woken.set()

    thread = threading.Thread(target=receive)
    thread.start()
    one.close()
    assert woken.wait(10)
    thread.join()
    spare.close()
