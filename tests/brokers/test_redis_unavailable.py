"""The Redis broker while its server cannot be reached, dies, freezes or comes back."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
import redis

from wsredis.brokers.redis.broker import RedisBroker
from wsredis.brokers.redis.resp import Parser
from wsredis.embedded import EmbeddedRedis, free_port
from wsredis.exceptions import BrokerUnavailable
from wsredis.runtime.loop import Loop

from .fake import Call
from .support import SECONDS, broker_at

SHORT = 3.0
"""A deadline that is waited for, and still more than a busy Redis takes to answer."""

NEWS, CHAT = "ws:broadcast:news", "ws:broadcast:chat"


# Redis that is not there


@pytest.fixture
def nowhere() -> str:
    return f"redis://127.0.0.1:{free_port()}"


def test_where_nobody_listens_the_broker_is_unavailable(nowhere: str, listen: Any) -> None:
    broker = broker_at(nowhere)
    calls: list[Callable[[], Any]] = [
        lambda: broker.publish([NEWS], b"x", 0),
        lambda: broker.publish([NEWS, CHAT], b"x", 5),
        lambda: broker.fetch([NEWS]),
        lambda: asyncio.run(broker.apublish([NEWS], b"x", 0)),
        lambda: listen(broker).subscribe(NEWS),
    ]
    for call in calls:
        with pytest.raises(BrokerUnavailable, match=rf"^Redis at {nowhere[8:]}: Error \d+ "):
            call()
    with pytest.raises(BrokerUnavailable, match="refused") as refused:
        broker.publish([NEWS], b"x", 0)
    assert isinstance(refused.value.__cause__, redis.ConnectionError)


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("redis://" + "a" * 64 + ".example", "a" * 64 + ".example:6379"),
        ("redis://[::1]:1", "[::1]:1"),
        ("unix:///nowhere/redis.sock", "/nowhere/redis.sock"),
        ("redis://:wrong@127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("redis://mallory:wrong@127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("redis://127.0.0.1:{port}/999", "127.0.0.1:{port}"),
    ],
)
def test_an_address_that_leads_nowhere_is_unavailable_and_not_an_accident(
    where: str, name: str, guarded: tuple[EmbeddedRedis, str], listen: Any
) -> None:
    broker = broker_at(where.format(port=guarded[0].port))
    for call in (
        lambda: broker.publish([NEWS], b"x", 0),
        lambda: broker.fetch([NEWS]),
        lambda: asyncio.run(broker.apublish([NEWS], b"x", 0)),
        lambda: listen(broker).subscribe(NEWS),
    ):
        with pytest.raises(BrokerUnavailable) as refused:
            call()
        assert "wrong" not in str(refused.value).replace("wrong pass", "")
        assert str(refused.value).startswith(f"Redis at {name}: ".format(port=guarded[0].port))


def test_a_server_that_never_greets_is_unavailable_at_the_deadline(listen: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        broker = broker_at(f"redis://127.0.0.1:{mute.getsockname()[1]}", 0.2)
        for call in (
            lambda: broker.publish([NEWS], b"x", 0),
            lambda: asyncio.run(broker.apublish([NEWS], b"x", 0)),
            lambda: listen(broker).subscribe(NEWS),
        ):
            with pytest.raises(BrokerUnavailable):
                Call(call).result()


def test_without_credentials_no_connection_is_left_open_and_it_is_logged(
    listen: Any, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Provider(redis.CredentialProvider):
        def get_credentials(self) -> tuple[str]:
            raise LookupError("no token today")

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        where = {"port": server.getsockname()[1], "credential_provider": Provider()}
        gc.disable()  # which would find it some day
        try:
            listener = listen(broker_at(where))
            peer, _ = server.accept()
            with peer:
                peer.settimeout(SECONDS)
                assert peer.recv(1) == b""
            eventually(lambda: "no token today" in caplog.text)
            name = f"Redis at localhost:{where['port']}"
            assert f"cannot connect to {name}, retrying" in caplog.text
            with pytest.raises(BrokerUnavailable, match=f"^{name}: cannot connect, see the log$"):
                listener.subscribe(NEWS)
        finally:
            gc.enable()


def test_a_feed_finds_a_redis_that_starts_later(listen: Any, eventually: Any) -> None:
    server = EmbeddedRedis(port=free_port())
    broker = broker_at(server.url)
    listener = listen(broker)
    listener.publish([NEWS], b"early", 60)
    with pytest.raises(BrokerUnavailable):
        listener.subscribe(NEWS)
    with server:
        eventually(lambda: listener.feed.stats.connected)
        assert listener.subscribe(NEWS) == ["early"]
        stats = listener.feed.stats
        assert (stats.gaps, stats.reconnects, listener.lost) == (0, 0, 0)


# Redis that becomes unavailable


def test_after_a_crash_and_restart_everything_goes_on(
    own_redis: EmbeddedRedis, listen: Any, eventually: Any
) -> None:
    broker = broker_at(own_redis.url)
    listener = listen(broker)
    listener.subscribe(NEWS, CHAT)
    broker.publish([NEWS], b"before", 0)
    listener.wait_for("before")
    own_redis.kill()
    eventually(lambda: not listener.feed.stats.connected)
    with pytest.raises(BrokerUnavailable):
        broker.publish([NEWS], b"nobody", 0)
    with pytest.raises(BrokerUnavailable):
        listener.subscribe("ws:broadcast:new")
    listener.unsubscribe("ws:broadcast:new")
    listener.publish([NEWS], b"meanwhile")
    own_redis.start()
    listener.wait_for("before", "meanwhile")
    assert listener.subscribe("ws:broadcast:new") == []
    assert broker.publish([NEWS, CHAT], b"after", 0) == 2
    listener.wait_for("before", "meanwhile", "after", "after")
    stats = listener.feed.stats
    assert (stats.gaps, stats.reconnects, stats.unpublished) == (1, 1, 0)


@pytest.mark.parametrize("several", [[NEWS], [NEWS, CHAT]])
def test_the_first_publication_after_a_restart_arrives(
    several: list[str], own_redis: EmbeddedRedis
) -> None:
    broker = broker_at(own_redis.url)

    async def publish_over_a_restart() -> None:
        await broker.apublish(several, b"before", 60)
        await asyncio.to_thread(own_redis.kill)
        await asyncio.to_thread(own_redis.start)
        await broker.apublish(several, b"after", 60)

    asyncio.run(publish_over_a_restart())
    assert [message.data for message in broker.fetch([NEWS])] == ["after"]
    own_redis.kill()
    own_redis.start()
    assert broker.fetch([NEWS]) == []
    own_redis.kill()
    own_redis.start()
    broker.publish(several, b"after", 60)
    assert [message.data for message in broker.fetch([NEWS])] == ["after"]


def test_a_link_that_redis_kills_is_made_again(
    own_redis: EmbeddedRedis, admin: redis.Redis, listen: Any, eventually: Any
) -> None:
    # However few connections may be open at once, lost ones do not count.
    broker = broker_at(f"{own_redis.url}?max_connections=1")
    listener = listen(broker)
    listener.subscribe(NEWS)
    for times in (1, 2, 3):
        assert admin.client_kill_filter(_type="pubsub") == 1
        eventually(lambda: admin.pubsub_numsub(NEWS) == [(NEWS, 1)])
        eventually(lambda times=times: listener.feed.stats.reconnects == times)
        assert listener.feed.stats.gaps == times
        broker.publish([NEWS], str(times).encode(), 0)
        listener.wait(lambda times=times: listener.data[-1:] == [str(times)])
    assert listener.subscribe(NEWS) == []


def test_a_frozen_redis_is_noticed_within_the_deadline(
    own_redis: EmbeddedRedis, listen: Any, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broker = broker_at(own_redis.url, SHORT)
    listener = listen(broker)
    listener.subscribe(NEWS)
    listener.publish([NEWS], b"hello")
    listener.wait_for("hello")
    own_redis.freeze()
    listener.publish([NEWS], b"perhaps lost")
    eventually(lambda: not listener.feed.stats.connected)
    assert f"Redis was silent for {SHORT:g} s" in caplog.text
    assert listener.lost == listener.feed.stats.unpublished == 1
    with pytest.raises(BrokerUnavailable):
        broker.publish([NEWS], b"x", 0)
    with pytest.raises(BrokerUnavailable):
        listener.subscribe(CHAT)
    listener.publish([NEWS], b"waits")
    own_redis.thaw()
    eventually(lambda: "waits" in listener.data)
    assert (listener.feed.stats.gaps, listener.feed.stats.reconnects) == (1, 1)
    broker.publish([NEWS], b"again", 0)
    listener.wait(lambda: listener.data[-1] == "again")


def test_a_newcomer_in_a_frozen_redis_is_refused_and_the_next_one_is_not(
    own_redis: EmbeddedRedis, listen: Any, eventually: Any
) -> None:
    listener = listen(broker_at(own_redis.url, SHORT))
    listener.subscribe(CHAT)
    own_redis.freeze()
    with pytest.raises(BrokerUnavailable):
        listener.subscribe(NEWS)
    listener.unsubscribe(NEWS)
    own_redis.thaw()

    def joined() -> bool:
        try:
            listener.subscribe(NEWS)
        except BrokerUnavailable:
            listener.unsubscribe(NEWS)
            return False
        return True

    eventually(joined)
    listener.publish([NEWS], b"hello")
    listener.wait(lambda: "hello" in listener.data)


@pytest.mark.parametrize("how", ["publish", "fetch"])
def test_in_a_greenlet_a_frozen_redis_does_not_hold_up_the_loop(
    how: str, own_redis: EmbeddedRedis, loop: Loop
) -> None:
    patient, hasty = broker_at(own_redis.url), broker_at(own_redis.url, SHORT)

    def call(broker: RedisBroker) -> object:
        return broker.publish([NEWS], b"x", 0) if how == "publish" else broker.fetch([NEWS])

    def beside_it() -> object:
        own_redis.freeze()
        calling = gevent.spawn(call, patient)
        for _ in range(20):
            gevent.sleep(0.001)
        assert not calling.ready()
        with pytest.raises(BrokerUnavailable):
            call(hasty)
        own_redis.thaw()  # by this loop, which goes on
        return calling.get(timeout=SECONDS)

    for broker in (patient, hasty):
        call(broker)
    assert not loop.run(beside_it)


def test_an_asyncio_loop_is_not_held_up_either(own_redis: EmbeddedRedis) -> None:
    patient, hasty = broker_at(own_redis.url), broker_at(own_redis.url, SHORT)

    async def beside_it() -> int:
        for broker in (patient, hasty):
            await broker.apublish([NEWS], b"x", 0)
        own_redis.freeze()
        publishing = asyncio.create_task(patient.apublish([NEWS], b"x", 0))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not publishing.done()
        with pytest.raises(BrokerUnavailable):
            await hasty.apublish([NEWS], b"x", 0)
        own_redis.thaw()
        return await publishing

    assert asyncio.run(beside_it()) == 0


class Forgetful(threading.Thread):
    """A Redis that accepts each message and dies before it replies."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}"
        self.taken = 0
        self.start()

    def run(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client:
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        parser = Parser()
        while data := client.recv(65536):
            for command in parser.feed(data):
                if command[0] in (b"PUBLISH", b"MULTI"):
                    self.taken += 1
                    return
                client.sendall(b"+OK\r\n")

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.join(SECONDS)


@pytest.mark.parametrize("channels", [[NEWS], [NEWS, CHAT]])
def test_what_may_have_been_published_is_not_sent_twice(channels: list[str]) -> None:
    forgetful = Forgetful()
    broker = broker_at(forgetful.url)
    with pytest.raises(BrokerUnavailable):
        broker.publish(channels, b"x", 0)
    assert forgetful.taken == 1
    with pytest.raises(BrokerUnavailable):
        asyncio.run(broker.apublish(channels, b"x", 0))
    assert forgetful.taken == 2
    forgetful.close()
