"""Control frames, which may be in the middle of a message and are not part of it."""

from __future__ import annotations

import pytest

from .test_frames import (
    CLOSE,
    CONT,
    FIN,
    PING_OP,
    PONG,
    TEXT,
    closing,
    masked,
    new_receiver,
    sent,
    unmasked,
)


@pytest.mark.parametrize("size", [10, 1000])
def test_control_frames_do_not_count_against_the_message_they_interrupt(size: int) -> None:
    receiver = new_receiver(size=size)
    assert receiver.feed(masked(TEXT, b"x" * size, fin=False)) == []
    assert receiver.feed(masked(PING_OP, b"p" * 125)) == []
    assert unmasked(sent(receiver)) == (FIN | PONG, b"p" * 125)
    assert receiver.feed(masked(CONT)) == ["x" * size]
    receiver.feed(masked(TEXT, b"x" * size, fin=False) + closing(1000))
    assert unmasked(sent(receiver)) == (FIN | CLOSE, b"\x03\xe8")


@pytest.mark.parametrize("begun", [b"", masked(TEXT, b"x" * 10, fin=False)])
@pytest.mark.parametrize("length", [b"\xfe\x00\x7e", b"\xff" + bytes(2) + b"\x01" + bytes(5)])
def test_a_control_frame_that_declares_too_great_a_length_closes_with_1002(
    begun: bytes, length: bytes
) -> None:
    receiver = new_receiver(size=10)
    receiver.feed(begun + bytes([FIN | PING_OP]) + length)
    assert unmasked(sent(receiver))[1][:2] == (1002).to_bytes(2)
