"""How many may be in: of all, of one user, of one address; and that each seat is given back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.admission import TLS, Admission
from wsredis.config import Config
from wsredis.connection import Connection
from wsredis.exceptions import BrokerUnavailable, HandshakeError
from wsredis.identity import ANONYMOUS, Identity

from .place import CHANNEL, Place, Recorder, until


class Socket:
    """Stand for a connection, of which only this matters here."""

    def __init__(self, user: str | None = None) -> None:
        self.identity = Identity(user)
        self.seats: tuple[tuple[str, str], ...] = ()


def refusal(admission: Admission, socket: Socket, address: str = "") -> int:
    """Return the status with which a socket is refused, 0 if it is let in."""
    try:
        admission.admit(socket, address)  # type: ignore[arg-type]
    except HandshakeError as refused:
        return refused.status if dict(refused.headers)["Retry-After"] else -1
    return 0


def test_a_full_process_answers_503() -> None:
    admission = Admission(Config(max_connections=2))
    one, other, third = Socket(), Socket(), Socket()
    assert [refusal(admission, socket) for socket in (one, other, third)] == [0, 0, 503]
    assert admission.count == 2
    admission.release(one)  # type: ignore[arg-type]
    assert refusal(admission, third) == 0
    assert admission.count == 2


def test_a_tunnel_takes_two_descriptors_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def encrypted() -> Socket:
        socket = Socket()
        socket.seats = (TLS,)
        return socket

    monkeypatch.setattr(Config, "connection_limit", lambda config: 7)
    admission, first = Admission(Config()), encrypted()
    assert [refusal(admission, socket) for socket in (first, encrypted(), encrypted())] == [
        0,
        0,
        503,
    ]
    assert [refusal(admission, Socket()) for _ in range(2)] == [0, 503]
    admission.release(first)  # type: ignore[arg-type]
    assert refusal(admission, encrypted()) == 0
    assert admission.count == 3
    counted = Admission(Config(max_connections=7))
    assert [refusal(counted, encrypted()) for _ in range(8)] == [0] * 7 + [503]


def test_one_user_too_many_times_gets_429_and_others_come_in() -> None:
    admission = Admission(Config(max_connections_per_user=2))
    first = Socket("alice")
    assert refusal(admission, first) == 0
    assert [refusal(admission, Socket("alice")) for _ in range(2)] == [0, 429]
    assert refusal(admission, Socket("bob")) == 0
    admission.release(first)  # type: ignore[arg-type]
    assert [refusal(admission, Socket("alice")) for _ in range(2)] == [0, 429]


def test_nobody_is_no_user() -> None:
    admission = Admission(Config(max_connections_per_user=1))
    assert [refusal(admission, Socket()) for _ in range(5)] == [0] * 5


def test_one_address_too_many_times_gets_429_and_others_come_in() -> None:
    admission = Admission(Config(max_connections_per_address=1))
    assert refusal(admission, Socket("alice"), "192.0.2.1") == 0
    assert refusal(admission, Socket("bob"), "192.0.2.1") == 429
    assert refusal(admission, Socket("bob"), "192.0.2.2") == 0
    assert refusal(admission, Socket("bob"), "unix") == 0
    assert refusal(admission, Socket("bob"), "unix") == 429


def test_an_ipv6_network_of_one_customer_is_one_address() -> None:
    admission = Admission(Config(max_connections_per_address=1))
    assert refusal(admission, Socket(), "2001:db8:0:1::7") == 0
    assert refusal(admission, Socket(), "2001:db8:0:1:ffff::1") == 429
    assert refusal(admission, Socket(), "2001:db8:0:2::7") == 0


def test_where_an_address_does_not_count_it_is_not_asked_for() -> None:
    admission = Admission(Config(max_connections_per_address=1))
    assert [refusal(admission, Socket()) for _ in range(3)] == [0] * 3


def test_who_is_refused_takes_no_seat() -> None:
    admission = Admission(Config(max_connections_per_user=2, max_connections_per_address=1))
    assert refusal(admission, Socket("alice"), "192.0.2.1") == 0
    for _ in range(5):
        assert refusal(admission, Socket("alice"), "192.0.2.1") == 429
    assert admission.count == 1
    assert refusal(admission, Socket("alice"), "192.0.2.2") == 0


def test_a_user_and_an_address_of_one_name_are_two() -> None:
    admission = Admission(Config(max_connections_per_user=1, max_connections_per_address=1))
    assert refusal(admission, Socket("192.0.2.1"), "192.0.2.9") == 0
    assert refusal(admission, Socket("alice"), "192.0.2.1") == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["alice", "bob", None]), st.sampled_from("12")),
            st.integers(0, 20),
        ),
        max_size=60,
    )
)
def test_whoever_comes_and_goes_the_numbers_are_those_who_are_in(steps: list[Any]) -> None:
    limits = {"max_connections": 6, "max_connections_per_user": 3, "max_connections_per_address": 4}
    admission = Admission(Config(**limits))
    inside: list[tuple[Socket, str]] = []
    for step in steps:
        if isinstance(step, int):
            if step < len(inside):
                admission.release(inside.pop(step)[0])  # type: ignore[arg-type]
            continue
        user, address = step
        socket = Socket(user)
        of_user = sum(other.identity.user == user for other, _ in inside) if user else 0
        of_address = sum(other == address for _, other in inside)
        full = 503 if len(inside) >= 6 else 429 if of_user >= 3 or of_address >= 4 else 0
        assert refusal(admission, socket, address) == full
        if not full:
            inside.append((socket, address))
        assert admission.count == len(inside)
    for socket, _ in inside:
        admission.release(socket)  # type: ignore[arg-type]
    assert admission.count == 0
    assert not admission._of


# In a hub


def test_every_end_gives_the_seat_back_once(places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place: Place = places(max_connections=1, close_timeout=0.2)
    alice = Identity("alice")
    empty = {"connections": 0, "channels": 0}

    def is_empty() -> bool:
        numbers = place.numbers()
        return {name: numbers[name] for name in empty} == empty

    client, _, _ = place.connect(CHANNEL, identity=alice)
    client.sock.close()  # the client goes
    until(is_empty)
    _client, connection, _ = place.connect(CHANNEL, identity=alice)
    place.run(connection.close)  # it does not answer
    until(is_empty)
    _client, connection, _ = place.connect(CHANNEL, identity=alice)
    for _ in range(3):
        place.run(connection.cut)
    assert is_empty()
    connection = Connection(place.hub, Recorder(), alice)  # the 101 cannot be sent
    place.run(place.hub.join, connection, [CHANNEL])
    place.run(connection.cut)
    assert is_empty()

    def away(channels: Any) -> Any:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(place.hub._feed, "subscribe", away)
    with pytest.raises(HandshakeError):
        place.connect(CHANNEL, identity=alice)
    assert is_empty()
    monkeypatch.undo()
    place.connect(CHANNEL, identity=alice)
    assert place.numbers()["connections"] == 1


@pytest.mark.parametrize("channels", [None, 5, [["a list"]], [CHANNEL, {}]], ids=repr)
def test_an_endpoint_with_impossible_channels_takes_no_seat(place: Place, channels: Any) -> None:
    connection = Connection(place.hub, Recorder(), ANONYMOUS)
    with pytest.raises(TypeError):
        place.run(place.hub.join, connection, channels)
    assert place.numbers()["connections"] == place.numbers()["channels"] == 0


def test_a_channel_that_is_named_twice_counts_once(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL, CHANNEL)
    assert connection.channels == (CHANNEL,)
    place.publish("once")
    place.publish("end")
    assert [client.read()[1], client.read()[1]] == [b"once", b"end"]
    client.sock.close()
    until(lambda: place.numbers()["channels"] == 0)
