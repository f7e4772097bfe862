"""For all client data, whole or byte by byte, a `Receiver` has the same results and stays small."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError

from wsredis.message import Data
from wsredis.protocol.frames import Receiver

SIZE, FRAGMENTS = 200, 8

EXPECTED = (ProtocolError, UnicodeDecodeError, PayloadTooBig)
"""What may stop the parser; any other exception is a fault of ours."""

CODES = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
"""What a close frame may carry (RFC 6455 section 7.4)."""

TEXT, DEFLATED = 0x81, 0xC1
FIN, CLOSE, PONG = 0x80, 0x88, 0x8A


def check(data: bytes) -> None:
    """Hold that bytes of a client give the same messages, replies and close code in any pieces.

    Nothing raises, no message is larger than allowed, no more than two such messages are held,
    replies are pongs and at most one close frame, after which nothing comes; and a receiver that
    is not busy is as good as new, for it goes to another client.

    The lowest bit of the first byte negotiates compression, the next one refuses binary; the rest
    is what the client sends.
    """
    flags, wire = int.from_bytes(data[:1]), data[1:]
    deflate, binary = bool(flags & 1), not flags & 2
    whole, slow = (Receiver(deflate, SIZE, FRAGMENTS, binary) for _ in range(2))
    messages = whole.feed(wire)
    slowly: list[Data] = []
    for byte in wire:
        slowly += slow.feed(bytes((byte,)))
        assert held(slow) <= 2 * SIZE + 64, f"{held(slow)} bytes are held"
    assert messages == slowly
    replies = b"".join(whole.data_to_send())
    assert replies == b"".join(slow.data_to_send())
    assert (whole.closing, whole.code, whole.busy) == (slow.closing, slow.code, slow.busy)
    for message in messages:
        size = len(message if isinstance(message, bytes) else message.encode())
        assert size <= SIZE, f"a message has {size} bytes"
        assert binary or isinstance(message, str)
    check_replies(replies, whole)
    for receiver in (whole, slow):
        check_afterwards(receiver)


def held(receiver: Receiver) -> int:
    """Return how many bytes of its client a receiver holds."""
    parts = receiver._parts
    size = sum(map(len, parts)) if isinstance(parts, list) else len(parts)
    for extension in receiver.extensions:
        if decoder := getattr(extension, "decoder", None):
            size += len(decoder.unused_data) + len(decoder.unconsumed_tail)
    return size + len(receiver.reader.buffer)


def check_replies(replies: bytes, receiver: Receiver) -> None:
    """Take apart what the client is answered."""
    heads = []
    for head, payload in control_frames(replies):
        heads.append(head)
        if head == CLOSE and payload:
            code = int.from_bytes(payload[:2])
            assert code in CODES, code
            payload[2:].decode()
    assert set(heads[:-1]) <= {PONG}
    assert set(heads[-1:]) <= {PONG, CLOSE}
    assert receiver.closing == (CLOSE in heads)
    assert receiver.closing or receiver.code == 1006
    assert not receiver.closing or receiver.code in CODES | {1005}
    assert receiver.parser_exc is None or isinstance(receiver.parser_exc, EXPECTED)


def control_frames(wire: bytes) -> Iterator[tuple[int, bytes]]:
    """Return head and payload of each frame."""
    while wire:
        size = wire[1]
        assert size <= 125
        assert len(wire) >= 2 + size
        yield wire[0], wire[2 : 2 + size]
        wire = wire[2 + size :]


def check_afterwards(receiver: Receiver) -> None:
    """Send something more that is in order."""
    more = frame(TEXT, b"as") + frame(0x01, b"n") + frame(0x80, b"ew")
    expected: list[Data] = ["as", "new"]
    if receiver.deflate:
        more += frame(DEFLATED, deflated(b"as new"))
        expected.append("as new")
    if receiver.closing:
        assert receiver.feed(more) == []
        assert receiver.data_to_send() == []
    elif not receiver.busy:
        assert receiver.feed(more) == expected
        assert not receiver.busy


def frame(head: int, payload: bytes = b"", masked: bool = True, size: int | None = None) -> bytes:
    """Return a frame of a client, whose mask is zero so that a fuzzer can read the payload."""
    size = len(payload) if size is None else size
    mask = FIN if masked else 0
    if size < 126:
        start = struct.pack("!BB", head, mask | size)
    elif size < 65536:
        start = struct.pack("!BBH", head, mask | 126, size)
    else:
        start = struct.pack("!BBQ", head, mask | 127, size)
    return start + (bytes(4) if masked else b"") + payload


def fragments(head: int, parts: list[bytes]) -> bytes:
    """Return the frames of one message."""
    first, *others = parts
    wire = frame(head, first) + b"".join(frame(0x00, part) for part in others[:-1])
    return wire + frame(FIN, others[-1] if others else b"")


def deflated(payload: bytes, last: bool = False) -> bytes:
    """Return a deflated message (RFC 7692 section 7.2.1); ``last`` ends it with a final block."""
    deflate = zlib.compressobj(wbits=-15)
    packed = deflate.compress(payload)
    return packed + deflate.flush() if last else packed + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]


_PAYLOADS = (
    st.binary(max_size=20)
    | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.builds(bytes.__mul__, st.sampled_from([b"a", b"\xff"]), st.integers(120, SIZE + 20))
)
_SOME = st.one_of(
    _PAYLOADS,
    st.builds(deflated, _PAYLOADS, st.booleans()),
    st.builds(
        lambda code, reason: struct.pack("!H", code) + reason,
        st.sampled_from(sorted(CODES)) | st.integers(0, 65535),
        _PAYLOADS,
    ),
)
_HEADS = st.sampled_from([0x81, 0x82, 0xC1, 0xC2, 0x01, 0x02, 0x41, 0x42, 0x00, 0x80, 0x88, 0x89])
_STARTS = st.sampled_from([0x01, 0x02, 0x41, 0x42])
_CUTS = st.integers(0, 20)
_LARGE = st.text("abc", max_size=9).map(lambda start: start.encode() + b"a" * 2000)
_SIZES = st.none() | st.sampled_from([0, 125, 126, SIZE, SIZE + 1, 65536, 2**63 - 1, 2**64 - 1])
_ONE = st.one_of(
    st.builds(frame, _HEADS, _SOME),
    st.builds(frame, _HEADS | st.integers(0, 255), _SOME, st.booleans(), _SIZES),
    st.builds(fragments, _STARTS, st.lists(_SOME, min_size=1, max_size=FRAGMENTS)),
    st.builds(
        lambda head, part, at: fragments(head, [part[:at], part[at:]]), _STARTS, _SOME, _CUTS
    ),
    st.builds(lambda part, at: fragments(0x41, [part[:at], b""]), _LARGE.map(deflated), _CUTS),
)
INPUTS = st.builds(
    lambda flags, frames: bytes((flags,)) + b"".join(frames),
    st.integers(0, 3),
    st.lists(_ONE, max_size=8),
)
