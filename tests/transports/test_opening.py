"""Websockets whose handshake is answered later."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from websockets.frames import Frame, Opcode

from wsredis.endpoints import Endpoint, EndpointConnection
from wsredis.exceptions import HandshakeError
from wsredis.identity import Identity
from wsredis.transports.opening import READ_SIZE
from wsredis.transports.stream import State
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, complete, until
from .support import HANDSHAKE, Deferred, head, rest, wait


def told(endpoint: Deferred) -> tuple[int, list[int]]:
    return endpoint.opens, endpoint.codes


@pytest.mark.parametrize(("chosen", "sent"), [(None, "one"), ("two", "two")])
def test_it_is_accepted_with_what_the_endpoint_says(
    place: Place, chosen: str | None, sent: str
) -> None:
    place.publish("retained", expire=60)
    endpoint = Deferred()
    client, connection = wait(place, endpoint)
    place.publish("live")
    until(lambda: place.numbers()["delivered"] == 1)
    assert connection.state is State.JOINING
    assert place.numbers()["accepted"] == 0
    place.run(connection.accept, chosen, iter([("X-Answered", "later")]))
    assert head(client) == [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "X-Answered: later",
        f"Sec-WebSocket-Protocol: {sent}",
    ]
    assert [client.read()[1], client.read()[1]] == [b"retained", b"live"]
    assert connection.subprotocol == sent
    assert told(endpoint) == (1, [])
    assert place.numbers()["accepted"] == 1
    client.send(Opcode.TEXT, b"hello")
    until(lambda: endpoint.got == ["hello"])


def test_what_the_endpoint_has_chosen_before_holds(place: Place) -> None:
    endpoint = Deferred()
    endpoint.subprotocol, endpoint.headers = "two", [("X-Made", "early")]
    client, connection = wait(place, endpoint)
    place.run(connection.accept, None, [("X-Answered", "later")])
    assert head(client)[2:] == [
        "X-Made: early",
        "X-Answered: later",
        "Sec-WebSocket-Protocol: two",
    ]


def test_what_comes_before_the_answer_is_heard_after_it(place: Place) -> None:
    endpoint = Deferred()
    client, connection = wait(place, endpoint, Frame(Opcode.TEXT, b"one").serialize(mask=True))
    client.send(Opcode.TEXT, b"two")
    until(lambda: b"two" in unmasked(connection))
    assert endpoint.got == []
    place.run(connection.accept)
    until(lambda: endpoint.got == ["one", "two"])


def unmasked(connection: WebSocket) -> bytes:
    """Return the payload of the last frame that has come before the answer."""
    assert connection._pending is not None
    data = connection._pending.early[-9:]
    return bytes(byte ^ data[2 + index % 4] for index, byte in enumerate(data[6:]))


def test_a_client_that_says_too_much_before_the_answer_is_not_read(place: Place) -> None:
    endpoint = Deferred()
    client, connection = wait(place, endpoint)
    frame = Frame(Opcode.TEXT, b"x" * 10_000).serialize(mask=True)
    sender = threading.Thread(target=client.sock.sendall, args=(frame * 100,))
    sender.start()
    until(lambda: not connection._reader.active)
    assert connection._pending is not None
    assert READ_SIZE < len(connection._pending.early) <= READ_SIZE * 2
    place.run(connection.accept)
    until(lambda: len(endpoint.got) == 100)
    sender.join()


def test_it_is_refused_with_an_answer_of_the_endpoint(place: Place) -> None:
    endpoint = Deferred()
    client, connection = wait(place, endpoint)
    place.publish("lost")
    connection.soon(
        lambda: connection.refuse(
            409, "Enough.", [("X-Quota", "3")], body=b"{}", content_type="application/json"
        )
    )
    lines, body = head(client), rest(client)
    assert lines[0] == "HTTP/1.1 409 Conflict"
    assert {"Content-Type: application/json", "X-Quota: 3", "Connection: close"} <= set(lines)
    assert body == "{}"
    client.send(Opcode.TEXT, b"unheard")
    client.send(Opcode.CLOSE, (1000).to_bytes(2, "big"))
    client.sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    assert told(endpoint) == (0, [1006])
    assert connection.close_reason == "Enough."
    assert endpoint.got == []
    assert place.numbers()["accepted"] == 0


def test_a_refused_client_that_stays_is_ended_at_the_deadline(places: Callable[..., Place]) -> None:
    place = places(close_timeout=0.1)
    endpoint = Deferred()
    _client, connection = wait(place, endpoint)
    place.run(connection.refuse, 403, "No.")
    until(lambda: endpoint.codes == [1006])
    assert place.numbers()["timeouts"] == 1


def test_a_refused_client_that_has_sent_much_gets_the_whole_response(place: Place) -> None:
    client, connection = wait(place, Deferred())
    frame = Frame(Opcode.TEXT, b"x" * 10_000).serialize(mask=True)
    sender = threading.Thread(target=client.sock.sendall, args=(frame * 100,))
    sender.start()
    until(lambda: not connection._reader.active)
    body = "x" * 100_000
    place.run(lambda: connection.refuse(403, "No.", body=body))
    assert head(client)[0] == "HTTP/1.1 403 Forbidden"
    assert rest(client) == body
    sender.join()  # everything that it has sent was read


def test_one_answered_while_another_is_refused_at_the_deadline_stays(
    places: Callable[..., Place],
) -> None:
    place = places(handshake_timeout=0.2)
    other = Deferred()

    class Answering(Deferred):
        def closed(self, connection: EndpointConnection, code: int) -> None:
            super().closed(connection, code)
            second.accept()

    endpoint = Answering()
    client, first = wait(place, endpoint)
    _, second = wait(place, other)
    place.run(first._reader.stop)
    client.sock.close()  # noticed when the refusal is sent, in the same iteration of the loop
    until(lambda: endpoint.codes == [1006])
    place.run(lambda: complete(place.hub._everybody.sweep()))
    assert second.state is State.OPEN
    assert place.numbers()["handshake_timeouts"] == 1


def test_without_an_answer_it_is_refused_at_the_deadline(places: Callable[..., Place]) -> None:
    place = places(handshake_timeout=0.2, close_timeout=0.1)
    endpoint = Deferred()
    client, connection = wait(place, endpoint)
    lines = head(client)
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert "Retry-After: 2" in lines
    client.sock.close()
    until(lambda: endpoint.codes == [1006])
    place.run(connection.accept)  # too late, and nothing happens
    place.run(connection.refuse, 403, "No.")
    assert endpoint.opens == 0
    assert place.numbers()["handshake_timeouts"] == 1
    assert place.numbers()["timeouts"] == 0


def test_it_may_be_answered_until_the_deadline(place: Place) -> None:
    """A sweep finds it pending, and the deadline has not passed."""
    _client, connection = wait(place, Deferred())
    place.run(lambda: complete(place.hub._everybody.sweep()))
    assert connection.state is State.JOINING
    place.run(connection.accept)
    assert connection.state is State.OPEN
    assert place.numbers()["handshake_timeouts"] == 0


def test_one_that_was_accepted_in_time_stays(places: Callable[..., Place]) -> None:
    place = places(handshake_timeout=0.2, close_timeout=0.1)
    client, connection = wait(place, Deferred())
    place.run(connection.accept)
    place.run(gevent.sleep, 0.5)  # longer than the deadline and a sweep
    assert connection.state is State.OPEN
    assert head(client)[0] == "HTTP/1.1 101 Switching Protocols"


def test_a_client_that_disconnects_before_the_answer_is_noticed(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wsredis")
    endpoint = Deferred()
    client, connection = wait(place, endpoint)
    client.sock.close()
    until(lambda: endpoint.codes == [1006])
    assert "disconnected before its handshake was answered: user=alice" in caplog.text
    place.run(connection.accept)
    assert endpoint.opens == 0
    assert place.numbers()["connections"] == place.numbers()["channels"] == 0


def test_an_answer_after_a_refusal_of_ours_does_nothing(place: Place) -> None:
    endpoint = Deferred()
    client, connection = wait(place, endpoint)
    assert place.run(connection.kick, 1012, "restart")
    place.run(connection.accept)
    place.run(connection.refuse, 403, "No.")
    assert head(client)[0] == "HTTP/1.1 503 Service Unavailable"
    assert endpoint.opens == 0


def test_the_101_goes_out_before_a_close_that_discards_the_rest(
    places: Callable[..., Place],
) -> None:
    place = places(max_send_buffer=2000)
    for _ in range(2):
        place.publish("x" * 900, f"{CHANNEL}{_}", expire=60)

    class Filling(Deferred):
        def opened(self, connection: EndpointConnection) -> None:
            assert not connection.send("y" * 900)

    connection = place.websocket(Filling(), Identity("alice"))
    place.join(connection, [f"{CHANNEL}{number}" for number in range(2)])
    near, far = place.pair()
    place.run(connection.await_answer, near.detach(), b"", HANDSHAKE)
    place.run(connection.accept)
    client = Client(far)
    assert head(client)[0] == "HTTP/1.1 101 Switching Protocols"
    assert client.close_code() == 1013


def test_a_refusal_that_cannot_be_sent_is_500(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    client, _ = wait(place, Deferred(fail(HandshakeError(429, "No.", [("Retry-After", 5)]))))
    assert head(client)[0] == "HTTP/1.1 500 Internal Server Error"
    assert "not a str" in caplog.text


def test_it_is_answered_once(place: Place) -> None:
    _client, connection = wait(place, Deferred())
    place.run(connection.accept)
    for answer in (connection.accept, lambda: connection.refuse(403, "No.")):
        with pytest.raises(RuntimeError, match="already been answered"):
            place.run(answer)
    assert connection.state is State.OPEN


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            lambda c: c.accept("three"),
            r"does not offer the subprotocol 'three': choose one that it offers \(one, two\)",
        ),
        (lambda c: c.accept(""), "does not offer the subprotocol ''"),
        (lambda c: c.close(1005), "1005 is not a close code that a server may send"),
        (lambda c: c.accept(headers=[("X-Evil", "a\r\nb: c")]), "printable ASCII"),
        (lambda c: c.accept(headers=[("X Evil", "a")]), "'X Evil' is not a valid header name"),
        (lambda c: c.accept(headers=[("Sec-WebSocket-Accept", "x")]), "itself: leave it out"),
        (lambda c: c.accept(headers=[("Upgrade", "x")]), "itself: leave it out"),
        (lambda c: c.refuse(200, "No."), "write 300 to 599"),
        (lambda c: c.refuse(403, "No.", [("Connection", "keep-alive")]), "itself: leave it out"),
    ],
)
def test_what_cannot_be_sent_is_an_error_and_leaves_it_pending(
    place: Place, answer: Callable[[Any], None], error: str
) -> None:
    client, connection = wait(place, Deferred())
    with pytest.raises(ValueError, match=error):
        place.run(answer, connection)
    place.run(connection.accept)
    assert head(client)[0] == "HTTP/1.1 101 Switching Protocols"


def fail(error: BaseException) -> Callable[[Any], None]:
    def answer(connection: Any) -> None:
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (HandshakeError(404, "No such room."), "404 Not Found", "No such room."),
        (
            gevent.Timeout(1),
            "500 Internal Server Error",
            "This websocket cannot be opened because of a server error.",
        ),
        (
            LookupError("secret"),
            "500 Internal Server Error",
            "This websocket cannot be opened because of a server error.",
        ),
        (
            HandshakeError(404, "No.", [("Connection", "x")]),
            "500 Internal Server Error",
            "This websocket cannot be opened because of a server error.",
        ),
    ],
)
def test_an_endpoint_that_fails_refuses_it(
    place: Place, caplog: pytest.LogCaptureFixture, error: BaseException, status: str, text: str
) -> None:
    client, _ = wait(place, Deferred(fail(error)))
    assert head(client)[0] == f"HTTP/1.1 {status}"
    assert rest(client) == f"{text}\n"
    failed = [record for record in caplog.records if record.exc_info]
    assert bool(failed) is (status[0] == "5")


def test_a_refused_client_gets_no_message_that_was_published_meanwhile(place: Place) -> None:
    client, connection = wait(place, Deferred())
    place.publish("for members only")
    until(lambda: place.numbers()["send_buffer_bytes"] > 0)
    place.run(connection.refuse, 403, "This room is for members.")
    assert head(client)[0] == "HTTP/1.1 403 Forbidden"
    assert rest(client) == "This room is for members.\n"


TRY_AGAIN = "This websocket cannot be opened at the moment; try again."
DENIED = "This websocket is not permitted. Log in, or ask the site for access."


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (1009, "403 Forbidden", DENIED),
        (1011, "503 Service Unavailable", TRY_AGAIN),
        (1012, "503 Service Unavailable", TRY_AGAIN),
        (1014, "503 Service Unavailable", TRY_AGAIN),
        (4401, "403 Forbidden", DENIED),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_one_that_has_to_leave_is_refused(
    place: Place,
    caplog: pytest.LogCaptureFixture,
    code: int,
    status: str,
    text: str,
    early: bool,
) -> None:
    caplog.set_level(logging.INFO, "wsredis")
    endpoint = Deferred()
    if early:  # while its request is still on its way
        connection = place.websocket(endpoint, Identity("alice"))
        place.join(connection, [CHANNEL])
        assert place.run(connection.kick, code, "sorry")
        near, far = place.pair()
        place.run(connection.await_answer, near.detach(), b"", HANDSHAKE)
        client = Client(far)
    else:
        client, connection = wait(place, endpoint)
        assert place.run(connection.kick, code, "sorry")
    assert head(client)[0] == f"HTTP/1.1 {status}"
    assert rest(client) == f"{text}\n"
    assert connection.close_reason == "sorry"
    until(lambda: f"refused {status[:3]} user=alice" in caplog.text)


def test_an_endpoint_may_close_instead_of_refusing(place: Place) -> None:
    client, connection = wait(place, Deferred())
    place.run(connection.close)
    assert head(client)[0] == "HTTP/1.1 403 Forbidden"
    assert rest(client).strip()


def test_a_hub_that_ends_leaves_no_pending_client(place: Place) -> None:
    endpoint = Deferred()
    client, connection = wait(place, endpoint)
    place.run(place.hub.close)
    assert client.sock.recv(1) == b""
    assert endpoint.codes == [1006]
    near, far = socket.socketpair()
    place.run(connection.await_answer, near.detach(), b"", HANDSHAKE)
    with far:
        assert far.recv(1) == b""


def test_an_endpoint_needs_no_method(place: Place) -> None:
    class Quiet(Endpoint):
        def __init__(self) -> None: ...

    connection = place.websocket(Quiet())
    place.join(connection, [CHANNEL])
    near, far = place.pair()
    place.run(connection.open, near.detach())
    client = Client(far)
    client.send(Opcode.TEXT, b"hello")
    until(lambda: connection.received == 1)
    client.send(Opcode.CLOSE, (1000).to_bytes(2, "big"))
    assert client.close_code() == 1000
