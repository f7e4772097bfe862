"""Subscribers by the names of their identities."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis.hub.index import Index, rarest_name
from wsredis.identity import Identity
from wsredis.identity.revocation import Revocation

ALICE = Identity("alice", ("editors", "staff"), "one")


class Socket:
    """A stand-in for a subscriber."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity


def subscriber(identity: Identity) -> Any:
    return Socket(identity)


def found(index: Index, kind: str, name: str) -> list[int]:
    return sorted(map(id, index.find((kind, name))))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"user": "alice"}, ("user", "alice")),
        ({"group": "staff"}, ("group", "staff")),
        ({"user": "alice", "group": "staff"}, ("user", "alice")),
        ({"user": "alice", "group": "staff", "session": "one"}, ("session", "one")),
    ],
    ids=repr,
)
def test_a_revocation_is_looked_up_by_its_rarest_name(
    given: dict[str, str], name: tuple[str, str]
) -> None:
    assert rarest_name(Revocation(**given)) == name


def test_a_subscriber_is_found_by_each_of_its_names_while_it_is_here() -> None:
    index = Index()
    names = [("user", "alice"), ("session", "one"), ("group", "editors"), ("group", "staff")]
    for identity, count in ((ALICE, 4), (Identity("alice"), 1), (Identity(session="one"), 1)):
        one = subscriber(identity)
        index.add(one)
        assert sum(found(index, *name) == [id(one)] for name in names) == count
        assert found(index, "user", "one") == found(index, "session", "alice") == []
        index.remove(one)
        assert not any(found(index, *name) for name in names)


def test_those_with_the_same_name_are_found_until_each_has_left() -> None:
    index, here = Index(), [subscriber(ALICE) for _ in range(4)]
    for count, one in enumerate(here, 1):
        index.add(one)
        assert found(index, "user", "alice") == sorted(map(id, here[:count]))
    while here:
        index.remove(here.pop(0))
        for name in (("user", "alice"), ("session", "one"), ("group", "staff")):
            assert found(index, *name) == sorted(map(id, here))
    assert not any(index._kinds.values())


def test_who_leaves_and_comes_does_not_change_what_was_found() -> None:
    index, here = Index(), [subscriber(ALICE) for _ in range(3)]
    for one in here:
        index.add(one)
    before = index.find(("group", "staff"))
    index.remove(here[0])
    index.add(subscriber(ALICE))
    assert sorted(map(id, before)) == sorted(map(id, here))


def test_a_name_of_one_subscriber_takes_no_container() -> None:
    index, one, other = Index(), subscriber(ALICE), subscriber(ALICE)
    index.add(one)
    assert index._users["alice"] is one
    index.add(other)
    index.remove(one)
    assert index._users["alice"] is other
