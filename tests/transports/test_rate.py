"""The rate limits of a socket: bytes and messages per second, and those not acked by the broker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from websockets.frames import Frame, Opcode

from wsredis.config import Config
from wsredis.protocol.frames import Receiver
from wsredis.transports import rate as module
from wsredis.transports.rate import FRAME_OVERHEAD, MAX_UNACKED, OVERHEAD, RateLimit

from ..place import CHANNEL, Place, until


class Clock:
    """A stand-in for the module ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


# A second's worth


def test_messages_beyond_the_limit_are_too_much_until_the_next_second(clock: Clock) -> None:
    config, rate = Config(max_messages_per_second=3), RateLimit()
    assert [rate.over_limit(config, 1, 1, 1) for _ in range(5)] == [False] * 3 + [True] * 2
    clock.now += 0.9
    assert rate.over_limit(config, 1, 1, 1)
    clock.now += 0.1
    assert [rate.over_limit(config, 1, 1, 1) for _ in range(4)] == [False] * 3 + [True]


def test_bytes_beyond_the_limit_are_too_much_and_a_frame_costs_some_of_its_own(
    clock: Clock,
) -> None:
    config, rate = Config(max_bytes_per_second=10_000), RateLimit()
    assert not rate.over_limit(config, 10_000 - FRAME_OVERHEAD, 1, 1)
    assert rate.over_limit(config, 1, 0, 0)
    clock.now += 1
    many = 10_000 // FRAME_OVERHEAD
    assert not rate.over_limit(config, 0, many, 0)
    assert rate.over_limit(config, 0, 1, 0)


def test_without_limits_nothing_is_too_much(clock: Clock) -> None:
    config = Config(max_messages_per_second=None, max_bytes_per_second=None)
    assert not RateLimit().over_limit(config, 10**12, 10**9, 10**9)


@pytest.mark.parametrize(
    ("sent", "frames", "heard"),
    [
        ([Frame(Opcode.TEXT, b"one"), Frame(Opcode.BINARY, b"two")], 2, 2),
        ([Frame(Opcode.PING, b""), Frame(Opcode.PONG, b""), Frame(Opcode.TEXT, b"")], 3, 3),
        ([Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.CONT, b"b", fin=False)], 2, 0),
        ([Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.CONT, b"b")], 2, 1),
        ([Frame(Opcode.TEXT, b"one"), Frame(Opcode.CLOSE, b"\x03\xe8")], 2, 1),
    ],
)
def test_a_receiver_tells_what_the_last_bytes_were(
    sent: list[Frame], frames: int, heard: int
) -> None:
    receiver = Receiver(False, 1000, 10, True)
    receiver.feed(b"".join(frame.serialize(mask=True) for frame in sent))
    assert (receiver.frames, receiver.heard) == (frames, heard)
    receiver.feed(b"")
    assert (receiver.frames, receiver.heard) == (0, 0)


# What the broker has not acked


def test_one_is_over_the_watermark_until_the_broker_has_caught_up() -> None:
    rate = RateLimit()
    assert not rate.over_watermark
    rate.publish(MAX_UNACKED - OVERHEAD)
    assert not rate.over_watermark
    rate.publish(0)
    assert rate.over_watermark
    rate.ack(0)
    assert not rate.over_watermark


# What becomes of a socket


def sized(opcode: Opcode, data: bytes = b"", fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


TOO_MUCH = {
    "messages": sized(Opcode.TEXT, b"hello") * 11,
    "pings": sized(Opcode.PING) * 11,
    "pongs": sized(Opcode.PONG) * 11,
    "bytes": sized(Opcode.TEXT, b"x" * 9000),
    "fragments": sized(Opcode.TEXT, b"", False) + sized(Opcode.CONT, b"", False) * 34,
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_too_much_closes_with_1008_and_nothing_of_it_is_heard(
    places: Callable[..., Place], clock: Clock, kind: str
) -> None:
    place = places(max_messages_per_second=10, max_bytes_per_second=9000)
    client, connection, endpoint = place.connect(CHANNEL)
    other, _, heard = place.connect(CHANNEL)
    client.sock.sendall(TOO_MUCH[kind])
    assert client.close_code() == 1008
    other.send(Opcode.TEXT, b"not too much")
    until(lambda: heard.got == ["not too much"])
    assert endpoint.got == []
    assert connection.received == 0
    assert place.numbers()["over_limit"] == 1


def test_too_much_with_a_close_frame_behind_it_is_too_much_all_the_same(
    places: Callable[..., Place], clock: Clock
) -> None:
    place = places(max_messages_per_second=10)
    client, _, endpoint = place.connect(CHANNEL)
    client.sock.sendall(TOO_MUCH["messages"] + sized(Opcode.CLOSE, b"\x03\xe8"))
    assert client.close_code() == 1008
    with pytest.raises(EOFError):  # both close frames have passed
        client.read()
    assert endpoint.got == []


def test_what_is_just_within_the_limit_is_heard_up_to_the_close(
    places: Callable[..., Place], clock: Clock
) -> None:
    place = places(max_messages_per_second=11)
    client, _, endpoint = place.connect(CHANNEL)
    client.sock.sendall(TOO_MUCH["messages"] + sized(Opcode.CLOSE, b"\x03\xe8"))
    assert client.close_code() == 1000
    assert endpoint.got == ["hello"] * 11
    assert place.numbers()["over_limit"] == 0


def test_a_client_that_keeps_sending_over_the_limit_is_no_longer_read(
    places: Callable[..., Place], clock: Clock
) -> None:
    place = places(max_messages_per_second=10, close_timeout=60)
    client, connection, endpoint = place.connect(CHANNEL)
    client.sock.sendall(TOO_MUCH["messages"])
    assert client.close_code() == 1008
    client.sock.sendall(TOO_MUCH["messages"])
    until(lambda: not connection._reader.active)
    assert place.numbers()["over_limit"] == 1
    place.run(connection.abort)  # as the deadline does
    assert endpoint.codes == [1008]


# Copies


def test_each_channel_of_a_message_counts_towards_the_limit_of_bytes(
    places: Callable[..., Place],
) -> None:
    place = places(max_bytes_per_second=1_000_000)
    listener = place.connect(CHANNEL)[0]
    client, connection, _ = place.connect()
    rooms = [CHANNEL, *(f"ws:group:{number}:news" for number in range(9))]
    place.run(connection.publish, rooms, "x" * 100_000)
    assert listener.read()[1] == b"x" * 100_000
    until(lambda: not connection.paused)  # the copies were acked
    place.run(
        connection.publish,
        rooms + [f"ws:group:{number}:more" for number in range(3)],
        "y" * 100_000,
    )
    assert client.close_code() == 1008
    assert place.numbers()["over_limit"] == 1
    place.publish("next")
    assert listener.read()[1] == b"next"  # and not that message


def test_each_channel_of_a_message_counts_until_it_is_acked(place: Place) -> None:
    _, connection, _ = place.connect()
    acks: list[Callable[[bool], None]] = []
    place.hub._feed.publish = lambda channels, payload, expire, on_ack: acks.append(on_ack)
    rooms = [f"ws:group:{number}:news" for number in range(8)]
    place.run(connection.publish, rooms, "x" * (MAX_UNACKED // 8))
    assert connection.paused
    place.run(acks[0], True)
    assert not connection.paused
    assert connection._rate is not None
    assert connection._rate._unacked == 0
