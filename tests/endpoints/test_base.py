"""What an endpoint decides about its handshake, and that it is always told of the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from wsredis import Endpoint, EndpointContext, HandshakeError, Identity
from wsredis.exceptions import BrokerUnavailable

from ..handshakes import NOTHING, DirectGate
from ..place import until

Gates = Callable[..., DirectGate]


class Told(Endpoint):
    """An endpoint that keeps what it is told."""

    made: list[Told]

    def __init__(self, request: Any, context: EndpointContext) -> None:
        self.context = context
        self.calls: list[Any] = []
        self.made.append(self)

    def connecting(self, connection: Any) -> None:
        self.calls.append("connecting")

    def opened(self, connection: Any) -> None:
        self.calls.append("opened")

    def closed(self, connection: Any, code: int) -> None:
        self.calls.append((code, connection.close_reason))


def kind(**members: Any) -> type[Told]:
    return type("Kind", (Told,), {"made": [], **members})


def answer(gate: DirectGate) -> str:
    return gate.far_ends[-1].recv(2000).decode()


def test_it_knows_what_is_offered_and_reaches_the_loop(gates: Gates) -> None:
    endpoint = kind()
    gate = gates(endpoint=endpoint)
    assert gate.ask(HTTP_SEC_WEBSOCKET_PROTOCOL="one, two words, two, wsredis.ticket, x")[0][
        :3
    ] == ("101")
    (made,) = endpoint.made
    assert made.context.offered == ("one", "two")
    assert made.context.facility == "news"
    reached: list[int] = []
    made.context.soon(reached.append, 1)
    until(lambda: reached == [1])


@pytest.mark.parametrize(
    ("members", "offers", "chosen"),
    [
        ({}, "one, two", None),
        ({"subprotocol": "two"}, "one, two", "two"),
        ({"subprotocol": "two"}, "two, wsredis.ticket, secret", "two"),
        ({}, "two, wsredis.ticket, secret", "wsredis.ticket"),
    ],
)
def test_it_chooses_the_subprotocol(
    gates: Gates, members: dict[str, Any], offers: str, chosen: str | None
) -> None:
    gate = gates(endpoint=kind(**members))
    gate.ask(HTTP_SEC_WEBSOCKET_PROTOCOL=offers)
    found = [line for line in answer(gate).split("\r\n") if line.startswith("Sec-WebSocket-P")]
    assert found == ([] if chosen is None else [f"Sec-WebSocket-Protocol: {chosen}"])
    (subscriber,) = gate.process.hub.subscribers()
    assert subscriber.subprotocol == chosen


def test_a_deferred_one_chooses_before_its_answer(gates: Gates) -> None:
    gate = gates(endpoint=kind(deferred=True, subprotocol="two", headers=[("X-One", "1")]))
    gate.ask(HTTP_SEC_WEBSOCKET_PROTOCOL="one, two")
    (connection,) = gate.process.hub.subscribers()
    gate.process.loop.run(connection.accept)
    lines = answer(gate).split("\r\n")
    assert {"X-One: 1", "Sec-WebSocket-Protocol: two"} <= set(lines)


def test_its_headers_are_sent(gates: Gates) -> None:
    gate = gates(endpoint=kind(headers=[("X-One", "1"), ("Set-Cookie", "a=b; Path=/")]))
    gate.ask()
    lines = answer(gate).split("\r\n")
    assert {"X-One: 1", "Set-Cookie: a=b; Path=/"} <= set(lines)


@pytest.mark.parametrize(
    "members",
    [
        {"subprotocol": "three"},
        {"subprotocol": ""},
        {"headers": [("X-Evil", "a\r\nb: c")]},
        {"headers": [("Connection", "close")]},
        {"headers": [("Retry-After", 5)]},
    ],
)
def test_what_cannot_be_sent_is_500_and_leaves_nothing(
    gates: Gates, caplog: pytest.LogCaptureFixture, members: dict[str, Any]
) -> None:
    endpoint = kind(**members)
    gate = gates(endpoint=endpoint)
    status, body = gate.ask(HTTP_SEC_WEBSOCKET_PROTOCOL="one")
    assert (status, body) == (
        "500 Internal Server Error",
        b"This websocket cannot be opened because of a server error.\n",
    )
    assert gate.taken() == NOTHING
    assert endpoint.made[0].calls == [(1006, "")]
    assert "the endpoint failed" in caplog.text


def test_an_endpoint_needs_no_constructor(gates: Gates) -> None:
    class Small(Endpoint):
        channels = ("ws:broadcast:news",)

    gate = gates(endpoint=Small)
    assert gate.ask()[0].startswith("101")
    assert gate.taken()[2] == 1


def test_a_factory_that_makes_no_endpoint_is_500(
    gates: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    def factory(request: Any, context: EndpointContext) -> None:
        return None

    gate = gates(endpoint=factory)
    assert gate.ask()[0] == "500 Internal Server Error"
    assert gate.taken() == NOTHING
    assert "must return an Endpoint, not None" in caplog.text


def refused_user(gate: DirectGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.process.limits, "take_user", fail(HandshakeError(429, "Too many.")))


def no_broker(gate: DirectGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.process.hub, "subscribe", fail(BrokerUnavailable("no answer")))


def draining(gate: DirectGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.process.hub, "draining", True)


def fail(error: Exception) -> Callable[..., Any]:
    def function(*args: Any, **options: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize(
    ("prepare", "status"), [(refused_user, "429"), (no_broker, "503"), (draining, "503")]
)
def test_one_that_was_made_is_told_of_the_end_also_if_it_is_never_open(
    gates: Gates,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[..., None],
    status: str,
    deferred: bool,
) -> None:
    endpoint = kind(deferred=deferred)
    gate = gates(endpoint=endpoint)
    prepare(gate, monkeypatch)
    assert gate.ask()[0].startswith(status)
    assert endpoint.made[0].calls == [(1006, "")]
    assert gate.taken() == NOTHING


def test_one_that_was_made_too_late_is_told_of_the_end(gates: Gates) -> None:
    class Slow(kind()):
        def __init__(self, request: Any, context: EndpointContext) -> None:
            super().__init__(request, context)
            time.sleep(0.1)

    gate = gates(endpoint=Slow, handshake_timeout=0.05)
    assert gate.ask()[0].startswith("503")
    assert Slow.made[0].calls == [(1006, "")]
    assert gate.taken() == NOTHING


@pytest.mark.parametrize(
    "options",
    [
        {"headers": [("X-Evil", "a\r\nSet-Cookie: a=b")]},
        {"headers": [("Retry-After", 5)]},
        {"headers": [("Content-Length", "0")]},
        {"content_type": "text/plain\r\nSet-Cookie: a=b"},
        {"body": {"not": "encoded"}},
    ],
)
def test_a_refusal_that_cannot_be_sent_is_500(
    gates: Gates, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    def refuse(request: Any, context: EndpointContext) -> Endpoint:
        raise HandshakeError(409, "No.", **options)

    status, body = gates(endpoint=refuse).ask()
    assert status == "500 Internal Server Error"
    assert body == b"This websocket cannot be opened because of a server error.\n"
    assert [record for record in caplog.records if record.levelname == "ERROR"]


def test_one_whose_client_has_disconnected_is_told_of_the_end(gates: Gates) -> None:
    endpoint = kind()
    gate = gates(endpoint=endpoint)
    gate.ask(gone=True)
    until(lambda: endpoint.made[0].calls[-1:] == [(1006, "")])
    until(lambda: gate.taken() == NOTHING)


def test_a_deferred_one_has_its_slots_while_it_waits(gates: Gates) -> None:
    endpoint = kind(deferred=True)
    gate = gates(endpoint=endpoint, identity=lambda request: Identity("alice"))
    status, body = gate.ask()
    assert (status, body) == ("101 Switching Protocols", b"")  # for the log of the server
    until(lambda: endpoint.made[0].calls == ["connecting"])
    assert gate.taken()[0] == gate.taken()[2] == 1
    (connection,) = gate.process.hub.subscribers()
    gate.process.loop.run(connection.refuse, 404, "Nothing is here.")
    assert answer(gate).startswith("HTTP/1.1 404 Not Found\r\n")
    gate.far_ends[-1].close()
    until(lambda: gate.taken() == NOTHING)
    assert endpoint.made[0].calls == ["connecting", (1006, "Nothing is here.")]
