"""The census sees what a room holds, however it holds it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..place import CHANNEL, Place
from .census import containers, rooms


class Room:
    __slots__ = ("_buckets", "_of", "_unanswered", "flag", "text", "waiting")


def test_containers_are_counted_with_what_is_in_them() -> None:
    room = Room()
    room._buckets = [{1, 2}, set(), {3}]
    room._of = {"a": 7}
    room._unanswered = 512
    room.text = "words are no container"
    room.waiting = deque([1, 2])
    room.flag = True
    found = dict(containers(room))
    assert found == {"_buckets": 3, "_of": 1, "_unanswered": 512, "waiting": 2}


def test_a_hub_holds_what_its_websockets_need_and_nothing_after_them(
    places: Callable[..., Place],
) -> None:
    place = places()
    empty = dict(containers(place.hub))
    client, connection, _ = place.connect(CHANNEL)
    held = dict(containers(place.hub))
    more = {name for name in held if held[name] > empty.get(name, 0)}
    assert {"_channels", "_buckets"} <= more
    place.run(connection.cut)
    client.sock.close()
    assert dict(containers(place.hub)) == empty


def test_every_room_of_a_hub_is_looked_into(place: Place) -> None:
    names = {type(room).__name__ for room in rooms(place.hub)}
    assert {"Hub", "Admission", "Validity", "MemoryFeed"} <= names
    assert not {"Config", "Loop"} & names
