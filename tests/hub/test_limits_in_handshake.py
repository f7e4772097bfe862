"""The slots of a websocket from its request on: when they are taken and released."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from wsredis import Endpoint, HandshakeError, Identity
from wsredis.exceptions import BrokerUnavailable

from ..handshakes import ADDRESS, NOTHING, DirectGate
from ..place import until

Gates = Callable[..., DirectGate]

OF_ADDRESS, OF_ALICE = ("address", ADDRESS), ("user", "alice")


def test_a_websocket_has_its_slots_until_it_ends(gates: Gates) -> None:
    gate = gates()
    assert gate.ask()[0] == "101 Switching Protocols"
    assert gate.taken() == (1, {OF_ADDRESS: 1, OF_ALICE: 1}, 1)
    assert gate.far_ends[0].recv(1000).startswith(b"HTTP/1.1 101 ")
    gate.far_ends[0].close()
    until(lambda: gate.taken() == NOTHING)


def test_the_process_and_the_address_are_asked_before_the_resolver_and_the_user_after_it(
    gates: Gates,
) -> None:
    seen: list[Any] = []

    def identify(request: Any) -> Identity:
        seen.append(gate.taken())
        return Identity("alice")

    class Noting(Endpoint):
        def __init__(self, request: Any, context: Any) -> None:
            seen.append(gate.taken())

    gate = gates(identity=identify, endpoint=Noting)
    assert gate.ask()[0] == "101 Switching Protocols"
    assert seen == [(1, {OF_ADDRESS: 1}, 0)] * 2
    assert gate.taken() == (1, {OF_ADDRESS: 1, OF_ALICE: 1}, 1)


@pytest.mark.parametrize(
    ("option", "status"),
    [("max_connections", "503 Service Unavailable"), ("max_connections_per_address", "429")],
)
def test_whom_there_is_no_room_for_is_not_identified(
    gates: Gates, option: str, status: str
) -> None:
    asked: list[str] = []

    def identify(request: Any) -> Identity:
        asked.append(request.client_address)
        return Identity("alice")

    gate = gates(identity=identify, **{option: 1})
    assert gate.ask()[0] == "101 Switching Protocols"
    before = gate.taken()
    for _ in range(3):
        assert gate.ask()[0].startswith(status)
    assert asked == [ADDRESS]
    assert gate.taken() == before


def refuse(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: Any) -> Any:
        raise error

    return raise_it


class Impossible(Endpoint):
    """An endpoint whose channels are not valid."""

    channels: Any = None

    def __init__(self, request: Any, context: Any) -> None: ...


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "resolver": ({"identity": refuse(LookupError())}, "403"),
    "resolver-refuses": ({"identity": refuse(HandshakeError(429, "Later."))}, "429"),
    "resolver-answers-nonsense": ({"identity": lambda request: "alice"}, "403"),
    "resolver-is-slow": (
        {"identity": lambda request: time.sleep(0.1), "handshake_timeout": 0.05},
        "503",
    ),
    "policy": ({"allowed_channels": lambda request, requested: []}, "403"),
    "endpoint": ({"endpoint": refuse(LookupError())}, "500"),
    "endpoint-refuses": ({"endpoint": refuse(HandshakeError(404, "Nobody here."))}, "404"),
    "user": ({"max_connections_per_user": 1}, "429"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_whoever_is_refused_gives_its_slots_back(gates: Gates, case: str) -> None:
    options, status = REFUSED[case]
    gate = gates(**options)
    if case == "user":
        assert gate.ask()[0] == "101 Switching Protocols"
    before = gate.taken()
    for _ in range(3):
        assert gate.ask()[0].startswith(status)
        assert gate.taken() == before
    assert before == (NOTHING if case != "user" else (1, {OF_ADDRESS: 1, OF_ALICE: 1}, 1))


@pytest.mark.parametrize("error", [KeyboardInterrupt, gevent.GreenletExit, gevent.Timeout])
def test_a_resolver_that_is_interrupted_gives_the_slots_back(
    gates: Gates, error: type[BaseException]
) -> None:
    gate = gates(identity=refuse(error()))
    with pytest.raises(error):
        gate.ask()
    assert gate.taken() == NOTHING


@pytest.mark.parametrize("error", [BrokerUnavailable("gone"), MemoryError()], ids=repr)
def test_who_cannot_be_subscribed_gives_its_slots_back(
    gates: Gates, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    gate = gates()
    monkeypatch.setattr(gate.process.hub._feed, "subscribe", refuse(error))
    if isinstance(error, BrokerUnavailable):
        assert gate.ask()[0] == "503 Service Unavailable"
    else:
        with pytest.raises(MemoryError):
            gate.ask()
    assert gate.taken() == NOTHING


def test_an_endpoint_with_impossible_channels_gives_its_slots_back(
    gates: Gates,
) -> None:
    gate = gates(endpoint=Impossible)
    with pytest.raises(TypeError):
        gate.ask()
    assert gate.taken() == NOTHING


def test_whom_a_draining_process_refuses_gives_its_slots_back(
    gates: Gates,
) -> None:
    gate = gates()
    gate.process.loop.run(gate.process.hub.drain)
    for _ in range(3):
        status, body = gate.ask()
        assert status == "503 Service Unavailable"
        assert body == b"The server is about to restart.\n"
        assert gate.taken() == NOTHING


def test_a_client_that_has_gone_gives_its_slots_back(
    gates: Gates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wsredis.middleware")
    gate = gates()
    gate.ask(gone=True)
    assert gate.taken() == NOTHING
    assert "the client disconnected during the handshake" in caplog.text


def test_a_server_that_fails_gives_the_slots_back(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gates()
    monkeypatch.setattr("wsredis.servers.sockets.http_head", refuse(MemoryError()))
    with pytest.raises(MemoryError):
        gate.ask()
    assert gate.taken() == NOTHING


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"HTTP_SEC_WEBSOCKET_KEY": "short"}, "400"), ({"HTTP_ORIGIN": "http://evil.example"}, "403")],
)
def test_what_is_no_handshake_needs_no_slot(
    gates: Gates, headers: dict[str, str], status: str
) -> None:
    gate = gates(max_connections=1)
    assert gate.ask()[0] == "101 Switching Protocols"  # now it is full
    assert gate.ask(**headers)[0].startswith(status)


def member(count: int) -> Callable[[Any], Identity]:
    groups = tuple(f"group-{number}" for number in range(count))
    return lambda request: Identity("alice", groups=groups)


@pytest.mark.parametrize("query", ["subscribe-group", "publish-group"])
def test_a_user_with_too_many_groups_is_refused_before_their_channels_are_named(
    gates: Gates, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    options: dict[str, Any] = {"allowed_channels": lambda request, requested: requested}
    gate = gates(identity=member(1000), **options)
    assert gate.ask(query)[0] == "101 Switching Protocols"
    monkeypatch.setattr("wsredis.identity.channels.channel_name", pytest.fail)
    gate = gates(identity=member(1001), **options)
    assert gate.ask(query) == (
        "403 Forbidden",
        b"This websocket would have 1001 channels, and the limit is 1000.\n",
    )
    assert gate.taken() == NOTHING


@pytest.mark.parametrize(("limit", "status"), [(3, "403"), (4, "101"), (None, "101")])
def test_the_channels_of_every_endpoint_are_counted(
    gates: Gates, limit: int | None, status: str
) -> None:
    class Four(Endpoint):
        channels = tuple(f"ws:broadcast:{number}" for number in range(4))

    gate = gates(endpoint=Four, max_handshake_channels=limit)
    assert gate.ask()[0].startswith(status)
    assert gate.middleware.stats()["channels"] == (4 if status == "101" else 0)
