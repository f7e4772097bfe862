"""The clients' framing, compared with the library that the server uses."""

from __future__ import annotations

import pytest
from websockets.frames import Opcode
from websockets.protocol import SERVER, Protocol, State

from wsredis.protocol.frames import encode_close, encode_message

from .parts.wire import CLOSE, PING, TEXT, Reader, WireError, frame

BIG = "x" * 70_000


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535])
def test_the_server_library_parses_frames_of_clients(size: int) -> None:
    protocol = Protocol(SERVER, state=State.OPEN)
    protocol.receive_data(frame(TEXT, b"y" * size))
    (event,) = protocol.events_received()
    assert (event.opcode, bytes(event.data)) == (Opcode.TEXT, b"y" * size)


@pytest.mark.parametrize("bits", [0, 15])
@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_frames_of_servers_are_parsed_from_chunks_of_any_size(bits: int, step: int) -> None:
    texts = ["", "hello", "é" * 100, BIG]
    data = b"".join(encode_message(text.encode(), False, bits) for text in texts)
    data += b"\x89\x02hi" + encode_close(1012, "bye")
    reader = Reader(bool(bits))
    frames = [
        f for start in range(0, len(data), step) for f in reader.feed(data[start : start + step])
    ]
    assert frames == [
        *((TEXT, text.encode()) for text in texts),
        (PING, b"hi"),
        (CLOSE, b"\x03\xf4bye"),
    ]


@pytest.mark.parametrize("data", [b"\x81\x80abcd", b"\x01\x01a", b"\xc1\x01a", b"\x82\x01a"])
def test_an_invalid_frame_of_a_server_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        Reader(False).feed(data)
