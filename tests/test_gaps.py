"""Whoever may have missed a message hears so before the next one, in a hub in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import pytest
from websockets.frames import Opcode

from wsredis import dispatch as dispatch_module
from wsredis import gaps as gaps_module
from wsredis import listeners as listeners_module
from wsredis.connection import Connection
from wsredis.exceptions import BrokerUnavailable
from wsredis.frames import CloseCode
from wsredis.identity import Identity
from wsredis.listeners import JOIN_AT_MOST
from wsredis.revocation import KEPT, KEPT_AT_MOST, Revocation

from .place import CHANNEL, Client, Place, Recorder, until

TOLD = (Opcode.CLOSE, CloseCode.SERVICE_RESTART.to_bytes(2, "big") + b"messages may have been lost")


def lose(place: Place, *messages: str) -> None:
    """Stage a gap and what comes right behind it."""

    def stage() -> None:
        place.hub._feed.stats.lose()
        for message in messages:
            place.publish(message)

    place.run(stage)


def test_nobody_gets_a_message_from_behind_a_gap_before_it_is_told(place: Place) -> None:
    clients = [place.connect(CHANNEL)[0] for _ in range(5)]
    place.publish("before")
    for client in clients:
        assert client.read() == (Opcode.TEXT, b"before")
    lose(place, "behind")
    for client in clients:
        assert client.read() == TOLD
    assert place.numbers()["gaps"] == 1


def test_where_no_message_comes_everybody_is_told_all_the_same(place: Place) -> None:
    client, _, _ = place.connect(CHANNEL)
    lose(place)
    assert client.read() == TOLD


def test_while_the_broker_is_away_nobody_is_sent_back_to_nothing(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)

    def away() -> str:
        place.hub._feed.stats.connected = False
        place.hub._feed.stats.lose()
        place.hub._gaps.look()
        gevent.sleep(0)
        return connection.state.name

    assert place.run(away) == "OPEN"
    place.hub._feed.stats.connected = True
    assert client.read() == TOLD


def test_who_comes_after_the_gap_gets_what_is_behind_it(place: Place) -> None:
    old, _, _ = place.connect(CHANNEL)
    lose(place)
    assert old.read() == TOLD
    new, _, _ = place.connect(CHANNEL)
    place.publish("behind")
    assert new.read() == (Opcode.TEXT, b"behind")


def test_who_listens_to_nothing_has_missed_nothing(place: Place) -> None:
    silent, _, _ = place.connect()
    listening, _, _ = place.connect(CHANNEL)
    lose(place)
    assert listening.read() == TOLD
    silent.send(Opcode.PING, b"and I?")
    assert silent.read() == (Opcode.PONG, b"and I?")


def test_who_was_joining_is_told_and_gets_no_message(place: Place) -> None:
    connection = Connection(place.hub, Recorder(), Identity("alice"))
    place.run(place.hub.join, connection, [CHANNEL])
    other, _, _ = place.connect(CHANNEL)
    lose(place, "behind")
    assert other.read() == TOLD
    near, far = place.pair()
    place.run(connection.open, near.detach())
    assert Client(far).read() == TOLD


def test_who_stays_gets_what_is_behind_the_gap(places: Callable[..., Place]) -> None:
    place = places(on_gap="keep")
    client, _, _ = place.connect(CHANNEL)
    lose(place, "behind")
    assert client.read() == (Opcode.TEXT, b"behind")
    assert place.numbers()["gaps"] == 1


def test_an_order_from_behind_the_gap_goes_first(place: Place) -> None:
    alice, _, _ = place.connect(CHANNEL, identity=Identity("alice"))
    bob, _, _ = place.connect(CHANNEL, identity=Identity("bob"))
    order = Revocation(user="alice", code=4403, at=time.time())

    def stage() -> None:
        place.hub._feed.stats.lose()
        place.publish("behind")
        place.broker.append("ws:control", order.encode(), KEPT, KEPT_AT_MOST)

    place.run(stage)
    assert alice.read() == (Opcode.CLOSE, (4403).to_bytes(2, "big"))
    assert bob.read() == TOLD


def test_a_message_that_comes_while_they_are_told_waits_for_all(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps_module, "TURN", 2)
    clients = [place.connect(CHANNEL)[0] for _ in range(7)]

    def stage() -> None:
        place.hub._feed.stats.lose()
        next(place.hub._gaps._tell())  # the first two
        place.publish("behind")

    place.run(stage)
    for client in clients:
        assert client.read() == TOLD


def test_an_error_on_the_way_to_many_is_a_gap_and_what_waits_behind_it_comes_after_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dispatch_module, listeners_module):
        monkeypatch.setattr(module, "TURN", 1)
    clients = [place.connect(CHANNEL)[0] for _ in range(4)]
    write_all = dispatch_module.write_all
    written: list[int] = []

    def fail_once(connections: Sequence[Connection], *args: Any) -> None:
        written.append(len(connections))
        if len(written) == 2:
            raise MemoryError("no room for another frame")
        write_all(connections, *args)

    monkeypatch.setattr(dispatch_module, "write_all", fail_once)

    def stage() -> None:
        place.publish("lost for some")
        place.publish("behind " + "x" * JOIN_AT_MOST)  # not joined with the other one

    place.run(stage)
    assert sorted(client.read() for client in clients) == [
        (Opcode.TEXT, b"lost for some"),
        *[TOLD] * 3,
    ]
    until(lambda: place.numbers()["gaps"] == 1)


def test_what_was_ordered_meanwhile_is_asked_for_until_it_is_known(place: Place) -> None:
    asked: list[bool] = []
    catch_up = place.hub._gaps._catch_up

    def unreachable_at_first() -> None:
        asked.append(True)
        if len(asked) < 3:
            raise BrokerUnavailable("away again")
        catch_up()

    place.hub._gaps._catch_up = unreachable_at_first
    client, _, _ = place.connect(CHANNEL)
    lose(place)
    assert client.read() == TOLD
    until(lambda: len(asked) == 3)
    lose(place)
    until(lambda: len(asked) == 4)
