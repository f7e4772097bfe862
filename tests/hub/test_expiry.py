"""The end of subscribers whose identity expires or is revoked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from wsredis.hub import expiry as module
from wsredis.hub.expiry import SKEW, SPARE, Expiry
from wsredis.hub.steps import STEP
from wsredis.identity import Identity
from wsredis.identity.revocation import LOG_LENGTH, MAX_AGE, Revocation
from wsredis.message import Message
from wsredis.protocol.closing import IDENTITY_ENDED

from ..place import calls, complete

CONTROL = "ws:control"
ALICE, BOB = Identity("alice", ("editors",), "one"), Identity("bob", ("editors",), "two")


class Clock:
    """A stand-in for the module ``time``; the wall clock and the monotonic one are far apart."""

    def __init__(self) -> None:
        self.now = 5000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + 10**9


class Socket:
    """A stand-in for a subscriber."""

    def __init__(self, identity: Identity, since: float) -> None:
        self.identity = identity
        self.since = since
        self.codes: list[tuple[int, str]] = []

    def kick(self, code: int, reason: str) -> bool:
        self.codes.append((code, reason))
        return len(self.codes) == 1


class Process:
    """The sockets of a process, its clock and its `Expiry`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sockets: list[Any] = []
        self.expiry = Expiry(lambda: self.sockets, 10)

    def come(self, identity: Identity, since: float | None = None) -> Any:
        """Let somebody in who was asked who it is just now, or since when is said."""
        socket = Socket(identity, self.clock.now if since is None else since)
        self.sockets.append(socket)
        return socket

    def admit(self, identity: Identity, since: float | None = None) -> Any:
        """Let somebody in, as `come`, who is not closed at once."""
        socket = self.come(identity, since)
        assert self.expiry.watch(socket) == 0
        return socket

    def leave(self, socket: Any) -> None:
        """Let somebody go who was admitted."""
        self.sockets.remove(socket)
        self.expiry.forget(socket)

    def revoke(self, ago: float = 0.0, **given: Any) -> Message:
        """Return a revocation that was given so many seconds ago."""
        at = self.clock.time() - ago
        return Message(CONTROL, Revocation(**{"user": "alice", **given}, at=at).encode())


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return Process(clock)


# Time


def test_who_expires_is_closed_once(process: Process) -> None:
    clock, expiry = process.clock, process.expiry
    soon = process.come(Identity("alice", expires=clock.time() + 5))
    late = process.come(Identity("bob", expires=clock.time() + 50))
    never = process.come(Identity("carol"))
    assert [expiry.watch(socket) for socket in process.sockets] == [0, 0, 0]
    clock.now += 4.9
    assert sum(expiry.expire()) == 0
    clock.now += 0.1
    assert sum(expiry.expire()) == 1
    assert sum(expiry.expire()) == 0
    assert soon.codes == [(IDENTITY_ENDED.code, IDENTITY_ENDED.reason)]
    clock.now += 1000
    assert sum(expiry.expire()) == 1
    assert (len(late.codes), never.codes) == (1, [])


@pytest.mark.parametrize("ago", [0, 1, 10**9])
def test_who_has_expired_already_does_not_get_in(process: Process, ago: float) -> None:
    late = process.come(Identity("alice", expires=process.clock.time() - ago))
    assert process.expiry.watch(late) == 1
    assert late.codes == [(IDENTITY_ENDED.code, IDENTITY_ENDED.reason)]
    assert sum(process.expiry.expire()) == 0


def test_who_has_gone_is_forgotten(process: Process) -> None:
    socket = process.come(Identity("alice", expires=process.clock.time() + 5))
    process.expiry.watch(socket)
    process.expiry.forget(socket)
    process.clock.now += 10
    assert sum(process.expiry.expire()) == 0
    assert socket.codes == []


# Revocations


def test_a_revocation_ends_those_it_means_and_counts_them(process: Process) -> None:
    alice, bob, other = process.admit(ALICE), process.admit(BOB), process.admit(ALICE)
    revocation = process.revoke(code=4403, reason="goodbye")
    assert sum(process.expiry.apply(revocation)) == 2
    assert sum(process.expiry.apply(revocation)) == 0  # they are closing already
    assert alice.codes[0] == other.codes[0] == (4403, "goodbye")
    assert bob.codes == []


def test_nonsense_ends_nobody(process: Process) -> None:
    alice = process.admit(ALICE)
    for payload in (b"", b"[]", b'{"user":null}', b'{"user":"alice","code":1006}'):
        assert sum(process.expiry.apply(Message(CONTROL, payload))) == 0
        assert sum(process.expiry.catch_up([Message(CONTROL, payload)])) == 0
    assert alice.codes == []


def test_an_invalid_revocation_is_logged_in_one_short_line(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    key = "a\\r\\nERROR b" + "c" * 5000
    assert (
        sum(process.expiry.apply(Message(CONTROL, f'{{"user":"alice","{key}":1}}'.encode()))) == 0
    )
    (record,) = caplog.records
    assert "a message on the control channel was ignored" in record.getMessage()
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 300


def test_a_newcomer_who_was_asked_before_the_revocation_is_meant_too(process: Process) -> None:
    before = process.clock.now
    process.clock.now += 1
    complete(
        process.expiry.apply(process.revoke(ago=3600))
    )  # the clock of whoever gave it is wrong
    process.clock.now += 1
    assert process.expiry.watch(process.come(ALICE, before)) == 1
    assert process.expiry.watch(process.come(BOB, before)) == 0
    assert process.expiry.watch(process.come(ALICE)) == 0  # has logged in again


def test_a_newcomer_who_two_revocations_mean_is_counted_once(process: Process) -> None:
    before = process.clock.now
    process.clock.now += 1
    for _ in range(2):
        complete(process.expiry.apply(process.revoke()))
    assert process.expiry.watch(process.come(ALICE, before)) == 1


def test_a_revocation_is_remembered_as_long_as_a_handshake_may_take(process: Process) -> None:
    before = process.clock.now
    complete(process.expiry.apply(process.revoke()))
    process.clock.now += MAX_AGE + 10 + SPARE
    complete(process.expiry.expire())
    assert process.expiry.watch(process.come(ALICE, before)) == 1
    process.clock.now += 1
    complete(process.expiry.expire())
    assert process.expiry.watch(process.come(ALICE, before)) == 0
    assert not len(process.expiry._recent)


def test_a_revocation_that_was_missed_ends_those_who_were_asked_before_it(process: Process) -> None:
    early = process.come(ALICE)
    process.clock.now += 100
    late = process.come(ALICE)
    process.clock.now += 50
    assert sum(process.expiry.catch_up([process.revoke(ago=100)])) == 1
    assert (len(early.codes), late.codes) == (1, [])


@pytest.mark.parametrize(("behind", "ended"), [(SKEW - 0.5, 1), (SKEW + 0.5, 0)])
def test_clocks_may_differ_a_little(process: Process, behind: float, ended: int) -> None:
    process.come(ALICE)
    assert sum(process.expiry.catch_up([process.revoke(ago=behind)], skew=0)) == 0
    assert sum(process.expiry.catch_up([process.revoke(ago=behind)])) == ended


def test_a_revocation_from_the_future_means_nobody_who_comes_after_it_was_read(
    process: Process,
) -> None:
    here = process.come(ALICE)
    assert sum(process.expiry.catch_up([process.revoke(ago=-3600)])) == 1
    assert len(here.codes) == 1
    process.clock.now += 1
    assert process.expiry.watch(process.come(ALICE)) == 0


def test_the_cost_of_a_revocation_does_not_depend_on_the_number_of_bystanders(
    process: Process,
) -> None:
    def cost(user: str) -> int:
        process.admit(Identity(user))
        return calls(lambda: list(process.expiry.apply(process.revoke(user=user))))

    few = cost("alice")
    for number in range(10 * STEP):
        process.admit(Identity(f"user{number}", (f"group{number}",), f"session{number}"))
    assert cost("bob") == few


@pytest.mark.parametrize("kind", ["user", "session", "group"])
def test_a_revocation_of_many_closes_a_limited_number_in_one_step(
    process: Process, kind: str
) -> None:
    name = {"user": "alice", "session": "one", "group": "editors"}[kind]
    sockets = [process.admit(ALICE) for _ in range(2 * STEP + 1)]
    revocation = process.revoke(**{"user": None, kind: name})
    assert list(process.expiry.apply(revocation)) == [STEP, STEP, 1]
    assert [len(socket.codes) for socket in sockets] == [1] * len(sockets)


def test_all_names_of_a_revocation_must_match(process: Process) -> None:
    one, two = process.admit(ALICE), process.admit(replace(ALICE, session="two"))
    process.admit(replace(ALICE, groups=("admins",)))
    revocation = process.revoke(group="editors", session="two")
    assert sum(process.expiry.apply(revocation)) == 1
    assert (one.codes, len(two.codes)) == ([], 1)


def test_between_the_steps_of_a_revocation_others_may_come_and_go(process: Process) -> None:
    before = process.clock.now
    here = [process.admit(ALICE) for _ in range(2 * STEP)]
    process.clock.now += 1
    steps = process.expiry.apply(process.revoke())
    assert next(steps) == STEP
    closed = [socket for socket in here if socket.codes]
    for socket in closed:
        process.leave(socket)
    process.clock.now += 1
    late = process.come(ALICE, before)
    assert process.expiry.watch(late) == 1  # it was identified before the revocation
    again = process.admit(ALICE)  # it has logged in again
    assert list(steps) == [STEP]
    assert [len(socket.codes) for socket in (*here, late, again)] == [1] * (2 * STEP + 1) + [0]


def test_those_that_expire_are_closed_in_steps(process: Process) -> None:
    clock, expiry = process.clock, process.expiry
    soon = Identity("alice", expires=clock.time() + 5)
    here = [process.admit(soon) for _ in range(2 * STEP)]
    late = process.admit(Identity("bob", expires=clock.time() + 9))
    clock.now += 5
    steps = expiry.expire()
    assert next(steps) == STEP
    leaving = next(socket for socket in here if not socket.codes)
    process.leave(leaving)
    newcomer = process.admit(Identity("carol", expires=clock.time() + 2))
    assert list(steps) == [STEP - 1, 0]
    assert [len(socket.codes) for socket in here if socket is not leaving] == [1] * (2 * STEP - 1)
    assert leaving.codes == late.codes == newcomer.codes == []
    clock.now += 2
    assert sum(expiry.expire()) == len(newcomer.codes) == 1
    clock.now += 2
    assert sum(expiry.expire()) == len(late.codes) == 1


def test_after_an_error_all_are_looked_at_again(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, expiry = process.clock, process.expiry
    first, second = (
        process.admit(Identity(name, expires=clock.time() + 5)) for name in ("alice", "bob")
    )

    def fail(code: int, reason: str) -> bool:
        raise MemoryError

    monkeypatch.setattr(first, "kick", fail)
    clock.now += 5
    with pytest.raises(MemoryError):
        list(expiry.expire())
    assert second.codes == []
    assert sum(expiry.expire()) == len(second.codes) == 1


def test_nobody_is_looked_at_before_somebody_expires(process: Process) -> None:
    for _ in range(2 * STEP):
        process.admit(Identity("alice", expires=process.clock.time() + 5))
    assert list(process.expiry.expire()) == []


def test_revocations_are_forgotten_in_steps(process: Process) -> None:
    for number in range(2 * STEP):
        complete(process.expiry.apply(process.revoke(user=f"user{number}")))
    process.clock.now += 1000
    assert list(process.expiry.expire()) == [0, 0]
    assert not len(process.expiry._recent)


# Tickets


def ticket(process: Process, ago: float, identity: Identity = ALICE) -> Any:
    """Let somebody in now, with a ticket that was issued so many seconds ago."""
    return process.come(replace(identity, issued=process.clock.time() - ago))


@pytest.mark.parametrize("kept", [True, False], ids=["heard", "read-from-the-log"])
def test_a_ticket_from_before_a_revocation_is_worth_nothing_after_it(
    process: Process, kept: bool
) -> None:
    process.clock.now += 1000
    order = process.revoke(code=4403, reason="goodbye")
    if kept:
        complete(process.expiry.apply(order))
    process.clock.now += 60
    if not kept:
        assert sum(process.expiry.catch_up([order], skew=0)) == 0
    before, after, bob = ticket(process, 61), ticket(process, 59), ticket(process, 61, BOB)
    assert [process.expiry.watch(each) for each in (before, after, bob)] == [1, 0, 0]
    assert before.codes == [(4403, "goodbye")]


def test_the_clock_of_an_order_from_the_future_does_not_count(process: Process) -> None:
    complete(process.expiry.apply(process.revoke(ago=-3600)))
    process.clock.now += 1
    assert process.expiry.watch(ticket(process, 0)) == 0
    assert process.expiry.watch(ticket(process, 2)) == 1


def test_a_ticket_that_came_before_the_log_was_read_is_found(process: Process) -> None:
    process.clock.now += 1000
    late = ticket(process, 61)
    assert process.expiry.watch(late) == 0
    assert sum(process.expiry.catch_up([process.revoke(ago=60)], skew=0)) == 1


def test_where_the_log_may_lack_orders_a_ticket_from_before_it_is_worth_nothing(
    process: Process,
) -> None:
    process.clock.now += 1000
    old = process.come(BOB)  # when all was known
    process.clock.now += 1000
    log = [process.revoke(ago=60, user="eve")] * LOG_LENGTH
    assert sum(process.expiry.catch_up(log[1:], skew=0)) == 0
    assert process.expiry.watch(ticket(process, 61)) == 0
    process.sockets.pop()
    assert sum(process.expiry.catch_up(log, skew=0)) == 0
    before, after = ticket(process, 61), ticket(process, 59)
    assert [process.expiry.watch(each) for each in (before, after)] == [1, 0]
    assert before.codes == [(IDENTITY_ENDED.code, IDENTITY_ENDED.reason)]
    assert old.codes == []


def test_nonsense_in_a_full_log_is_skipped(process: Process) -> None:
    process.clock.now += 1000
    log = [Message(CONTROL, b"[]"), *[process.revoke(ago=60, user="eve")] * LOG_LENGTH]
    assert sum(process.expiry.catch_up(log, skew=0)) == 0
    assert process.expiry.watch(ticket(process, 61)) == 1


def test_others_have_their_turn_while_a_log_is_applied(process: Process) -> None:
    sockets = [process.come(ALICE) for _ in range(2 * STEP)]
    log = [process.revoke()] * (3 * STEP)
    assert list(process.expiry.catch_up(log)) == [0, 0, 0, STEP, STEP]
    assert all(len(socket.codes) == 1 for socket in sockets)
