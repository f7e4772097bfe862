"""Messages that take long to encode: they are encoded in a thread and delay no other message."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from wsredis.hub import dispatch
from wsredis.hub.dispatch import LARGE, MAX_ENCODING, MAX_WAITING
from wsredis.message import Message
from wsredis.protocol import frames
from wsredis.protocol.frames import COMPRESS_AT_ONCE, FrameEncoding

from ..place import CHANNEL, Place, until

SPORT = "ws:broadcast:sport"
TEXT = "abc" * COMPRESS_AT_ONCE


class Thread:
    """The encoder of large messages: it notes what it encodes, and waits for a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoded: list[tuple[int, bytes]] = []
        self.at_once: list[bytes] = []
        self.go_on = threading.Event()
        encode = FrameEncoding.encode

        def noting(encoding: FrameEncoding, message: Message, *, in_thread: bool = False) -> bytes:
            if in_thread:
                self.encoded.append((encoding.window_bits, message.payload[:3]))
                assert self.go_on.wait(10)
            else:
                self.at_once.append(message.payload[:3])
            return encode(encoding, message, in_thread=in_thread)

        monkeypatch.setattr(FrameEncoding, "encode", noting)


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Thread:
    return Thread(monkeypatch)


def size_of(client: Any) -> int:
    """Return the size of the next frame's payload, as sent."""
    sizes: list[int] = []
    take = client._take

    def noting(size: int) -> bytes:
        sizes.append(size)
        return take(size)

    client._take = noting
    client.read()
    del client._take
    return sizes[-1]


@pytest.mark.parametrize("members", [1, 200])
def test_a_large_message_is_compressed_once_for_each_window_in_a_thread(
    place: Place, thread: Thread, members: int
) -> None:
    thread.go_on.set()
    clients = [
        place.connect(CHANNEL, bits=bits)[0]
        for bits in (0, *range(9, 16))
        for _ in range(members if bits in (0, 15) else 1)
    ]
    place.publish(TEXT)
    for client in clients:
        assert client.read()[1] == TEXT.encode()
    assert sorted(thread.encoded) == [(9, b"abc"), (12, b"abc"), (15, b"abc")]
    assert place.numbers()["delivered"] == len(clients)


def test_other_channels_are_served_while_a_thread_compresses(place: Place, thread: Thread) -> None:
    client = place.connect(CHANNEL, bits=15)[0]
    other = place.connect(SPORT, bits=15)[0]
    place.publish(TEXT)
    until(lambda: thread.encoded)
    place.publish("goal", SPORT)
    assert other.read()[1] == b"goal"
    place.publish("z" * LARGE * 2, SPORT)  # of the size that is queued
    assert other.read()[1] == b"z" * LARGE * 2
    place.publish("d" + TEXT, SPORT)  # the thread is busy
    assert size_of(other) == len(TEXT) + 1
    thread.go_on.set()
    assert size_of(client) < len(TEXT) // 10


def test_a_client_of_both_channels_gets_them_in_order(place: Place, thread: Thread) -> None:
    client = place.connect(CHANNEL, SPORT, bits=15)[0]
    other = place.connect(CHANNEL, bits=15)[0]
    place.publish(TEXT)
    until(lambda: thread.encoded)
    place.publish("goal", SPORT)
    assert client.read()[1] == TEXT.encode()  # not compressed, as nothing may overtake it
    assert client.read()[1] == b"goal"
    place.publish("later")
    thread.go_on.set()
    assert other.read()[1] == TEXT.encode()
    assert [other.read()[1], client.read()[1]] == [b"later", b"later"]


def test_messages_for_the_same_channel_wait_for_it(place: Place, thread: Thread) -> None:
    client = place.connect(CHANNEL, bits=15)[0]
    place.publish(TEXT)
    until(lambda: thread.encoded)
    place.publish("small")
    place.publish("d" + TEXT)
    thread.go_on.set()
    assert [client.read()[1] for _ in range(3)] == [
        TEXT.encode(),
        b"small",
        b"d" + TEXT.encode(),
    ]


def test_a_channel_with_too_much_waiting_is_not_encoded_in_a_thread(
    place: Place, thread: Thread
) -> None:
    client = place.connect(CHANNEL, bits=15)[0]
    place.publish("x" * MAX_ENCODING)
    assert size_of(client) == MAX_ENCODING
    assert thread.encoded == []


def test_what_waits_for_the_thread_does_not_stop_the_feed(place: Place, thread: Thread) -> None:
    place.connect(CHANNEL, bits=15)
    other = place.connect(SPORT)[0]
    place.publish("abc" * (MAX_WAITING // 2))
    until(lambda: thread.encoded)
    place.publish("goal", SPORT)
    assert other.read()[1] == b"goal"
    thread.go_on.set()


def test_members_that_leave_meanwhile_leave_nothing(place: Place, thread: Thread) -> None:
    _, connection, _ = place.connect(CHANNEL, bits=15)
    place.publish(TEXT)
    until(lambda: thread.encoded)
    place.run(connection.abort)
    thread.go_on.set()
    until(lambda: place.hub._dispatch._encoding is None)
    until(lambda: not place.hub._dispatch._queue)
    client = place.connect(CHANNEL, bits=15)[0]
    place.publish(TEXT)
    assert client.read()[1] == TEXT.encode()


def test_a_thread_that_fails_costs_only_the_compression(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(dispatch.Encoded, "encode_in_thread", fail)
    client = place.connect(CHANNEL, bits=15)[0]
    place.publish(TEXT)
    assert size_of(client) == len(TEXT)


def test_one_callback_compresses_a_limited_number_of_bytes(
    places: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count the bytes that are compressed before other work of the loop runs."""
    place = places()
    since = [0]
    most = [0]
    compress = frames.encode_message

    def counting(payload: bytes, *args: Any, in_thread: bool = False) -> bytes:
        if not in_thread and args[1] and len(payload) <= COMPRESS_AT_ONCE:
            since[0] += len(payload)
            most[0] = max(most[0], since[0])
        return compress(payload, *args, in_thread=in_thread)

    monkeypatch.setattr(frames, "encode_message", counting)
    channels = [f"ws:group:{number}:news" for number in range(40)]
    clients = [place.connect(*channels, bits=bits)[0] for bits in (9, 12, 15)]

    def tick() -> None:
        while True:
            since[0] = 0
            gevent.sleep(0)

    ticking = place.run(gevent.spawn, tick)
    payload = "ab" * (COMPRESS_AT_ONCE // 2)
    place.run(place.broker.publish, channels, payload.encode(), 0)
    for client in clients:
        assert [len(client.read()[1]) for _ in channels] == [COMPRESS_AT_ONCE] * 40
    place.run(ticking.kill)
    assert most[0] <= 4 * COMPRESS_AT_ONCE
