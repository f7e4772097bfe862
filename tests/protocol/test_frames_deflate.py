"""Compressed fragments, whose limits the framing library does not enforce itself."""

from __future__ import annotations

import zlib

from wsredis.protocol.frames import Receiver

from .test_frames import BINARY, CONT, RSV1, TEXT, deflated, masked, new_receiver, sent, unmasked


def closed_with(receiver: Receiver) -> int:
    assert receiver.closing
    return int.from_bytes(unmasked(sent(receiver))[1][:2])


def ended(payload: bytes) -> bytes:
    """Deflate with a final block, as RFC 7692 section 7.2.3.4 allows, and as some clients do."""
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(payload) + deflate.flush()


def test_data_after_a_final_deflate_block_is_not_stored() -> None:
    receiver = new_receiver(deflate=True, size=1000)
    receiver.feed(masked(TEXT, ended(b"hi"), fin=False, bits=RSV1))
    assert not receiver.closing
    receiver.feed(masked(CONT, b"x" * 900, fin=False))
    assert closed_with(receiver) == 1002


def test_a_final_block_may_be_followed_by_an_empty_one() -> None:
    receiver = new_receiver(deflate=True)
    assert receiver.feed(masked(TEXT, ended(b"hi") + b"\0", bits=RSV1)) == ["hi"]
    first = masked(TEXT, ended(b"hi"), fin=False, bits=RSV1)
    assert receiver.feed(first + masked(CONT, b"\0")) == ["hi"]
    assert not receiver.closing


def test_a_message_is_never_decompressed_beyond_its_limit() -> None:
    packed = deflated(b"a" * 2000)
    sizes = set()
    for size in range(100, 130):
        for cut in range(1, len(packed) + 1):
            receiver = new_receiver(deflate=True, size=size)
            messages = receiver.feed(masked(TEXT, packed[:cut], fin=False, bits=RSV1))
            messages += receiver.feed(masked(CONT))
            assert all(len(message) <= size for message in messages), (size, cut)
            if not messages:
                sizes.add((cut, closed_with(receiver)))
    assert (4, 1009) in sizes  # zlib held bytes back that it gave out at the end


def test_data_received_at_once_is_not_decompressed_beyond_its_limit() -> None:
    one = masked(BINARY, deflated(bytes(1000)), bits=RSV1)
    for count, closes in ((9, False), (1000, True)):
        receiver = Receiver(True, 1000, 10, True, max_grown=10_000)
        messages = receiver.feed(one * count)
        assert sum(map(len, messages)) <= 11_000
        assert receiver.closing is closes
    assert closed_with(receiver) == 1008


def test_growth_is_counted_for_what_is_fed_at_once() -> None:
    receiver = Receiver(True, 1000, 10, True, max_grown=2000)
    for _ in range(5):
        assert receiver.feed(masked(BINARY, deflated(bytes(1000)), bits=RSV1)) == [bytes(1000)]
        assert 900 < receiver.grown < 1000
        assert receiver.feed(masked(BINARY, b"plain")) == [b"plain"]
        assert receiver.grown == 0
    unbounded = Receiver(True, 1000, 10, True)
    assert len(unbounded.feed(masked(BINARY, deflated(bytes(1000)), bits=RSV1) * 50)) == 50
