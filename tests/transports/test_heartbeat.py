"""Heartbeats for clients that have asked for them: the first message, and one with every ping."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from websockets.frames import Opcode

from wsredis.endpoints import Endpoint, PubSubEndpoint
from wsredis.hub.keepalive import BUCKETS
from wsredis.identity import ANONYMOUS
from wsredis.protocol.frames import heartbeat
from wsredis.transports.stream import State

from ..handshakes import DirectGate
from ..place import CHANNEL, Client, Place, Recorder, complete
from .support import Deferred, head, wait

SLOWLY = {"ping_interval": 3100, "pong_timeout": 3100}
"""The test says when it is time."""

HEARTBEAT = (Opcode.TEXT, b"wsredis.heartbeat 3100")


def join(place: Place, *channels: str, asks: bool = True, bits: int = 0) -> tuple[Client, Recorder]:
    endpoint = Recorder()
    endpoint.heartbeat = asks
    connection = place.websocket(endpoint, ANONYMOUS, bits)
    place.join(connection, channels)
    near, far = place.pair()
    place.run(connection.open, near.detach())
    return Client(far), endpoint


def ping_all(place: Place) -> None:
    def turn() -> None:
        for _ in range(BUCKETS):
            complete(place.hub._everybody.ping())

    place.run(turn)


@pytest.mark.parametrize("bits", [0, 15])
def test_it_comes_first_and_with_every_ping(places: Callable[..., Place], bits: int) -> None:
    place = places(**SLOWLY)
    place.publish("retained", expire=60)
    client, _ = join(place, CHANNEL, bits=bits)
    place.publish("live")
    assert [client.read() for _ in range(3)] == [
        HEARTBEAT,
        (Opcode.TEXT, b"retained"),
        (Opcode.TEXT, b"live"),
    ]
    for _ in range(2):
        ping_all(place)
        assert [client.read(), client.read()] == [(Opcode.PING, b""), HEARTBEAT]
        client.send(Opcode.PONG)
        client.send(Opcode.PING, b"seen")
        assert client.read() == (Opcode.PONG, b"seen")


def test_a_client_that_does_not_ask_gets_none(places: Callable[..., Place]) -> None:
    place = places(**SLOWLY)
    client, _ = join(place, CHANNEL, asks=False)
    ping_all(place)
    place.publish("live")
    assert [client.read(), client.read()] == [(Opcode.PING, b""), (Opcode.TEXT, b"live")]


def test_it_is_counted_as_no_message(places: Callable[..., Place]) -> None:
    place = places(**SLOWLY)
    client, _ = join(place, CHANNEL)
    ping_all(place)
    assert [client.read()[0] for _ in range(3)] == [Opcode.TEXT, Opcode.PING, Opcode.TEXT]
    assert [each.sent for each in place.run(lambda: list(place.hub.subscribers()))] == [0]
    assert place.numbers()["delivered"] == 0


def test_a_deferred_endpoint_sends_it_after_the_101(places: Callable[..., Place]) -> None:
    place = places(**SLOWLY)
    place.publish("retained", expire=60)
    endpoint = Deferred()
    endpoint.heartbeat = True
    client, connection = wait(place, endpoint)
    place.run(connection.accept)
    assert head(client)[0] == "HTTP/1.1 101 Switching Protocols"
    assert [client.read(), client.read()] == [HEARTBEAT, (Opcode.TEXT, b"retained")]


def test_one_that_was_closed_while_joining_gets_the_close_frame(
    places: Callable[..., Place],
) -> None:
    place = places(**SLOWLY)
    endpoint = Recorder()
    endpoint.heartbeat = True
    connection = place.websocket(endpoint, ANONYMOUS)
    place.join(connection, [CHANNEL])
    place.run(connection.kick, 4401, "")
    near, far = place.pair()
    place.run(connection.open, near.detach())
    assert Client(far).close_code() == 4401
    assert connection.state is State.CLOSING


@pytest.mark.parametrize(
    ("interval", "text"),
    [(25.0, b"25"), (25, b"25"), (0.31, b"0.31"), (2.5e9, b"2.5e+09")],
)
def test_it_names_its_interval(interval: float, text: bytes) -> None:
    assert heartbeat(interval) == bytes([0x81, 18 + len(text)]) + b"wsredis.heartbeat " + text


class Custom(Endpoint):
    """An endpoint that has never heard of heartbeats."""


class Opinionated(PubSubEndpoint):
    """An endpoint that decides for itself."""

    def __init__(self, request: object, context: object) -> None:
        super().__init__(request, context)  # type: ignore[arg-type]
        self.heartbeat = False


@pytest.mark.parametrize(
    ("endpoint", "query", "gets"),
    [
        (PubSubEndpoint, "subscribe-broadcast&heartbeat", True),
        (PubSubEndpoint, "heartbeat=1&subscribe-broadcast", True),
        (PubSubEndpoint, "subscribe-broadcast", False),
        (Opinionated, "subscribe-broadcast&heartbeat", False),
        (Custom, "subscribe-broadcast&heartbeat", False),
    ],
)
def test_the_endpoint_decides_for_each_websocket(
    gates: Callable[..., DirectGate], endpoint: type[Endpoint], query: str, gets: bool
) -> None:
    gate = gates(endpoint=endpoint)
    gate.ask(query)
    (connection,) = gate.process.hub.subscribers()
    gate.process.loop.run(connection.send, "hello")
    client = Client(gate.far_ends[0])
    head(client)
    got = [client.read() for _ in range(1 + gets)]
    beat = (Opcode.TEXT, b"wsredis.heartbeat 25")
    assert got == [beat] * gets + [(Opcode.TEXT, b"hello")]
