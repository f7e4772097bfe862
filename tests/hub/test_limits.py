"""The limits of websockets: in total, per user, per address; and that all slots are released."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.config import Config
from wsredis.exceptions import BrokerUnavailable, HandshakeError
from wsredis.hub.limits import TLS, Limits
from wsredis.hub.subscriber import Slots
from wsredis.identity import ANONYMOUS, Identity

from ..place import CHANNEL, Place, Recorder, until


def take(limits: Limits, user: str | None = None, address: str = "", tls: bool = False) -> Slots:
    """Take all slots of a websocket, or none."""
    slots = limits.take(address, tls)
    try:
        return limits.take_user(slots, user)
    except BaseException:
        limits.release(slots)
        raise


def refusal(limits: Limits, user: str | None = None, address: str = "", tls: bool = False) -> int:
    """Return the status with which a websocket is refused, 0 if it is let in."""
    try:
        take(limits, user, address, tls)
    except HandshakeError as refused:
        return refused.status if dict(refused.headers)["Retry-After"] else -1
    return 0


def test_a_full_process_answers_503() -> None:
    limits = Limits(Config(max_connections=2))
    first = take(limits)
    assert [refusal(limits) for _ in range(2)] == [0, 503]
    assert limits.count == 2
    limits.release(first)
    assert refusal(limits) == 0
    assert limits.count == 2


def test_a_tunnel_takes_two_descriptors_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Config, "connection_limit", lambda config: 7)
    limits = Limits(Config())
    first = take(limits, tls=True)
    assert first == (TLS,)
    assert [refusal(limits, tls=True) for _ in range(2)] == [0, 503]
    assert [refusal(limits) for _ in range(2)] == [0, 503]
    limits.release(first)
    assert refusal(limits, tls=True) == 0
    assert limits.count == 3
    counted = Limits(Config(max_connections=7))
    assert [refusal(counted, tls=True) for _ in range(8)] == [0] * 7 + [503]


def test_websockets_take_no_more_descriptors_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = Limits(Config(max_connections=5), room=7)
    assert [refusal(limits, tls=True) for _ in range(3)] == [0, 0, 503]
    assert [refusal(limits) for _ in range(2)] == [0, 503]
    assert [refusal(Limits(Config(max_connections=1), room=7)) for _ in range(2)] == [0, 0]
    limits = Limits(Config(max_connections=2), room=7)
    assert [refusal(limits) for _ in range(3)] == [0, 0, 503]
    monkeypatch.setattr(Config, "connection_limit", lambda config: 5)
    limits = Limits(Config(), room=3)
    assert [refusal(limits) for _ in range(4)] == [0, 0, 0, 503]


def test_the_last_descriptors_are_just_enough_for_one_tunnel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Config, "connection_limit", lambda config: 3)
    limits = Limits(Config())
    assert [refusal(limits, tls=True), refusal(limits)] == [0, 503]


def test_one_user_too_many_times_gets_429_and_others_come_in() -> None:
    limits = Limits(Config(max_connections_per_user=2))
    first = take(limits, "alice")
    assert [refusal(limits, "alice") for _ in range(2)] == [0, 429]
    assert refusal(limits, "bob") == 0
    limits.release(first)
    assert [refusal(limits, "alice") for _ in range(2)] == [0, 429]


def test_nobody_is_no_user() -> None:
    limits = Limits(Config(max_connections_per_user=1))
    assert [refusal(limits) for _ in range(5)] == [0] * 5


def test_without_a_limit_a_user_may_come_as_often_as_it_likes() -> None:
    limits = Limits(Config(max_connections_per_user=None))
    assert [refusal(limits, "alice") for _ in range(2000)] == [0] * 2000


def test_one_address_too_many_times_gets_429_and_others_come_in() -> None:
    limits = Limits(Config(max_connections_per_address=1))
    assert refusal(limits, "alice", "192.0.2.1") == 0
    assert refusal(limits, "bob", "192.0.2.1") == 429
    assert refusal(limits, "bob", "192.0.2.2") == 0
    assert refusal(limits, "bob", "unix") == 0
    assert refusal(limits, "bob", "unix") == 429


def test_an_ipv6_network_of_one_customer_is_one_address() -> None:
    limits = Limits(Config(max_connections_per_address=1))
    assert refusal(limits, None, "2001:db8:0:1::7") == 0
    assert refusal(limits, None, "2001:db8:0:1:ffff::1") == 429
    assert refusal(limits, None, "2001:db8:0:2::7") == 0


def test_where_an_address_does_not_count_it_is_not_asked_for() -> None:
    limits = Limits(Config(max_connections_per_address=1))
    assert [refusal(limits) for _ in range(3)] == [0] * 3
    assert limits.take() == ()


def test_who_is_refused_takes_no_slot() -> None:
    limits = Limits(Config(max_connections_per_user=2, max_connections_per_address=1))
    assert refusal(limits, "alice", "192.0.2.1") == 0
    for _ in range(5):
        assert refusal(limits, "alice", "192.0.2.1") == 429
    assert limits.count == 1
    assert refusal(limits, "alice", "192.0.2.2") == 0


def test_an_address_that_cannot_be_read_takes_no_slot() -> None:
    limits = Limits(Config(max_connections=1, max_connections_per_address=1))
    with pytest.raises(ValueError, match="nonsense"):
        limits.take("nonsense:")
    assert limits.count == 0
    assert refusal(limits, None, "192.0.2.1") == 0


def test_a_user_and_an_address_of_one_name_are_two() -> None:
    limits = Limits(Config(max_connections_per_user=1, max_connections_per_address=1))
    assert refusal(limits, "192.0.2.1", "192.0.2.9") == 0
    assert refusal(limits, "alice", "192.0.2.1") == 0


def test_who_has_too_many_keeps_the_slots_it_has_until_it_gives_them_back() -> None:
    limits = Limits(Config(max_connections_per_user=1, max_connections_per_address=5))
    take(limits, "alice", "192.0.2.1")
    slots = limits.take("192.0.2.1", tls=True)
    with pytest.raises(HandshakeError, match="Too many websockets for this user"):
        limits.take_user(slots, "alice")
    assert slots == (TLS, ("address", "192.0.2.1"))
    assert limits.count == 2
    assert limits._taken[TLS] == 1
    limits.release(slots)
    assert limits.count == 1
    assert limits._taken == {("user", "alice"): 1, ("address", "192.0.2.1"): 1}


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
    options = {
        "max_connections": 6,
        "max_connections_per_user": 3,
        "max_connections_per_address": 4,
    }
    limits = Limits(Config(**options))
    inside: list[tuple[Slots, str | None, str]] = []
    for step in steps:
        if isinstance(step, int):
            if step < len(inside):
                limits.release(inside.pop(step)[0])
            continue
        user, address = step
        of_user = sum(other == user for _, other, _ in inside) if user else 0
        of_address = sum(other == address for _, _, other in inside)
        full = 503 if len(inside) >= 6 else 429 if of_user >= 3 or of_address >= 4 else 0
        try:
            inside.append((take(limits, user, address), user, address))
            status = 0
        except HandshakeError as refused:
            status = refused.status
        assert status == full
        assert limits.count == len(inside)
    for slots, _, _ in inside:
        limits.release(slots)
    assert limits.count == 0
    assert not limits._taken


@contextmanager
def hurried_threads() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_threads_that_take_and_release_at_once_leave_nothing_and_are_never_too_many() -> None:
    limits = Limits(
        Config(max_connections=5, max_connections_per_user=3, max_connections_per_address=2)
    )
    outcomes: Counter[int] = Counter()
    most: list[tuple[int, int]] = []
    start = threading.Barrier(16)

    def come_and_go(number: int) -> None:
        user, address = f"user{number % 2}", f"2001:db8:0:{number % 4}::1"
        counts, of_user, got = [0], [0], Counter[int]()
        start.wait(30)
        for _ in range(400):
            try:
                slots = take(limits, user, address, tls=bool(number % 3))
            except HandshakeError as refused:
                got[refused.status] += 1
                continue
            got[0] += 1
            counts.append(limits.count)
            of_user.append(limits._taken["user", user])
            limits.release(slots)
        most.append((max(counts), max(of_user)))
        outcomes.update(got)

    with hurried_threads():
        threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(most) == 16
    assert max(count for count, _ in most) <= 5
    assert max(count for _, count in most) <= 3
    assert outcomes.total() == 16 * 400
    assert outcomes[0] > 0
    assert outcomes[503] + outcomes[429] > 0
    assert limits.count == 0
    assert limits._taken == {}


# In a hub


def test_every_end_gives_the_slot_back_once(places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place: Place = places(max_connections=1, close_timeout=0.2)
    alice = Identity("alice")
    limits = place.hub.limits

    def is_empty() -> bool:
        numbers = place.numbers()
        return numbers["connections"] == numbers["channels"] == limits.count == len(limits._taken)

    client, _, _ = place.connect(CHANNEL, identity=alice)
    assert (limits.count, limits._taken) == (1, {("user", "alice"): 1})
    client.sock.close()  # the client goes
    until(is_empty)
    _client, connection, _ = place.connect(CHANNEL, identity=alice)
    place.run(connection.close)  # it does not answer
    until(is_empty)
    _client, connection, _ = place.connect(CHANNEL, identity=alice)
    for _ in range(3):
        place.run(connection.abort)
    assert is_empty()
    connection = place.websocket(Recorder(), alice)  # the 101 cannot be sent
    place.join(connection, [CHANNEL])
    place.run(connection.abort)
    assert is_empty()

    def unavailable(channels: Any, most: int) -> Any:
        raise BrokerUnavailable("unavailable")

    monkeypatch.setattr(place.hub._feed, "subscribe", unavailable)
    with pytest.raises(HandshakeError):
        place.connect(CHANNEL, identity=alice)
    assert is_empty()
    monkeypatch.undo()
    place.connect(CHANNEL, identity=alice)
    assert place.numbers()["connections"] == 1


def test_whom_a_draining_hub_does_not_admit_gives_its_slots_back(places: Any) -> None:
    place: Place = places(max_connections_per_address=5)
    alice = Identity("alice")
    client, _, _ = place.connect(CHANNEL, identity=alice)
    place.run(place.hub.drain)
    limits = place.hub.limits
    for _ in range(3):
        connection = place.websocket(Recorder(), alice)
        with pytest.raises(HandshakeError, match="about to restart") as refused:
            place.join(connection, [CHANNEL], "192.0.2.1")
        assert refused.value.status == 503
        assert dict(refused.value.headers) == {"Retry-After": "2"}
        assert connection.slots == (("address", "192.0.2.1"), ("user", "alice"))
        place.run(connection.abort)  # whatever happens to it later
        assert (limits.count, limits._taken) == (1, {("user", "alice"): 1})
        assert place.numbers()["connections"] == 1
    assert client.close_code() == 1012
    client.sock.close()
    until(lambda: limits.count == 0)
    assert limits._taken == {}


@pytest.mark.parametrize("channels", [None, 5, [["a list"]], [CHANNEL, {}]], ids=repr)
def test_an_endpoint_with_impossible_channels_takes_no_slot(place: Place, channels: Any) -> None:
    connection = place.websocket(Recorder(), ANONYMOUS)
    with pytest.raises(TypeError):
        place.join(connection, channels)
    assert place.numbers()["connections"] == place.numbers()["channels"] == 0
    assert place.hub.limits.count == 0


def test_a_channel_that_is_named_twice_counts_once(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL, CHANNEL)
    assert connection.channels == (CHANNEL,)
    place.publish("once")
    place.publish("end")
    assert [client.read()[1], client.read()[1]] == [b"once", b"end"]
    client.sock.close()
    until(lambda: place.numbers()["channels"] == 0)
