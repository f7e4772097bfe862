"""Messages of one plain frame are read without the parser, with the same results."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest

from wsredis.message import Data
from wsredis.protocol.frames import Receiver

from .test_frames import (
    BINARY,
    FIN,
    MASK,
    PING_OP,
    PONG,
    RSV1,
    RSV2,
    TEXT,
    closing,
    deflated,
    masked,
    new_receiver,
    sent,
)

LIMIT = 300

PLAIN = {
    "empty text": masked(TEXT),
    "text": masked(TEXT, "grüße".encode()),
    "binary": masked(BINARY, b"\xff\xfe"),
    "longest short": masked(TEXT, b"x" * 125),
    "shortest long": masked(TEXT, b"x" * 126),
    "as long as may be": masked(TEXT, b"x" * LIMIT),
}

OTHER = {
    "a longer length than needed": bytes((FIN | TEXT, FIN | 126, 0, 1)) + MASK + b"`",
    "the longest form of a length": bytes((FIN | TEXT, FIN | 127, *bytes(7), 1)) + MASK + b"`",
    "too long": masked(TEXT, b"x" * (LIMIT + 1)),
    "far too long": masked(TEXT, b"x" * 70_000),
    "not masked": b"\x81\x01a",
    "not masked, and of a size that looks masked": b"\x81\x7e\x00\x80" + b"a" * 128,
    "no UTF-8": masked(TEXT, b"\xff"),
    "half a character": masked(TEXT, "ü".encode()[:1]),
    "a fragment": masked(TEXT, b"a", fin=False),
    "a continuation of nothing": masked(0, b"a"),
    "a reserved bit": masked(TEXT, b"a", bits=RSV2),
    "deflated": masked(TEXT, deflated(b"packed"), bits=RSV1),
    "a ping": masked(PING_OP, b"?"),
    "a pong": masked(PONG),
    "an unknown kind": masked(3, b"a"),
    "a close frame": closing(1000, "bye"),
    "the first byte": masked(TEXT, b"abc")[:1],
    "the head": masked(TEXT, b"abc")[:6],
    "the head of a longer one": masked(TEXT, b"x" * 200)[:7],
    "all but the last byte": masked(TEXT, b"abc")[:-1],
    "all but the last byte of a longer one": masked(TEXT, b"x" * 200)[:-1],
}


def outcome(receiver: Receiver, chunks: list[bytes]) -> tuple[object, ...]:
    messages: list[Data] = []
    frames = heard = 0
    for chunk in chunks:
        messages += receiver.feed(chunk)
        frames += receiver.frames
        heard += receiver.heard
    state = (receiver.closing, receiver.code, receiver.busy)
    return messages, frames, heard, sent(receiver), state


@pytest.mark.parametrize("wire", PLAIN.values(), ids=PLAIN)
def test_the_parser_does_not_see_them(wire: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = new_receiver(size=LIMIT)
    expected = outcome(new_receiver(size=LIMIT), [bytes((byte,)) for byte in wire * 3])
    monkeypatch.setattr(receiver, "receive_data", lambda data: pytest.fail("it has seen one"))
    assert outcome(receiver, [wire * 3]) == expected
    assert expected[1:3] == (3, 3)


@pytest.mark.parametrize("binary", [True, False], ids=["with binary", "only text"])
@pytest.mark.parametrize("deflate", [True, False], ids=["deflate", "no deflate"])
@pytest.mark.parametrize("before", ["", *PLAIN])
@pytest.mark.parametrize("name", [*OTHER, *PLAIN])
def test_what_comes_between_gives_the_same_as_byte_by_byte(
    name: str, before: str, deflate: bool, binary: bool
) -> None:
    plain = PLAIN.get(before, b"")
    wire = plain + {**PLAIN, **OTHER}[name] + plain
    whole, slow = (
        new_receiver(size=LIMIT, deflate=deflate, binary=binary, fragments=3) for _ in range(2)
    )
    assert outcome(whole, [wire]) == outcome(slow, [bytes((byte,)) for byte in wire])


def test_one_goes_on_where_a_fragmented_message_has_ended() -> None:
    receiver = new_receiver()
    assert receiver.feed(masked(TEXT, b"a", fin=False) + masked(TEXT, b"no")) == []
    assert (receiver.closing, receiver.code) == (True, 1002)
    receiver = new_receiver()
    assert receiver.feed(masked(TEXT, b"a", fin=False)) == []
    assert receiver.feed(masked(0, b"b") + masked(TEXT, b"c")) == ["ab", "c"]
    assert receiver.feed(masked(TEXT, b"d")) == ["d"]


def test_without_the_masking_in_c_they_are_read_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    spec: Any = importlib.util.find_spec("wsredis.protocol.frames")
    anew: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(anew)
    assert anew.apply_mask.__module__ == "websockets.utils"
    assert anew.Receiver(False, LIMIT, 3, True).feed(masked(TEXT, b"hello")) == ["hello"]
