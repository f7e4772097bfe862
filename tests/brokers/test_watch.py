"""The watch over the server of a link: another one at the same address, a role that changes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
import redis

from wsredis.brokers.redis import watch as watch_module
from wsredis.brokers.redis.watch import SEVERAL, UNKNOWN, Watch
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable, WrongServer
from wsredis.runtime.loop import Loop

from ..faults.proxy import Proxy
from .fake import NEWS, Broker, FakeRedis, message
from .support import SECONDS, broker_at, client_at

AWAY = BrokerUnavailable("the fake is unavailable")
WRONG = WrongServer("Redis at HOST:PORT is a Sentinel")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass between two looks."""
    monkeypatch.setattr(watch_module, "LEAST", 0.0)
    monkeypatch.setattr(watch_module, "MOST", 0.001)


class FakeLink:
    def __init__(self) -> None:
        self.ended = ""

    def end(self, error: OSError) -> None:
        assert isinstance(error, ConnectionError)
        assert not self.ended
        self.ended = str(error)


def looking(*found: str | Exception | None) -> Callable[[], str | None]:
    """Return a function that finds these, one after another; then the watch is killed."""
    finds = iter(found)

    def find() -> str | None:
        try:
            one = next(finds)
        except StopIteration:
            raise gevent.GreenletExit from None
        if isinstance(one, Exception):
            raise one
        return one

    return find


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("run_id", "found", "ended"),
    [
        ("first", ["first"] * 9, ""),
        (
            "first",
            ["first", "other", "other"],
            "leads to another server now, with the run id other",
        ),
        ("first", [WRONG, WRONG], "Redis at HOST:PORT is a Sentinel"),
        (None, [WRONG, WRONG], "Redis at HOST:PORT is a Sentinel"),
        ("first", [AWAY, LookupError("no token today"), None, "first"], ""),
        ("first", ["other", AWAY, "other", LookupError("no token today"), "other", None], ""),
        ("first", [WRONG, AWAY, "first"], ""),
        (None, [None] * 9, ""),
    ],
)
def test_a_link_ends_when_its_address_leads_elsewhere_twice_in_a_row(
    run_id: str | None, found: list[Any], ended: str, loop: Loop
) -> None:
    link: Any = FakeLink()
    find = looking(*found)
    loop.run(lambda: gevent.spawn(Watch(find).run, link, run_id).join(SECONDS))
    assert ended in link.ended
    assert bool(ended) is bool(link.ended)
    with pytest.raises(gevent.GreenletExit):  # as often as was expected, and not more
        find()


@pytest.mark.usefixtures("often")
def test_an_address_that_leads_to_several_servers_by_turns_is_no_gap_and_said_once(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    link: Any = FakeLink()
    find = looking(*["first", "other", "first", "other", "third", WRONG, "first"] * 3)
    loop.run(lambda: gevent.spawn(Watch(find).run, link, "first").join(SECONDS))
    assert not link.ended
    assert [record.getMessage() for record in caplog.records] == [SEVERAL]


@pytest.mark.usefixtures("often")
def test_that_the_run_id_is_unknown_is_said_once(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    link: Any = FakeLink()
    watch = Watch(looking())
    for _ in range(3):
        loop.run(lambda: gevent.spawn(watch.run, link, None).join(SECONDS))
    assert [record.getMessage() for record in caplog.records] == [UNKNOWN]


@pytest.mark.usefixtures("often")
def test_in_a_forked_child_the_watch_ends_without_a_look(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = iter([1, 1, 2])
    monkeypatch.setattr(watch_module, "os", SimpleNamespace(getpid=lambda: next(pids)))
    looks: list[None] = []
    watching = loop.run(
        lambda: gevent.spawn(Watch(lambda: looks.append(None)).run, FakeLink(), "first")
    )
    loop.run(watching.join, SECONDS)
    assert watching.successful()
    assert len(looks) == 1


@pytest.mark.usefixtures("often")
def test_the_feed_counts_a_gap_and_makes_a_new_link(fake: FakeRedis, listener: Any) -> None:
    peer = fake.peer()
    peer.say(message("from the first"))
    listener.wait_for("from the first")
    fake.run_id = "second"
    assert peer.ended()
    fake.peer().say(message("from the second"))
    listener.wait_for("from the first", "from the second")
    assert listener.feed.stats.gaps == 1


@pytest.mark.usefixtures("often")
def test_nothing_is_looked_for_without_a_link(
    fake: FakeRedis, listen: Any, eventually: Any
) -> None:
    fake.unavailable = True
    listener = listen(Broker(fake, SECONDS))
    eventually(lambda: fake.attempts > 5)
    assert not fake.looks
    fake.unavailable = False
    peer = fake.peer()
    peer.say(message("hello"))
    listener.wait_for("hello")
    eventually(lambda: fake.looks > 5)
    listener.close()
    assert peer.ended()
    looks = fake.looks
    listener._run(lambda: [gevent.sleep(0.001) for _ in range(20)])
    assert fake.looks == looks


# Real servers


@pytest.fixture
def proxy(own_redis: EmbeddedRedis) -> Iterator[Proxy]:
    made = Proxy(own_redis.port)
    yield made
    made.close()


@pytest.mark.usefixtures("often")
def test_another_server_at_the_same_address_is_a_gap_and_a_new_link(
    own_redis: EmbeddedRedis, proxy: Proxy, listen: Any, eventually: Any, caplog: Any
) -> None:
    """The old one is a primary as before, and no connection to it ends."""
    broker = broker_at(f"redis://127.0.0.1:{proxy.port}")
    listener = listen(broker)
    listener.subscribe(NEWS)
    assert broker.publish([NEWS], b"one", 0) == 1
    listener.wait_for("one")
    runner = asyncio.Runner()  # its loop keeps its client
    assert runner.run(broker.apublish([NEWS], b"two", 0)) == 1
    listener.wait_for("one", "two")
    with EmbeddedRedis() as other, redis.Redis(port=other.port, decode_responses=True) as admin:
        proxy.lead_to(other.port)
        eventually(lambda: admin.pubsub_numsub(NEWS) == [(NEWS, 1)])
        eventually(lambda: listener.feed.stats.connected)
        assert (listener.feed.stats.gaps, listener.feed.stats.reconnects) == (1, 1)
        moved = f"leads to another server now, with the run id {admin.info('server')['run_id']}"
        assert caplog.text.count(moved) == 1
        assert broker.publish([NEWS], b"three", 0) == 1
        assert runner.run(broker.apublish([NEWS], b"four", 0)) == 1
        assert admin.publish(NEWS, "five") == 1
        listener.wait_for("one", "two", "three", "four", "five")
        runner.close()
        listener.close()
        assert listener.feed.stats.gaps == 2  # that it was closed is the second


@pytest.mark.usefixtures("often")
def test_a_primary_that_becomes_a_replica_is_noticed(
    own_redis: EmbeddedRedis, admin: redis.Redis, listen: Any, eventually: Any, caplog: Any
) -> None:
    listener = listen(broker_at(own_redis.url))
    listener.subscribe(NEWS)
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    eventually(lambda: "cannot connect, retrying" in caplog.text)
    wrong = f"Redis at 127.0.0.1:{own_redis.port} is a replica of 127.0.0.1:1"
    assert f"lost Redis, messages may be missed until it is back: {wrong}" in caplog.text
    with pytest.raises(BrokerUnavailable, match=wrong):
        listener.subscribe(NEWS)
    admin.execute_command("REPLICAOF", "NO", "ONE")
    eventually(lambda: listener.feed.stats.connected)
    assert (listener.feed.stats.gaps, listener.feed.stats.reconnects) == (1, 1)


@pytest.mark.usefixtures("often")
def test_the_watch_of_a_user_without_info_still_reads_the_role(
    own_redis: EmbeddedRedis, admin: redis.Redis, listen: Any, eventually: Any, caplog: Any
) -> None:
    admin.execute_command("ACL", "SETUSER", "alice", "on", ">wonder", "~*", "&*", "+@all", "-info")
    listener = listen(broker_at(own_redis.url.replace("//", "//alice:wonder@")))
    listener.subscribe(NEWS)
    assert caplog.text.count(UNKNOWN) == 1
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    eventually(lambda: "lost Redis" in caplog.text)


@pytest.mark.usefixtures("often")
def test_a_restart_is_one_gap(own_redis: EmbeddedRedis, listen: Any, eventually: Any) -> None:
    listener = listen(broker_at(own_redis.url))
    listener.subscribe(NEWS)
    for times in (1, 2):
        own_redis.kill()
        own_redis.start()
        eventually(lambda times=times: listener.feed.stats.reconnects == times)
        eventually(lambda: listener.feed.stats.connected)
        assert listener.feed.stats.gaps == times


@pytest.mark.usefixtures("often")
def test_when_the_feed_is_closed_no_connection_is_left(
    own_redis: EmbeddedRedis, admin: redis.Redis, listen: Any, eventually: Any
) -> None:
    listener = listen(broker_at(own_redis.url))
    listener.subscribe(NEWS)
    before = admin.info("stats")["total_connections_received"]
    eventually(lambda: admin.info("stats")["total_connections_received"] > before + 5)
    listener.close()
    listener._run(lambda: gevent.get_hub().threadpool.join())  # a look that had begun
    eventually(lambda: len(admin.client_list()) == 1)
    after = admin.info("stats")["total_connections_received"]
    listener._run(lambda: [gevent.sleep(0.001) for _ in range(20)])
    assert admin.info("stats")["total_connections_received"] == after


def test_a_look_at_a_silent_server_ends_and_leaves_no_connection(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(SECONDS)
        client = client_at(f"redis://127.0.0.1:{mute.getsockname()[1]}", 0.2)
        looking = loop.run(lambda: gevent.spawn(client.find_run_id))
        peer, _ = mute.accept()
        peer.settimeout(SECONDS)
        loop.run(looking.kill)  # as when the feed is closed
        with peer:
            while peer.recv(1 << 16):
                pass  # HELLO
    assert isinstance(looking.value, gevent.GreenletExit)


def test_beside_a_look_at_a_silent_server_the_loop_runs(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(SECONDS)
        client = client_at(f"redis://127.0.0.1:{mute.getsockname()[1]}")
        looking = loop.run(lambda: gevent.spawn(client.find_run_id))
        peer, _ = mute.accept()
        assert loop.run(threading.get_ident, timeout=SECONDS) == loop.thread
        assert not looking.ready()
        peer.close()
        with pytest.raises(BrokerUnavailable):
            loop.run(looking.get)
