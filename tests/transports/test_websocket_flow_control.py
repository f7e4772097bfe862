"""Websockets that an endpoint does not read, or that do not read what it sends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent
from websockets.frames import Frame, Opcode

from wsredis.endpoints import EndpointConnection
from wsredis.transports.rate import MAX_UNACKED
from wsredis.transports.stream import State
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, until
from .support import Deferred, head, wait

# Holding


class Holding(Recorder):
    """An endpoint that holds reading after each "hold"."""

    def received(self, connection: EndpointConnection, message: str | bytes) -> None:
        super().received(connection, message)
        if message == "hold":
            connection.hold()


def holding(place: Place) -> tuple[Client, WebSocket, Holding]:
    endpoint = Holding()
    connection = place.websocket(endpoint)
    place.join(connection, [CHANNEL])
    near, far = place.pair()
    place.run(connection.open, near.detach())
    return Client(far), connection, endpoint


def frames(*texts: str) -> bytes:
    return b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=True) for text in texts)


def test_nothing_is_delivered_while_it_is_held(place: Place) -> None:
    client, connection, endpoint = holding(place)
    client.sock.sendall(frames("hold", "one", "hold", "two"))
    until(lambda: endpoint.got == ["hold"])
    client.sock.sendall(frames("three"))
    place.run(connection.ping)
    assert client.read() == (Opcode.PING, b"")
    assert connection.paused
    assert not connection.is_silent
    place.run(connection.release)
    until(lambda: endpoint.got == ["hold", "one", "hold"])
    place.run(gevent.sleep, 0.02)
    assert endpoint.got == ["hold", "one", "hold"]
    place.run(connection.release)
    until(lambda: endpoint.got == ["hold", "one", "hold", "two", "three"])
    assert not connection.paused
    place.run(connection.release)  # nothing is held
    assert connection.received == 5


def test_a_close_frame_waits_for_the_messages_before_it(place: Place) -> None:
    client, connection, endpoint = holding(place)
    close = Frame(Opcode.CLOSE, (4000).to_bytes(2, "big") + b"bye").serialize(mask=True)
    client.sock.sendall(frames("one", "hold") + close)
    until(lambda: endpoint.got == ["one", "hold"])
    place.run(gevent.sleep, 0.02)
    assert connection.state is State.OPEN
    place.run(connection.release)
    assert client.close_code() == 4000
    client.sock.close()
    until(lambda: endpoint.codes == [4000])
    assert connection.close_reason == "bye"


def test_one_may_be_held_and_released_at_once(place: Place) -> None:
    client, connection, endpoint = holding(place)

    def received(connection: EndpointConnection, message: str | bytes) -> None:
        endpoint.got.append(message)
        connection.hold()
        connection.release()

    endpoint.received = received
    client.sock.sendall(frames("one", "two", "three"))
    until(lambda: endpoint.got == ["one", "two", "three"])
    until(lambda: not connection.paused)


def test_one_held_again_before_it_goes_on_stays_held(place: Place) -> None:
    client, connection, endpoint = holding(place)
    client.sock.sendall(frames("hold", "one"))
    until(lambda: endpoint.got == ["hold"])

    def again() -> None:
        connection.release()
        connection.hold()

    place.run(again)
    place.run(gevent.sleep, 0.02)
    assert endpoint.got == ["hold"]


def test_one_that_is_released_is_read_when_the_broker_has_caught_up(place: Place) -> None:
    _client, connection, _ = holding(place)
    place.run(connection.hold)
    place.run(connection.publishing, MAX_UNACKED)
    place.run(connection.release)
    place.run(gevent.sleep, 0.02)
    assert connection.paused
    place.run(connection.on_ack, MAX_UNACKED)
    assert not connection.paused


def test_one_that_closes_forgets_what_is_held(place: Place) -> None:
    client, connection, endpoint = holding(place)
    client.sock.sendall(frames("hold", "one"))
    until(lambda: endpoint.got == ["hold"])
    place.run(connection.close, 4000)
    place.run(connection.release)
    assert client.close_code() == 4000
    client.send(Opcode.CLOSE, (4000).to_bytes(2, "big"))
    assert client.sock.recv(1) == b""  # it is read again
    client.sock.close()
    until(lambda: endpoint.codes == [4000])
    assert endpoint.got == ["hold"]


def test_a_close_frame_that_is_held_back_is_not_awaited_again(places: Callable[..., Place]) -> None:
    place = places(close_timeout=20)
    client, connection, endpoint = holding(place)
    close = Frame(Opcode.CLOSE, (1000).to_bytes(2, "big")).serialize(mask=True)
    client.sock.sendall(frames("hold", "one") + close)
    until(lambda: endpoint.got == ["hold"])
    place.run(connection.close, 4000)
    assert client.close_code() == 4000
    assert client.sock.recv(1) == b""  # at once
    client.sock.close()
    until(lambda: endpoint.codes == [4000])
    assert place.numbers()["timeouts"] == 0


def test_one_that_is_released_and_closed_at_once_delivers_nothing(place: Place) -> None:
    client, connection, endpoint = holding(place)
    client.sock.sendall(frames("hold", "one"))
    until(lambda: endpoint.got == ["hold"])

    def release_and_close() -> None:
        connection.release()
        connection.close(4000)

    place.run(release_and_close)
    assert client.close_code() == 4000
    assert endpoint.got == ["hold"]


def test_one_that_closes_cannot_be_held(places: Callable[..., Place]) -> None:
    place = places(close_timeout=20)
    client, connection, endpoint = holding(place)
    place.run(connection.close, 4000)
    place.run(connection.hold)
    assert client.close_code() == 4000
    client.send(Opcode.CLOSE, (4000).to_bytes(2, "big"))
    assert client.sock.recv(1) == b""  # at once
    client.sock.close()
    until(lambda: endpoint.codes == [4000])
    assert place.numbers()["timeouts"] == 0


def test_a_close_frame_behind_the_handshake_is_not_awaited_again(
    places: Callable[..., Place],
) -> None:
    place = places(close_timeout=20)
    endpoint = Deferred()
    endpoint.opened = lambda connection: connection.close(4000)
    early = Frame(Opcode.CLOSE, (1000).to_bytes(2, "big")).serialize(mask=True)
    client, connection = wait(place, endpoint, frames("unheard") + early)
    place.run(connection.accept)
    assert head(client)[0] == "HTTP/1.1 101 Switching Protocols"
    assert client.close_code() == 4000
    assert client.sock.recv(1) == b""  # at once
    assert endpoint.got == []


def test_many_held_messages_are_delivered_one_by_one(place: Place) -> None:
    client, connection, endpoint = holding(place)
    client.sock.sendall(frames(*["hold"] * 500))
    for count in range(1, 501):
        until(lambda n=count: len(endpoint.got) == n)
        place.run(connection.release)
    until(lambda: not connection.paused)


def test_one_that_is_held_from_the_beginning_hears_nothing(place: Place) -> None:
    endpoint = Deferred(lambda connection: connection.hold())
    client, connection = wait(place, endpoint, frames("one"))
    place.run(connection.accept)
    assert head(client)[0] == "HTTP/1.1 101 Switching Protocols"
    client.sock.sendall(frames("two"))
    place.run(gevent.sleep, 0.02)
    assert endpoint.got == []
    place.run(connection.release)
    until(lambda: endpoint.got == ["one", "two"])


# Draining


def test_an_endpoint_is_told_to_wait_and_when_all_was_sent(places: Callable[..., Place]) -> None:
    place = places(max_send_buffer=20_000, ping_interval=3600)
    drained: list[WebSocket] = []

    class Filling(Recorder):
        def drained(self, connection: Any) -> None:
            drained.append(connection)

    connection = place.websocket(Filling())
    place.join(connection, [CHANNEL])
    near, far = place.pair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    place.run(connection.open, near.detach())

    def fill() -> int:
        count = 1
        while connection.send("x" * 1000):
            count += 1
        return count

    count = place.run(fill)
    assert 10_000 < connection.send_buffer.weight <= 11_100
    assert not place.run(connection.send, "y" * 1000)
    assert drained == []
    client = Client(far)
    for _ in range(count + 1):
        client.read()
    until(lambda: drained == [connection])
    assert place.run(connection.send, "z")
    assert client.read()[1] == b"z"
    assert drained == [connection]
    place.run(connection.close)
    assert not place.run(connection.send, "too late")
