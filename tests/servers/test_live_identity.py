"""Changing identities: websockets whose identity has ended are closed, on all servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import redis

from wsredis import Config, Identity, disconnect
from wsredis.embedded import EmbeddedRedis
from wsredis.protocol.closing import FORBIDDEN, IDENTITY_ENDED
from wsredis.tickets import issue_ticket

from ..faults.proxy import Proxy
from .support import HOST, Setup, Site, each, eventually
from .wire import TEXT, Wire
from .workers import everywhere

pytestmark = pytest.mark.servers

Start = Callable[..., Site]
BROADCAST = "subscribe-broadcast"
SECRET = "a secret of the tests that has more than 32 bytes"
SERVERS = ("uwsgi-gevent", "uwsgi-threads", "gunicorn-gthread", "pywsgi")

some_servers = each(*SERVERS)
several_workers_too = each(*SERVERS, "uwsgi-workers", always=["uwsgi-workers"])


@pytest.fixture
def members(start: Start, own_redis: EmbeddedRedis, setup: Setup) -> Site:
    """Run a site with a Redis of its own: revocations of others are logged elsewhere."""
    return start(setup, app="guarded.py", redis=own_redis.url, handshake_timeout=60)


def revoke(site: Site, **whom: object) -> int:
    """End websockets from this process, which is not the server's."""
    return disconnect(config=Config(redis=site.redis), **whom)  # type: ignore[arg-type]


def hears(site: Site, room: str, *wires: Wire) -> None:
    """See that these are still there."""
    site.broadcast(room, "still here")
    for wire in wires:
        assert wire.receive_text() == "still here"


# Time


@some_servers
def test_a_websocket_closes_with_4401_when_its_identity_expires(members: Site, room: str) -> None:
    target = f"/ws/{room}?{BROADCAST}"
    soon, late = time.time() + 1.5, time.time() + 3600
    with (
        members.wire(target, x_user="alice", x_expires=str(soon)) as alice,
        members.wire(target, x_user="bob", x_expires=str(late)) as bob,
        members.wire(target) as nobody,
    ):
        assert alice.close_code() == 4401
        assert time.time() > soon
        hears(members, room, bob, nobody)
    assert members.stats()["revoked"] == 1
    eventually(lambda: members.lines(f"close user=alice .*{room} code=4401"), "it is logged")


@some_servers
def test_what_has_expired_already_hears_4401_and_no_message(members: Site, room: str) -> None:
    members.broadcast(room, "retained for members", expire=60)
    target = f"/ws/{room}?{BROADCAST}"
    with members.wire(target, x_user="alice", x_expires="1000000000") as late:
        first, payload = late.receive()
        assert (first, payload[:2]) == (0x88, (4401).to_bytes(2, "big"))


# Orders


@several_workers_too
def test_a_revocation_closes_the_matching_websockets_on_all_workers(
    members: Site, room: str
) -> None:
    target = f"/ws/{room}?{BROADCAST}"
    alice = {"x_user": "alice", "x_groups": "editors,staff", "x_session": "one"}
    bob = {"x_user": "bob", "x_groups": "staff", "x_session": "two"}
    with ExitStack() as stack:

        def come(**who: str) -> Wire:
            return stack.enter_context(members.wire(target, **who))

        for whom, code, reason in (
            ({"user": "alice"}, 4401, IDENTITY_ENDED.reason),
            ({"session": "one", "code": 4403}, 4403, FORBIDDEN.reason),
            ({"group": "editors", "user": "alice", "reason": "bye"}, 4401, "bye"),
        ):
            meant = everywhere(members, lambda: come(**alice))
            stay = [come(**bob), come()]
            assert revoke(members, **whom) == members.setup.workers
            for wire in meant:
                first, payload = wire.receive()
                assert first == 0x88
                assert payload == code.to_bytes(2, "big") + reason.encode()
                wire.socket.close()
            hears(members, room, *stay)
            for wire in stay:
                wire.socket.close()
            eventually(lambda: not members.stats()["connections"], "all have gone")
        assert revoke(members, group="nobody has this") == members.setup.workers


@some_servers
def test_a_group_goes_and_others_stay(members: Site, room: str) -> None:
    target = f"/ws/{room}?{BROADCAST}"
    with (
        members.wire(target, x_user="alice", x_groups="editors,staff") as alice,
        members.wire(target, x_user="bob", x_groups="staff") as bob,
        members.wire(target, x_user="staff", x_session="staff") as namesake,
        members.wire(target) as nobody,
    ):
        revoke(members, group="staff", code=1008)
        assert (alice.close_code(), bob.close_code()) == (1008, 1008)
        hears(members, room, namesake, nobody)
    assert members.stats()["revoked"] == 2


@several_workers_too
def test_a_view_of_the_site_itself_may_give_the_order(members: Site, room: str) -> None:
    target = f"/ws/{room}?{BROADCAST}"
    with members.wire(target, x_user="alice") as alice, members.wire(target) as nobody:
        assert members.request("POST", "/disconnect/alice").status == 200
        assert alice.close_code() == 4401
        hears(members, room, nobody)
    with members.wire(target, x_user="alice", x_session="new") as again:
        hears(members, room, again)


@several_workers_too
@pytest.mark.parametrize("first", [True, False], ids=["the-first", "not-the-first"])
def test_a_revocation_also_closes_handshakes_in_progress(
    members: Site, room: str, first: bool
) -> None:
    members.broadcast(room, "retained for members", expire=60)
    target = f"/ws/{room}?{BROADCAST}"
    with members.wire() as wire, ExitStack() as stack:
        others = []
        while not first and len(others) < members.setup.workers:
            others.append(stack.enter_context(members.wire(target, x_user="alice")))
        wire.send(wire.request(target, x_user="alice", x_hold="asked"))
        eventually((members.folder / "asked").exists, "it is known who this is")
        revoke(members, user="alice")
        for other in others:
            assert other.close_code() == 4401
        (members.folder / "asked-go").touch()
        assert wire.answer().status == 101
        first_byte, payload = wire.receive()
        code, reason = (4401).to_bytes(2, "big"), IDENTITY_ENDED.reason.encode()
        assert (first_byte, payload) == (0x88, code + reason)


@some_servers
def test_no_client_can_publish_a_revocation(members: Site, room: str) -> None:
    forged = b'{"user":"alice","group":null,"session":null,"code":4401,"reason":"","at":0}'
    requested = "publish-broadcast&publish-user&publish-group&publish-session"
    who = {"x_user": "control", "x_groups": "control", "x_session": "control"}
    with members.wire(f"/ws/{room}?{BROADCAST}", x_user="alice") as alice:
        for facility in ("control", ":control", "%3Acontrol", "a/control", "ws:control", ""):
            with members.wire(f"/ws/{facility}?{requested}&{BROADCAST}&echo", **who) as eve:
                eve.send_frame(TEXT, forged)
                assert eve.receive_text() == forged.decode()
        hears(members, room, alice)
    assert members.stats()["revoked"] == 0
    assert not members.lines("control channel was ignored")


# Tickets

MEMBER = Identity("alice", ("editors",), "one")


@some_servers
@pytest.mark.parametrize("fresh", [True, False], ids=["a-fresh-process", "a-process-that-heard"])
@pytest.mark.parametrize("names", ["user", "session", "group"])
def test_a_ticket_issued_before_a_revocation_is_not_accepted(
    start: Start, own_redis: EmbeddedRedis, setup: Setup, room: str, names: str, fresh: bool
) -> None:
    site = start(setup, app="guarded.py", redis=own_redis.url, secret=SECRET)
    config = Config(redis=own_redis.url, secret=SECRET)
    target = f"/ws/{room}?{BROADCAST}"

    def ticket(who: Identity = MEMBER) -> str:
        return f"{target}&ticket={issue_ticket(who, seconds=300, config=config)}"

    with ExitStack() as stack:
        if not fresh:
            stack.enter_context(site.wire(target))
        before, other = ticket(), ticket(Identity("bob", ("readers",), "two"))
        revoke(site, **{names: {"user": "alice", "session": "one", "group": "editors"}[names]})
        for number in range(2000):
            revoke(site, user=f"user{number}")
        with site.wire(before) as late:
            first, payload = late.receive()
            assert (first, payload[:2]) == (0x88, (4401).to_bytes(2, "big"))
        with site.wire(other) as bob, site.wire(ticket()) as again:
            hears(site, room, bob, again)
    assert site.stats()["revoked"] == 1


# While Redis is full


@some_servers
def test_a_revocation_applies_although_redis_cannot_store_it(
    members: Site, own_redis: EmbeddedRedis, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = f"/ws/{room}?{BROADCAST}"
    with (
        members.wire(target, x_user="alice", x_session="key-of-alice") as alice,
        members.wire(target) as nobody,
        redis.Redis(port=own_redis.port) as admin,
    ):
        admin.config_set("maxmemory", 1)
        assert revoke(members, session="key-of-alice") == 1
        assert alice.close_code() == 4401
        hears(members, room, nobody)
        admin.config_set("maxmemory", 0)
    assert (
        "Redis does not store the log of ws:control (command not allowed when used" in caplog.text
    )
    assert "key-of-alice" not in caplog.text


# While Redis is unavailable


@each("uwsgi-gevent", "gunicorn-gthread", "pywsgi")
@pytest.mark.parametrize("on_gap", ["keep", "close"])
def test_a_missed_revocation_is_applied_after_the_reconnection(
    start: Start, own_redis: EmbeddedRedis, proxy: Proxy, setup: Setup, room: str, on_gap: str
) -> None:
    url = f"redis://{HOST}:{proxy.port}/0"
    site = start(setup, app="guarded.py", redis=url, redis_deadline=2, on_gap=on_gap)
    site.redis = own_redis.url  # who publishes here has another way
    target = f"/ws/{room}?{BROADCAST}"
    with (
        site.wire(target, x_user="alice") as alice,
        site.wire(target, x_user="bob") as bob,
        site.wire(target, x_user="carol") as carol,
    ):
        proxy.hole()
        revoke(site, user="alice")  # lost on its way
        eventually(lambda: site.stats()["gaps"], "the silence is noticed")
        revoke(site, user="bob", code=4403)
        proxy.heal()
        assert alice.close_code() == 4401
        assert bob.close_code() == 4403
        if on_gap == "keep":
            hears(site, room, carol)
        else:
            assert carol.close_code() == 1012
        assert site.stats()["revoked"] == 2
    with site.wire(target, x_user="dave") as dave:
        hears(site, room, dave)
