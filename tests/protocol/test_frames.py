from __future__ import annotations

import logging
import random
import struct
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.message import Data
from wsredis.protocol.frames import (
    COMPRESS_FROM,
    PING,
    CloseCode,
    Receiver,
    encode_close,
    encode_message,
)

CONT, TEXT, BINARY, CLOSE, PING_OP, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV2 = 0x80, 0x40, 0x20
MASK = b"\x01\x02\x03\x04"


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0) -> bytes:
    """Return a frame as a client sends it (RFC 6455 section 5.2)."""
    head = (FIN if fin else 0) | bits | opcode
    size = len(payload)
    if size < 126:
        start = struct.pack("!BB", head, FIN | size)
    elif size < 65536:
        start = struct.pack("!BBH", head, FIN | 126, size)
    else:
        start = struct.pack("!BBQ", head, FIN | 127, size)
    key = (MASK * (size // 4 + 1))[:size]
    body = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return start + MASK + body.to_bytes(size, "big")


def deflated(payload: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def closing(code: int, reason: str = "") -> bytes:
    return masked(CLOSE, struct.pack("!H", code) + reason.encode())


def new_receiver(
    *, deflate: bool = False, size: int = 2**20, fragments: int = 100, binary: bool = True
) -> Receiver:
    return Receiver(deflate, size, fragments, binary)


def sent(receiver: Receiver) -> bytes:
    return b"".join(receiver.data_to_send())


def unmasked(frame: bytes) -> tuple[int, bytes]:
    """Take apart one frame of the server: its first byte and its payload."""
    size, start = frame[1], 2
    assert not size & FIN, "a server must not mask"
    if size == 126:
        size, start = struct.unpack_from("!H", frame, 2)[0], 4
        assert size > 125, "the shortest form of a length must be used"
    elif size == 127:
        size, start = struct.unpack_from("!Q", frame, 2)[0], 10
        assert size > 65535, "the shortest form of a length must be used"
    assert len(frame) == start + size
    return frame[0], frame[start:]


# What goes out


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_message_is_one_unmasked_frame_of_any_length(size: int) -> None:
    assert unmasked(encode_message(b"x" * size)) == (FIN | TEXT, b"x" * size)
    assert unmasked(encode_message(b"\xff" * size, True)) == (FIN | BINARY, b"\xff" * size)


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("size", [2 * COMPRESS_FROM, 3000, 100_000])
def test_a_compressed_message_fits_into_the_window_of_its_client(bits: int, size: int) -> None:
    half = random.Random(size).randbytes(size // 4).hex().encode()
    payload = half + half  # so that the second one may point back as far as the window goes
    head, packed = unmasked(encode_message(payload, window_bits=bits, in_thread=True))
    assert head == FIN | RSV1 | TEXT
    assert len(packed) < size
    inflate = zlib.decompressobj(wbits=-bits)
    assert inflate.decompress(packed + b"\x00\x00\xff\xff") == payload


def test_no_context_is_kept_so_that_a_frame_suits_every_client() -> None:
    payload = b"the same again" * 20
    assert encode_message(payload, window_bits=15) == encode_message(payload, window_bits=15)


def test_a_small_message_is_not_worth_compressing() -> None:
    payload = b"x" * (COMPRESS_FROM - 1)
    assert encode_message(payload, window_bits=15) == encode_message(payload)


def test_a_close_frame_carries_code_and_reason() -> None:
    head, payload = unmasked(encode_close(CloseCode.GOING_AWAY, "bye"))
    assert (head, payload) == (FIN | CLOSE, b"\x03\xe9bye")


@pytest.mark.parametrize(("letter", "kept"), [("x", 123), ("é", 122), ("名", 123), ("😀", 120)])
def test_a_long_close_reason_is_truncated_between_characters(letter: str, kept: int) -> None:
    _, payload = unmasked(encode_close(1008, letter * 200))
    assert len(payload) == 2 + kept
    assert set(payload[2:].decode()) == {letter}


def test_the_ping_is_an_empty_one() -> None:
    assert unmasked(PING) == (FIN | PING_OP, b"")


# What comes in


FRAMED = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"])) | st.binary(max_size=300),
        st.lists(st.integers(0, 300), max_size=4),
        st.booleans(),
    ),
    max_size=5,
)


def as_frames(data: Data, cuts: list[int], pinged: bool, deflate: bool) -> bytes:
    """Return a message as frames, cut at some places, perhaps with a ping between them."""
    payload = data.encode() if isinstance(data, str) else data
    if deflate:
        payload = deflated(payload)
    edges = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    chunks = [payload[a:b] for a, b in pairwise(edges)]
    wire = b""
    for index, chunk in enumerate(chunks):
        opcode = CONT if index else TEXT if isinstance(data, str) else BINARY
        bits = RSV1 if deflate and not index else 0
        wire += masked(opcode, chunk, fin=index == len(chunks) - 1, bits=bits)
        wire += masked(PING_OP, b"?") if pinged else b""
    return wire


@given(FRAMED, st.booleans())
def test_frames_fed_whole_and_byte_by_byte_give_the_same_messages(
    framed: list[tuple[Data, list[int], bool]], deflate: bool
) -> None:
    wire = b"".join(as_frames(*each, deflate) for each in framed)
    whole, slow = new_receiver(deflate=deflate), new_receiver(deflate=deflate)
    messages = [data for data, _, _ in framed]
    assert whole.feed(wire) == messages
    assert [m for byte in wire for m in slow.feed(bytes([byte]))] == messages
    pongs = b"".join(b"\x8a\x01?" * (len(cuts) + 1) for _, cuts, pinged in framed if pinged)
    assert sent(whole) == sent(slow) == pongs
    for receiver in (whole, slow):
        assert not receiver.busy
        assert not receiver.closing


@given(st.binary(max_size=200))
def test_no_bytes_whatever_make_it_raise(wire: bytes) -> None:
    for deflate in (False, True):
        receiver = new_receiver(deflate=deflate, size=1000)
        receiver.feed(wire)
        for byte in wire:
            receiver.feed(bytes([byte]))


def test_a_client_that_negotiated_compression_may_send_plain_frames() -> None:
    receiver = new_receiver(deflate=True)
    wire = masked(TEXT, b"plain") + masked(TEXT, deflated(b"packed"), bits=RSV1)
    assert receiver.feed(wire) == ["plain", "packed"]


def test_a_ping_is_answered_with_its_payload() -> None:
    receiver = new_receiver()
    assert receiver.feed(masked(PING_OP, b"still there?")) == []
    assert unmasked(sent(receiver)) == (FIN | PONG, b"still there?")


def test_a_pong_is_not_answered() -> None:
    receiver = new_receiver()
    assert receiver.feed(masked(PONG, b"yes")) == []
    assert sent(receiver) == b""


@pytest.mark.parametrize(
    "begun",
    [
        masked(TEXT, b"hello")[:1],
        masked(TEXT, b"hello")[:-1],
        masked(TEXT, b"hello", fin=False),
        masked(TEXT, b"", fin=False),
        masked(TEXT, b"a", fin=False) + masked(PING_OP),
    ],
)
def test_it_is_busy_while_part_of_a_message_is_held(begun: bytes) -> None:
    receiver = new_receiver()
    assert not receiver.busy
    assert receiver.feed(begun) == []
    assert receiver.busy


def test_between_messages_it_is_not_busy_and_serves_another_client() -> None:
    receiver = new_receiver()
    assert receiver.feed(masked(TEXT, b"of ", fin=False) + masked(CONT, b"alice")) == ["of alice"]
    assert not receiver.busy
    assert receiver.feed(masked(BINARY, b"of bob")) == [b"of bob"]
    assert not receiver.busy


def test_nobody_can_reach_back_into_what_another_client_has_sent() -> None:
    secret = b"the secret words of alice, which bob would like to know"
    deflate = zlib.compressobj(wbits=-15, zdict=secret)
    packed = (deflate.compress(secret) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(packed) < 20, "it only points back"
    receiver = new_receiver(deflate=True)
    assert receiver.feed(masked(BINARY, deflated(secret), bits=RSV1)) == [secret]
    assert receiver.feed(masked(BINARY, packed, bits=RSV1)) == []
    assert receiver.closing


def fails(receiver: Receiver, wire: bytes, code: int) -> list[Data]:
    """Feed bytes that must end the connection, and return the messages before."""
    messages = receiver.feed(wire)
    assert receiver.closing
    assert receiver.busy, "it must not be lent to another client"
    assert receiver.code == code
    head, payload = unmasked(sent(receiver))
    assert head == FIN | CLOSE
    assert payload[:2] == struct.pack("!H", code)
    assert len(payload) <= 125
    assert receiver.feed(masked(TEXT, b"too late")) == []
    return messages


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"\x81\x05hello", id="not masked"),
        pytest.param(masked(TEXT, b"x", bits=RSV1), id="RSV1 without an extension"),
        pytest.param(masked(TEXT, b"x", bits=RSV2), id="RSV2"),
        pytest.param(masked(3), id="reserved opcode"),
        pytest.param(masked(11), id="reserved control opcode"),
        pytest.param(masked(PING_OP, fin=False), id="fragmented ping"),
        pytest.param(masked(PING_OP, b"x" * 126), id="long ping"),
        pytest.param(masked(CLOSE, b"x"), id="close of one byte"),
        pytest.param(closing(1005), id="close code that must not be sent"),
        pytest.param(closing(999), id="close code out of range"),
        pytest.param(masked(CONT, b"x"), id="continuation of nothing"),
        pytest.param(b"\x80\x80\x00\x00\x00\x00", id="empty continuation of nothing"),
        pytest.param(masked(TEXT, b"a", fin=False) + masked(TEXT, b"b"), id="text in a message"),
    ],
)
@pytest.mark.parametrize("by_byte", [False, True])
def test_a_protocol_error_closes_with_1002(wire: bytes, by_byte: bool) -> None:
    receiver = new_receiver()
    if by_byte:
        for byte in wire[:-1]:
            assert receiver.feed(bytes([byte])) == []
        wire = wire[-1:] if not receiver.closing else b""
    fails(receiver, wire, CloseCode.PROTOCOL_ERROR)


def test_a_second_continuation_after_the_end_is_1002() -> None:
    receiver = new_receiver()
    wire = masked(TEXT, b"a", fin=False) + masked(CONT, b"b") + masked(CONT, b"c")
    assert fails(receiver, wire, CloseCode.PROTOCOL_ERROR) == ["ab"]


BAD_TEXT = [b"\xff", b"caf\xe9", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"]


@pytest.mark.parametrize("bad", BAD_TEXT)
def test_text_that_is_not_utf8_is_1007(bad: bytes) -> None:
    fails(new_receiver(), masked(TEXT, bad), CloseCode.INVALID_DATA)
    fails(new_receiver(deflate=True), masked(TEXT, deflated(bad), bits=RSV1), 1007)


@pytest.mark.parametrize("bad", BAD_TEXT)
def test_invalid_utf8_across_fragments_closes_with_1007(bad: bytes) -> None:
    receiver = new_receiver()
    wire = masked(TEXT, b"ok", fin=False)
    wire += b"".join(masked(CONT, bytes([byte]), fin=False) for byte in bad)
    fails(receiver, wire + masked(CONT), CloseCode.INVALID_DATA)


def test_invalid_utf8_closes_before_the_message_ends() -> None:
    fails(new_receiver(), masked(TEXT, b"\xc0\xaf", fin=False), CloseCode.INVALID_DATA)


def test_characters_may_be_split_across_fragments() -> None:
    raw = "Zoë 名 😀".encode()
    wire = masked(TEXT, fin=False) + b"".join(
        masked(CONT, bytes([byte]), fin=False) for byte in raw
    )
    assert new_receiver().feed(wire + masked(CONT)) == ["Zoë 名 😀"]


def test_a_message_of_the_most_bytes_is_taken_and_one_more_is_1009() -> None:
    assert new_receiver(size=1000).feed(masked(BINARY, b"x" * 1000)) == [b"x" * 1000]
    fails(new_receiver(size=1000), masked(BINARY, b"x" * 1001), CloseCode.MESSAGE_TOO_BIG)


def test_a_huge_declared_length_is_refused_before_its_bytes_come() -> None:
    fails(new_receiver(), b"\x82\xff" + struct.pack("!Q", 2**62) + MASK, CloseCode.MESSAGE_TOO_BIG)


def test_fragments_count_together_against_the_most_bytes() -> None:
    taken = masked(BINARY, b"x" * 600, fin=False) + masked(CONT, b"x" * 400)
    assert new_receiver(size=1000).feed(taken) == [b"x" * 1000]
    over = masked(BINARY, b"x" * 600, fin=False) + masked(CONT, b"x" * 401)
    fails(new_receiver(size=1000), over, CloseCode.MESSAGE_TOO_BIG)


def test_bytes_are_counted_after_inflation() -> None:
    def packed(size: int) -> bytes:
        return masked(BINARY, deflated(b"\x00" * size), bits=RSV1)

    assert new_receiver(deflate=True, size=10_000).feed(packed(10_000)) == [b"\x00" * 10_000]
    fails(new_receiver(deflate=True, size=10_000), packed(10_001), CloseCode.MESSAGE_TOO_BIG)
    bomb = packed(50_000_000)
    assert len(bomb) < 60_000
    fails(new_receiver(deflate=True, size=10_000), bomb, CloseCode.MESSAGE_TOO_BIG)


def test_more_fragments_than_allowed_are_1008() -> None:
    begin, rest = masked(TEXT, b"x", fin=False), masked(CONT, b"x", fin=False)
    assert new_receiver(fragments=5).feed(begin + rest * 3 + masked(CONT, b"x")) == ["xxxxx"]
    fails(new_receiver(fragments=5), begin + rest * 5, CloseCode.POLICY_VIOLATION)
    empty = masked(CONT, fin=False)
    fails(new_receiver(fragments=5), begin + empty * 5, CloseCode.POLICY_VIOLATION)


def test_fragments_are_counted_for_each_message() -> None:
    message = masked(TEXT, b"a", fin=False) + masked(CONT, b"b")
    assert new_receiver(fragments=2).feed(message * 3) == ["ab"] * 3


def test_where_only_text_is_wanted_binary_is_1003() -> None:
    receiver = new_receiver(binary=False)
    assert fails(receiver, masked(TEXT, b"ok") + masked(BINARY, b"no"), 1003) == ["ok"]
    fails(new_receiver(binary=False), masked(BINARY, b"no", fin=False), 1003)


@pytest.mark.parametrize(
    ("frame", "code"),
    [(closing(1000, "bye"), 1000), (closing(4001), 4001), (masked(CLOSE), 1005)],
)
def test_a_close_frame_is_answered_in_kind(frame: bytes, code: int) -> None:
    receiver = new_receiver()
    assert receiver.feed(masked(TEXT, b"last words") + frame) == ["last words"]
    assert receiver.closing
    assert receiver.code == code
    assert unmasked(sent(receiver))[1][:2] == (b"" if code == 1005 else struct.pack("!H", code))


def test_a_client_may_close_in_the_middle_of_a_message() -> None:
    receiver = new_receiver()
    assert receiver.feed(masked(TEXT, b"half", fin=False) + closing(1000)) == []
    assert receiver.code == CloseCode.NORMAL_CLOSURE
    assert unmasked(sent(receiver)) == (FIN | CLOSE, struct.pack("!H", 1000))


def test_without_a_close_frame_the_code_is_1006() -> None:
    receiver = new_receiver()
    assert not receiver.closing
    assert receiver.code == CloseCode.ABNORMAL_CLOSURE


def test_messages_before_a_failure_are_not_lost() -> None:
    wire = masked(TEXT, b"one") + masked(BINARY, b"two") + masked(3)
    assert fails(new_receiver(), wire, CloseCode.PROTOCOL_ERROR) == ["one", b"two"]


def test_fragments_of_two_clients_stay_apart() -> None:
    alice, bob = new_receiver(), new_receiver()
    assert alice.feed(masked(TEXT, b"of ", fin=False)) == []
    assert bob.feed(masked(BINARY, b"by ", fin=False)) == []
    assert alice.feed(masked(CONT, b"alice")) == ["of alice"]
    assert bob.feed(masked(CONT, b"bob")) == [b"by bob"]


def test_what_clients_do_wrong_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wires: list[Any] = [masked(3), masked(TEXT, b"\xff"), closing(1000), b"GET / HTTP/1.1\r\n\r\n"]
    for wire in wires:
        new_receiver().feed(wire)
    assert caplog.text == ""


def test_a_message_with_too_many_fragments_is_not_delivered_in_part() -> None:
    receiver = Receiver(False, 1000, 3, True)
    first, middle, last = masked(TEXT, b"a", fin=False), masked(CONT, b"b", fin=False), masked(CONT)
    assert receiver.feed(first + middle * 2 + last) == []
    assert receiver.code == 1008
