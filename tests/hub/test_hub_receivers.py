"""Subscribers of the hub that are not clients: they have no socket, no slot and no identity."""

from __future__ import annotations

from wsredis.layers.receivers import Receiver

from ..place import CHANNEL, Place, until


class Recorder:
    """A receiver, and what it was told."""

    def __init__(self, place: Place) -> None:
        self.got: list[bytes] = []
        self.gaps: list[str] = []
        self.ends = 0
        self.place = place
        self.receiver = Receiver(
            lambda channel, payload: self.got.append(payload), self.gaps.append, self._end
        )
        place.run(place.hub.admit_receiver, self.receiver)

    def _end(self) -> None:
        self.ends += 1

    def subscribe(self, *channels: str) -> None:
        hub = self.place.hub
        self.place.run(lambda: hub.subscribe(self.receiver, channels, retained=False))

    def forget(self) -> None:
        self.place.run(self.place.hub.forget_receiver, self.receiver)


def test_a_receiver_gets_the_messages_of_its_channels(place: Place) -> None:
    recorder = Recorder(place)
    client, _, _ = place.connect(CHANNEL)
    recorder.subscribe(CHANNEL)
    place.publish("one")
    place.publish("other", "ws:broadcast:other")
    place.publish("two")
    until(lambda: recorder.got == [b"one", b"two"])
    assert [client.read()[1] for _ in range(2)] == [b"one", b"two"]


def test_a_receiver_is_no_connection_and_takes_no_slot(place: Place) -> None:
    recorder = Recorder(place)
    recorder.subscribe(CHANNEL)
    assert (place.numbers()["connections"], place.numbers()["channels"]) == (0, 1)
    assert place.hub.limits.count == 0
    recorder.forget()
    assert place.numbers()["channels"] == 0
    assert place.hub.limits.count == 0


def test_a_receiver_that_is_forgotten_gets_nothing_and_cannot_come_back(place: Place) -> None:
    recorder = Recorder(place)
    recorder.subscribe(CHANNEL)
    recorder.forget()
    recorder.forget()
    recorder.subscribe(CHANNEL)
    assert place.numbers()["channels"] == 0


def test_retained_messages_are_not_for_receivers(place: Place) -> None:
    place.publish("retained", expire=100)
    recorder = Recorder(place)
    recorder.subscribe(CHANNEL)
    place.publish("new")
    until(lambda: recorder.got == [b"new"])


def test_a_receiver_is_told_of_a_gap_once_and_stays_subscribed(place: Place) -> None:
    recorder = Recorder(place)
    recorder.subscribe(CHANNEL)

    def stage() -> None:
        place.hub._feed.stats.count_gap()
        first, second = place.hub._gaps._tell(), place.hub._gaps._tell()
        next(first)
        for _ in (*second, *first):  # two recoveries at the same time
            pass

    place.run(stage)
    assert [reason.split()[0] for reason in recorder.gaps] == ["messages-lost"]
    place.publish("after")
    until(lambda: recorder.got == [b"after"])
    place.run(stage)
    assert len(recorder.gaps) == 2


def test_draining_is_for_clients_only(place: Place) -> None:
    recorder = Recorder(place)
    recorder.subscribe(CHANNEL)
    place.run(place.hub.drain)
    assert next(place.hub.subscribers(), None) is None
    place.publish("while draining")
    until(lambda: recorder.got == [b"while draining"])
    assert recorder.gaps == []


def test_a_receiver_learns_that_its_hub_is_closed(place: Place) -> None:
    recorder = Recorder(place)
    place.run(place.hub.close)
    assert recorder.ends == 1
