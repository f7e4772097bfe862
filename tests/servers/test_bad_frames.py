"""Invalid frames: each has its close code, and other clients are not affected."""

from __future__ import annotations

import json
import socket
import zlib
from functools import cache
from pathlib import Path

import pytest

from .support import Site, eventually, on
from .test_bad_input import EVERY
from .wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("steady")]

some = on("uwsgi-gevent", "gunicorn-gthread", "pywsgi", "wsgiref")
every = on(*EVERY)

ASK = "subscribe-broadcast"
TALK = "subscribe-broadcast&publish-broadcast&echo"


def bits(first: int, payload: bytes = b"") -> bytes:
    """Return a masked frame with any first byte."""
    return frame(first & 0x0F, payload, fin=first > 0x7F, reserved=first >> 4 & 7)


BAD_FRAMES = {
    "unmasked text": (frame(TEXT, b"hello", masked=False), 1002),
    "unmasked ping": (frame(PING, b"", masked=False), 1002),
    "reserved bit 1 without an extension": (bits(0xC1, b"x"), 1002),
    "reserved bit 2": (bits(0xA1, b"x"), 1002),
    "reserved bit 3": (bits(0x91, b"x"), 1002),
    **{f"reserved opcode {opcode}": (frame(opcode), 1002) for opcode in (3, 7, 11, 15)},
    "ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "ping of a tebibyte inside a message": (
        frame(TEXT, b"x", fin=False) + frame(PING, b"", size=2**40),
        1002,
    ),
    "close frame of 126 bytes": (frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "empty continuation of nothing": (bytes.fromhex("80 80 00 00 00 00"), 1002),
    "continuation of nothing": (frame(CONT, b"x"), 1002),
    "text inside a message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "close code 1005": (frame(CLOSE, (1005).to_bytes(2, "big")), 1002),
    "close frame of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close reason that is no UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "text that is no UTF-8": (frame(TEXT, b"ok \xff"), 1007),
    "half a character": (frame(TEXT, "ü".encode()[:1]), 1007),
    "surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "bad text in a later fragment": (
        frame(TEXT, "ü".encode()[:1], fin=False) + frame(CONT, b"x", fin=False),
        1007,
    ),
    "character cut off by the end": (
        frame(TEXT, b"x", fin=False) + frame(CONT, "ü".encode()[:1]),
        1007,
    ),
    "size above the limit": (frame(TEXT, b"", size=2**20 + 1), 1009),
    "size of a tebibyte": (frame(BINARY, b"", size=2**40), 1009),
    "size of half the address space": (frame(BINARY, b"", size=2**63 - 1), 1009),
    "negative size": (frame(BINARY, b"", size=2**64 - 1), 1009),
    "fragments above the limit together": (
        frame(TEXT, b"x" * 2**20, fin=False) + frame(CONT, b"x"),
        1009,
    ),
    "too many fragments": (
        frame(TEXT, b"x", fin=False) + frame(CONT, b"", fin=False) * 128,
        1008,
    ),
}


@every
@pytest.mark.parametrize("name", BAD_FRAMES)
def test_an_invalid_frame_closes_only_its_own_websocket(server: Site, room: str, name: str) -> None:
    ends_its_own_socket(server, room, name, [BAD_FRAMES[name][0]])


@some
@pytest.mark.parametrize("name", [n for n, (data, _) in BAD_FRAMES.items() if len(data) < 1000])
def test_an_invalid_frame_sent_byte_by_byte_closes_only_its_own_websocket(
    server: Site, room: str, name: str
) -> None:
    data, _ = BAD_FRAMES[name]
    ends_its_own_socket(server, room, name, [bytes([byte]) for byte in data])


def ends_its_own_socket(server: Site, room: str, name: str, pieces: list[bytes]) -> None:
    """See that one socket ends with its code and another one goes on."""
    _, code = BAD_FRAMES[name]
    with (
        server.wire(f"/ws/{room}?{TALK}") as wire,
        server.wire(f"/ws/{room}?{ASK}") as other,
    ):
        wire.send_frame(TEXT, b"before")
        assert wire.receive_text() == "before"
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            wire.send(piece)
        assert wire.close_code() == code
        server.broadcast(room, "after")
        assert [other.receive_text() for _ in range(2)] == ["before", "after"]
    # A client that hung up before it could be answered has its reason in the log all the same.
    eventually(lambda: server.lines(f"close .*{room} code={code} .*received=1"), "it is logged")


@some
def test_a_declared_length_of_a_tebibyte_allocates_no_memory(server: Site, room: str) -> None:
    before = peak(server)
    for _ in range(20):
        with server.wire(f"/ws/{room}?{TALK}") as wire:
            wire.send(frame(BINARY, b"x" * 60_000, size=2**40))
            assert wire.close_code() in (1009, 1006)  # bytes we did not wait for become a reset
    assert peak(server) < before + 8 * 2**20


def peak(server: Site) -> int:
    """Return the most bytes of memory the worker has ever held; 0 where the system tells not."""
    pid = json.loads(server.get("/stats")[1])["pid"]
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@cache
def bomb() -> bytes:
    """Return 128 MiB of zeros, deflated."""
    deflate = zlib.compressobj(level=1, wbits=-15)
    parts = [deflate.compress(bytes(2**20)) for _ in range(128)]
    return b"".join(parts) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]


@some
def test_a_decompression_bomb_closes_with_1009_and_uses_little_memory(
    server: Site, room: str
) -> None:
    before = peak(server)
    with server.wire() as wire:
        wire.upgrade(f"/ws/{room}?{TALK}", sec_websocket_extensions="permessage-deflate")
        wire.send(frame(BINARY, bomb(), reserved=4))
        assert wire.close_code() == 1009
    assert peak(server) < before + 16 * 2**20


@every
def test_rate_limits_count_decompressed_bytes(server: Site, room: str) -> None:
    deflate = zlib.compressobj(wbits=-15)
    packed = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    flood = frame(BINARY, packed[:-4], reserved=4) * 50  # 50 MiB in 52 kB
    with server.wire() as wire:
        wire.upgrade(f"/ws/{room}?publish-broadcast", sec_websocket_extensions="permessage-deflate")
        wire.send(flood)
        assert wire.close_code() == 1008


@every
def test_a_ping_inside_a_message_of_maximum_size_is_answered(server: Site, room: str) -> None:
    with server.wire(f"/ws/{room}?{TALK}") as wire:
        wire.send_frame(TEXT, b"x" * 2**20, fin=False)
        wire.send_frame(PING, b"p" * 125)
        assert wire.receive() == (0x80 | PONG, b"p" * 125)
        wire.send_frame(CONT)
        assert wire.receive_text() == "x" * 2**20


@every
def test_a_compressed_message_that_is_none_ends_its_own_socket(server: Site, room: str) -> None:
    with server.wire() as wire:
        wire.upgrade(f"/ws/{room}?{TALK}", sec_websocket_extensions="permessage-deflate")
        wire.send(frame(TEXT, b"\xff\xff\xff\xff", reserved=4))
        assert wire.close_code() in (1002, 1007)


@every
def test_publishing_without_permission_closes_with_1008(server: Site, room: str) -> None:
    with (
        server.wire(f"/ws/{room}/readonly?{TALK}") as wire,
        server.wire(f"/ws/{room}/readonly?{ASK}") as other,
    ):
        wire.send_frame(TEXT, b"let me in")
        assert wire.close_code() == 1008
        server.broadcast(f"{room}/readonly", "from the site")
        assert other.receive_text() == "from the site"


@every
def test_binary_where_only_text_is_understood_is_1003(server: Site, room: str) -> None:
    for data in (frame(BINARY, b"\x00"), frame(BINARY, b"", fin=False)):
        with server.wire(f"/text/{room}?{ASK}") as wire:
            wire.send(data)
            assert wire.close_code() == 1003
