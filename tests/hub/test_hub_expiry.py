"""Sockets of a hub whose identity ends: by time, by a revocation, before they are fully open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent
import pytest
from websockets.frames import Opcode

from wsredis.exceptions import BrokerUnavailable, HandshakeError
from wsredis.hub import steps
from wsredis.hub.channel import BATCH_SIZE, JOIN_AT_MOST, Channel
from wsredis.identity import ANONYMOUS, Identity
from wsredis.identity.revocation import LOG_LENGTH, LOG_SECONDS, Revocation
from wsredis.message import Message
from wsredis.protocol.closing import FORBIDDEN, IDENTITY_ENDED
from wsredis.transports.stream import State
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, until

CONTROL = "ws:control"
ALICE, BOB = Identity("alice", ("editors",), "one"), Identity("bob", ("editors",), "two")


def send(place: Place, **given: Any) -> None:
    """Publish a revocation as `wsredis.disconnect` does."""
    revocation = Revocation(**{"at": time.time(), **given})
    place.broker.append(CONTROL, revocation.encode(), LOG_SECONDS, LOG_LENGTH)


def test_a_revocation_closes_those_it_means_and_nobody_else(place: Place) -> None:
    alice, _, _ = place.connect(CHANNEL, identity=ALICE)
    bob, _, _ = place.connect(CHANNEL, identity=BOB)
    nobody, _, _ = place.connect(CHANNEL, identity=ANONYMOUS)
    send(place, user="alice", code=4403, reason="goodbye")
    assert alice.read() == (Opcode.CLOSE, (4403).to_bytes(2, "big") + b"goodbye")
    place.publish("go on")
    assert bob.read() == nobody.read() == (Opcode.TEXT, b"go on")
    send(place, group="editors")
    assert bob.close_code() == 4401
    assert place.numbers()["revoked"] == 2


def test_nothing_is_sent_after_a_revocation(place: Place) -> None:
    alice, _, _ = place.connect(CHANNEL, identity=ALICE)
    place.publish("before")
    send(place, user="alice")
    place.publish("after")
    frames = [alice.read()[0]]
    while frames[-1] != Opcode.CLOSE:
        frames.append(alice.read()[0])
    assert frames in ([Opcode.CLOSE], [Opcode.TEXT, Opcode.CLOSE])


def test_many_are_closed_before_later_messages_are_delivered(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEP", 1)
    clients = [place.connect(CHANNEL, identity=ALICE)[0] for _ in range(5)]
    other, _, _ = place.connect(CHANNEL, identity=BOB)

    def stage() -> None:
        place.publish(Revocation(user="alice", at=time.time()).encode().decode(), CONTROL)
        place.publish("after")

    place.run(stage)
    assert [client.read()[0] for client in clients] == [Opcode.CLOSE] * 5
    assert other.read() == (Opcode.TEXT, b"after")
    assert place.numbers()["revoked"] == 5


def test_earlier_messages_do_not_wait_until_many_are_closed(place: Place) -> None:
    for _ in range(2 * BATCH_SIZE):
        join(place, BOB)
    revocation = Message(CONTROL, Revocation(user="alice", at=time.time()).encode())

    def delivered() -> list[int]:
        messages = [Message(CHANNEL, b"earlier"), revocation]
        return [place.hub.stats.delivered for _ in place.hub.deliver(messages)]

    assert place.run(delivered) == [BATCH_SIZE]


def test_one_callback_closes_a_limited_number(place: Place) -> None:
    for _ in range(2 * steps.STEP + 1):
        join(place, ALICE)
    revocation = Message(CONTROL, Revocation(group="editors", at=time.time()).encode())

    def revoked() -> list[int]:
        return [place.hub.stats.revoked for _ in place.hub.deliver([revocation])]

    assert place.run(revoked)[:3] == [steps.STEP, 2 * steps.STEP, 2 * steps.STEP + 1]


def test_what_waits_for_one_who_is_revoked_is_not_sent(place: Place) -> None:
    alice, connection, _ = place.connect(CHANNEL, identity=ALICE, buffer=4096)
    for number in range(50):
        place.publish(f"{number:02}" + "x" * 10_000)
    until(lambda: connection.send_buffer_size > 100_000)
    send(place, user="alice")
    until(lambda: connection.state is State.CLOSING)
    assert connection.send_buffer_size < JOIN_AT_MOST + 100  # what it is in the middle of
    seen = []
    while (frame := alice.read())[0] == Opcode.TEXT:
        assert len(frame[1]) == 10_002
        seen.append(int(frame[1][:2]))
    assert seen == list(range(len(seen)))
    assert len(seen) < 40
    assert frame[1][:2] == (4401).to_bytes(2, "big")


def join(place: Place, identity: Identity, endpoint: Any = None) -> WebSocket:
    """Let somebody in up to where the 101 is sent."""
    connection = place.websocket(endpoint or Recorder(), identity)
    place.join(connection, [CHANNEL])
    return connection


def finish(place: Place, connection: WebSocket) -> Client:
    near, far = place.pair()
    place.run(connection.open, near.detach())
    return Client(far)


def test_who_is_joining_when_the_revocation_comes_gets_no_message_and_is_closed(
    place: Place,
) -> None:
    heard: list[str] = []

    class Noting(Recorder):
        def opened(self, connection: WebSocket) -> None:
            heard.append("opened")

        def closed(self, connection: WebSocket, code: int) -> None:
            heard.append("closed")

    place.publish("retained", expire=60)
    connection = join(place, ALICE, Noting())
    place.publish("live")
    for _ in range(3):
        send(place, user="alice", code=4403)
    until(lambda: place.numbers()["revoked"])
    client = finish(place, connection)
    assert client.read() == (Opcode.CLOSE, (4403).to_bytes(2, "big") + FORBIDDEN.reason.encode())
    client.sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    assert heard == ["closed"]
    assert place.numbers()["revoked"] == 1


def test_who_was_asked_before_the_revocation_and_joins_after_it_is_closed(place: Place) -> None:
    place.connect(CHANNEL)
    connection = place.websocket(Recorder(), ALICE)
    send(place, user="alice")
    until(lambda: place.hub._expiry._recent)
    place.join(connection, [CHANNEL])
    assert finish(place, connection).close_code() == 4401
    again, _, _ = place.connect(CHANNEL, identity=ALICE)
    place.publish("welcome back")
    assert again.read() == (Opcode.TEXT, b"welcome back")
    assert place.numbers()["revoked"] == 1


def test_the_first_socket_of_a_process_hears_of_the_revocation_before_it(place: Place) -> None:
    connection = place.websocket(Recorder(), ALICE)
    send(place, user="alice")
    send(place, user="bob")
    place.join(connection, [CHANNEL])
    assert finish(place, connection).close_code() == 4401


def test_one_without_channels_hears_of_a_revocation_too(place: Place) -> None:
    client, _, _ = place.connect(identity=ALICE)  # as one that only publishes
    send(place, user="alice")
    assert client.close_code() == 4401


def test_a_ticket_from_before_thousands_of_orders_is_worth_nothing_in_a_fresh_process(
    place: Place,
) -> None:
    issued = time.time()
    send(place, user="alice")
    for number in range(2000):
        send(place, user=f"user{number}")
    for identity, ended in ((ALICE, True), (BOB, False)):
        connection = join(place, replace(identity, issued=issued), Recorder())
        client = finish(place, connection)
        place.publish("hello")
        assert client.read()[0] == (Opcode.CLOSE if ended else Opcode.TEXT)
    assert place.numbers()["revoked"] == 1


@pytest.mark.parametrize("fails", [False, True], ids=["", "fails"])
def test_the_log_is_read_once_for_all_who_join_at_the_start(
    place: Place, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    feed, gate = place.hub._feed, place.run(gevent.event.Event)
    asked: list[str] = []

    def slowly(channel: str) -> Any:
        asked.append(channel)
        gate.wait()
        if fails:
            raise BrokerUnavailable("unavailable")
        return []

    monkeypatch.setattr(feed, "logged", slowly)
    results: list[object] = []

    def come() -> None:
        try:
            results.append(join(place, ALICE))
        except HandshakeError as refused:
            results.append(refused.status)

    threads = [threading.Thread(target=come) for _ in range(5)]
    for thread in threads:
        thread.start()
    until(lambda: len(place.hub._channels.get(CHANNEL, Channel()).joining) == 5)
    assert asked == [CONTROL]
    place.run(gate.set)
    for thread in threads:
        thread.join(30)
    assert asked == [CONTROL]
    if fails:
        assert results == [503] * 5
    else:
        assert all(isinstance(result, WebSocket) for result in results)


def test_a_revocation_of_long_ago_means_no_first_socket(place: Place) -> None:
    send(place, user="alice", at=time.time() - 60)
    client, _, _ = place.connect(CHANNEL, identity=ALICE)
    place.publish("hello")
    assert client.read() == (Opcode.TEXT, b"hello")


def test_a_revocation_that_comes_while_the_first_one_subscribes_is_not_missed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = place.hub._feed
    subscribe, gate = feed.subscribe, place.run(gevent.event.Event)

    def slowly(channels: Any, most: int) -> Any:
        retained = subscribe(channels)
        gate.wait()
        return retained

    monkeypatch.setattr(feed, "subscribe", slowly)
    connections: list[WebSocket] = []
    thread = threading.Thread(target=lambda: connections.append(join(place, ALICE)))
    thread.start()
    until(lambda: place.numbers()["connections"])
    send(place, user="alice")
    until(lambda: place.numbers()["revoked"])
    place.run(gate.set)
    thread.join(30)
    assert finish(place, connections[0]).close_code() == 4401
    assert place.numbers()["revoked"] == 1


def test_if_the_revocations_cannot_be_read_the_first_one_does_not_get_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(channel: str) -> Any:
        raise BrokerUnavailable("unavailable")

    monkeypatch.setattr(place.hub._feed, "logged", unavailable)
    with pytest.raises(HandshakeError, match="try again"):
        join(place, ALICE)
    monkeypatch.undo()
    connection = place.websocket(Recorder(), ALICE)
    send(place, user="alice")
    place.join(connection, [CHANNEL])
    assert finish(place, connection).close_code() == 4401


def test_an_expired_identity_gets_no_message(place: Place) -> None:
    place.publish("retained", expire=60)
    alice = Identity("alice", expires=time.time() - 1)
    client, _, _ = place.connect(CHANNEL, identity=alice)
    assert client.read()[0] == Opcode.CLOSE
    assert place.numbers()["revoked"] == 1


def test_others_have_their_turn_after_each_revocation(place: Place) -> None:
    messages = [Message(CONTROL, Revocation(user="alice").encode())] * 3
    assert place.run(lambda: len(list(place.hub.deliver(messages)))) == 3


def test_one_that_has_ended_does_not_expire(place: Place) -> None:
    identity = Identity("alice", expires=time.time() + 60)
    place.connect(CHANNEL, identity=identity)[0].sock.close()
    until(lambda: place.numbers()["connections"] == 0)
    assert not place.hub._expiry._until


def test_a_socket_is_closed_when_its_identity_expires(place: Place) -> None:
    alice = Identity("alice", expires=time.time() + 3600)
    client, connection, endpoint = place.connect(CHANNEL, identity=alice)
    until_when = place.hub._expiry._until
    assert until_when == {connection: alice.expires}
    place.run(until_when.update, {connection: time.time()})
    place.hub._expiry._earliest = 0.0
    assert client.close_code() == IDENTITY_ENDED.code
    client.sock.close()
    until(lambda: endpoint.codes == [IDENTITY_ENDED.code])
    assert connection.state is State.CLOSED
    assert not until_when
    assert place.numbers()["revoked"] == 1


# After the link to the broker was lost


def lose(place: Place, *missed: Revocation) -> None:
    """Stage a link that was lost and is back, with what was revoked meanwhile."""
    broker, feed = place.broker, place.hub._feed
    with broker.lock:
        broker.feeds.discard(feed)
    for revocation in missed:
        broker.append(CONTROL, revocation.encode(), LOG_SECONDS, LOG_LENGTH)
    with broker.lock:
        broker.feeds.add(feed)
    feed.stats.count_gap()


@pytest.fixture
def staying(places: Callable[..., Place]) -> Place:
    """Give a hub whose sockets outlive a gap."""
    return places(on_gap="keep")


def test_revocations_that_were_missed_are_carried_out_when_the_link_is_back(staying: Place) -> None:
    alice, _, _ = staying.connect(CHANNEL, identity=ALICE)
    bob, _, _ = staying.connect(CHANNEL, identity=BOB)
    old = Revocation(user="bob", at=time.time() - 100)
    staying.run(lose, staying, old, Revocation(user="alice", at=time.time()))
    assert alice.close_code() == 4401
    staying.publish("go on")
    assert bob.read() == (Opcode.TEXT, b"go on")
    assert staying.numbers()["revoked"] == 1


def test_who_joins_after_the_link_is_back_is_caught_too(staying: Place) -> None:
    staying.connect(CHANNEL, identity=BOB)
    asked = staying.websocket(Recorder(), ALICE)
    staying.run(lose, staying, Revocation(user="alice", at=time.time()))
    staying.join(asked, [CHANNEL])
    until(lambda: staying.numbers()["revoked"])
    assert finish(staying, asked).close_code() == 4401


def test_revocations_that_cannot_be_read_at_once_are_read_later(
    staying: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alice, _, _ = staying.connect(CHANNEL, identity=ALICE)
    feed, logged = staying.hub._feed, staying.hub._feed.logged
    tries: list[str] = []

    def unavailable_twice(channel: str) -> Any:
        tries.append(channel)
        if len(tries) < 3:
            raise BrokerUnavailable("unavailable again")
        return logged(channel)

    monkeypatch.setattr(feed, "logged", unavailable_twice)
    staying.run(lose, staying, Revocation(user="alice", at=time.time()))
    assert alice.close_code() == 4401
    assert tries == [CONTROL] * 3
    assert "could not catch up on revocations: unavailable again" in caplog.text
