"""Recent revocations: which apply to a newcomer, at what cost, and how many are kept."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from wsredis.hub.recent import Recent, RecentRevocations
from wsredis.hub.steps import STEP
from wsredis.identity import ANONYMOUS, Identity
from wsredis.identity.revocation import Revocation
from wsredis.protocol.closing import FORBIDDEN, IDENTITY_ENDED

from ..place import calls, complete

ALICE = Identity("alice", ("editors", "staff"), "one")
ENDED = IDENTITY_ENDED.code, IDENTITY_ENDED.reason


def keep(recent: RecentRevocations, when: float = 0.0, at: float = 0.0, **given: Any) -> None:
    recent.add(Recent(when, when, at, Revocation(**given, at=at)))


def newcomer(identity: Identity = ALICE, since: float = 0.0) -> Any:
    return SimpleNamespace(identity=identity, since=since)


def names(recent: RecentRevocations) -> list[str | None]:
    return [each.revocation.user for each in recent._by_age.values()]


@pytest.mark.parametrize(
    ("given", "ended"),
    [
        ({"user": "alice"}, True),
        ({"session": "one"}, True),
        ({"group": "staff"}, True),
        ({"user": "alice", "group": "editors"}, True),
        ({"user": "alice", "session": "one", "group": "staff"}, True),
        ({"user": "bob"}, False),
        ({"session": "alice"}, False),
        ({"group": "alice"}, False),
        ({"user": "alice", "session": "two"}, False),
        ({"user": "bob", "session": "one"}, False),
        ({"user": "alice", "group": "admins"}, False),
        ({"user": "bob", "group": "staff"}, False),
    ],
    ids=repr,
)
def test_it_is_found_by_any_of_its_names_and_all_must_fit(
    given: dict[str, str], ended: bool
) -> None:
    recent = RecentRevocations(60)
    keep(recent, **given)
    assert recent.end_of(newcomer()) == (ENDED if ended else None)
    assert recent.end_of(newcomer(ANONYMOUS)) is None


def test_the_code_and_the_reason_are_those_of_the_order() -> None:
    recent = RecentRevocations(60)
    keep(recent, user="alice", code=4403)
    keep(recent, user="bob", code=4000, reason="goodbye")
    assert recent.end_of(newcomer()) == (4403, FORBIDDEN.reason)
    assert recent.end_of(newcomer(Identity("bob"))) == (4000, "goodbye")


def test_only_identities_from_before_it_are_meant() -> None:
    recent = RecentRevocations(60)
    keep(recent, 10.0, 5000.0, user="alice")
    assert recent.end_of(newcomer(since=10.0)) == ENDED
    assert recent.end_of(newcomer(since=10.1)) is None
    assert recent.end_of(newcomer(Identity("alice", issued=5000.0), 10.1)) == ENDED
    assert recent.end_of(newcomer(Identity("alice", issued=5000.1), 10.1)) is None


def test_of_orders_with_the_same_names_the_newest_is_by_age() -> None:
    recent = RecentRevocations(60)
    for second in range(100):
        keep(recent, second, second, user="alice", code=4000 + second)
    keep(recent, 100.0, 1.0, user="alice", code=4999)  # an older one that was read from the log
    assert len(recent) == 1
    assert recent.end_of(newcomer(since=99.5)) == (4099, "")
    keep(recent, 0.0, 200.0, user="alice", code=4200)
    assert recent.end_of(newcomer(since=99.5)) == (4200, "")
    keep(recent, user="alice", group="staff")
    assert len(recent) == 2


def test_each_is_kept_for_its_time_from_its_arrival() -> None:
    recent = RecentRevocations(60)
    keep(recent, 0.0, user="alice", group="staff")
    keep(recent, 10.0, user="alice")
    keep(recent, 20.0, user="bob")
    recent.add(Recent(30.0, -500.0, 0.0, Revocation(user="carol")))  # from the log
    complete(recent.expire(60.0))
    assert len(recent) == 4
    complete(recent.expire(75.0))
    assert names(recent) == ["bob", "carol"]
    assert recent.end_of(newcomer()) is None
    complete(recent.expire(90.0))
    assert names(recent) == ["carol"]
    complete(recent.expire(91.0))
    assert (len(recent), recent.by_name) == (0, {})
    complete(recent.expire(1000.0))


def test_tickets_from_before_the_dropped_revocations_are_not_accepted() -> None:
    recent = RecentRevocations(60, most=3)
    for second in range(5):
        keep(recent, 100.0 + second, 5000.0 + second, user=f"user{second}")
    assert names(recent) == ["user2", "user3", "user4"]
    assert len(recent.by_name) == 3
    bob = Identity("bob")
    assert recent.end_of(newcomer(bob, 101.0)) == ENDED
    assert recent.end_of(newcomer(bob, 101.1)) is None
    assert recent.end_of(newcomer(Identity("bob", issued=5001.0), 105.0)) == ENDED
    assert recent.end_of(newcomer(Identity("bob", issued=5001.1), 105.0)) is None
    long_here = Identity("bob", issued=10.0)  # compared with each order when it arrived
    assert recent.end_of(newcomer(long_here, 101.0 - 60)) is None
    recent.drop(-math.inf, -math.inf)
    assert recent.end_of(newcomer(bob, 101.0)) == ENDED


@pytest.mark.parametrize("kind", ["user", "session", "group"])
def test_the_cost_for_a_new_client_does_not_depend_on_the_number_of_revocations(kind: str) -> None:
    recent = RecentRevocations(60)
    keep(recent, user="eve")
    few = calls(recent.end_of, newcomer())
    for number in range(2000):
        keep(recent, **{kind: f"somebody{number}"})
    assert calls(recent.end_of, newcomer()) == few


def test_those_that_are_too_old_are_removed_in_steps() -> None:
    recent = RecentRevocations(60)
    for number in range(2 * STEP + 1):
        keep(recent, user=f"user{number}")
    keep(recent, 50.0, user="bob")
    assert [len(recent) for _ in recent.expire(100.0)] == [STEP + 2, 2, 1]
    assert names(recent) == ["bob"]
