"""The publisher in threads, greenlets, forks, asyncio programs, and with a failing Redis."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
import redis

from wsredis import disconnect
from wsredis.brokers.redis.client import MAX_CALLS, RedisClient
from wsredis.config import Config
from wsredis.embedded import EmbeddedRedis, free_port
from wsredis.exceptions import BrokerUnavailable
from wsredis.publisher import Publisher
from wsredis.tickets import issue_ticket

SECONDS = 30.0

pytestmark = pytest.mark.usefixtures("nothing_is_configured")


def run(program: str, *arguments: str) -> Any:
    """Run a program in which what is left open is an error, and return what it prints as JSON."""
    warnings = ["-W", "ignore", "-W", "error::ResourceWarning", "-W", "error::RuntimeWarning"]
    ran = subprocess.run(
        [sys.executable, "-P", *warnings, "-c", program, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


AT_ONCE = {
    "greenlets": """if True:
        from gevent import monkey; monkey.patch_all()
        import gevent, json, sys, wsredis
        publisher = wsredis.Publisher(broadcast=True, config=wsredis.Config(redis=sys.argv[1]))
        greenlets = [gevent.spawn(publisher.publish, "hello") for _ in range(300)]
        gevent.joinall(greenlets)
        print(json.dumps([each.value for each in greenlets]))
    """,
    "tasks": """if True:
        import asyncio, json, sys, wsredis
        publisher = wsredis.Publisher(broadcast=True, config=wsredis.Config(redis=sys.argv[1]))
        async def main():
            return await asyncio.gather(*[publisher.apublish("hello") for _ in range(300)])
        print(json.dumps(asyncio.run(main())))
    """,
}


@pytest.mark.parametrize("kind", AT_ONCE)
def test_many_calls_at_once_need_a_limited_number_of_connections(
    own_redis: EmbeddedRedis, kind: str
) -> None:
    with redis.Redis.from_url(own_redis.url) as admin:
        before = admin.info("stats")["total_connections_received"]
        assert run(AT_ONCE[kind], own_redis.url) == [0] * 300
        assert admin.info("stats")["total_connections_received"] - before <= MAX_CALLS


def test_a_greenlet_waits_only_so_long_for_its_turn(redis_url: str) -> None:
    config = Config(redis=redis_url, publish_timeout=0.05)
    client = RedisClient(config)

    def call() -> Any:
        return client.call_briefly(lambda calls: calls.ping())

    for _ in range(MAX_CALLS):
        client._publish_turns.acquire()
    greenlet = gevent.spawn(call)
    with pytest.raises(BrokerUnavailable, match="64 other calls have not been answered"):
        greenlet.get(timeout=SECONDS)
    client._publish_turns.release()
    assert gevent.spawn(call).get(timeout=SECONDS)
    assert gevent.spawn(call).get(timeout=SECONDS)  # the turn before has ended
    assert call()  # a thread has no turn


def test_two_asyncio_programs_in_one_process_leave_no_warning(redis_url: str) -> None:
    program = """if True:
        import asyncio, gc, json, sys
        from wsredis import Config, Publisher
        publisher = Publisher("news", True, users=["alice"], config=Config(redis=sys.argv[1]))
        async def twice():
            return [await publisher.apublish("hello", 5), await publisher.apublish("again")]
        answers = [asyncio.run(twice()), asyncio.run(twice())]
        gc.collect()
        print(json.dumps(answers))
    """
    assert run(program, redis_url) == [[0, 0], [0, 0]]


def test_a_program_that_publishes_and_ends_leaves_no_warning(redis_url: str) -> None:
    program = """if True:
        import sys
        from wsredis import Config, Publisher
        print(Publisher("news", True, config=Config(redis=sys.argv[1])).publish("hello"))
    """
    assert run(program, redis_url) == 0


def test_a_forked_child_publishes_over_a_connection_of_its_own(
    config: Config, redis_url: str, heard: Any
) -> None:
    program = """if True:
        import os, sys
        from wsredis import Config, Publisher
        publisher = Publisher("news", True, config=Config(redis=sys.argv[1]))
        publisher.publish("parent before")
        children = []
        for name in ("one", "two"):
            child = os.fork()
            if child == 0:
                for number in range(50):
                    assert publisher.publish(f"{name} {number}", expire=number % 2) == 1
                os._exit(0)
            children.append(child)
        for number in range(50):
            assert publisher.publish(f"parent {number}", expire=number % 2) == 1
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        print(publisher.publish("parent after"))
    """
    assert run(program, redis_url) == 1
    words = [payload.decode() for _, payload in heard(152)]
    assert (words[0], words[-1]) == ("parent before", "parent after")
    for name in ("one", "two", "parent"):
        assert [word for word in words[1:-1] if word.startswith(name)] == [
            f"{name} {number}" for number in range(50)
        ]


@pytest.mark.parametrize("patched", [True, False])
def test_greenlets_publish_whether_the_process_is_patched_or_not(
    patched: bool, config: Config, redis_url: str, heard: Any
) -> None:
    patch = "from gevent import monkey; monkey.patch_all()" if patched else ""
    program = f"""if True:
        {patch}
        import socket, sys, threading
        before = socket.socket, threading.Thread.start
        import gevent
        from wsredis import Config, Publisher
        publisher = Publisher("news", True, config=Config(redis=sys.argv[1]))
        greenlets = [gevent.spawn(publisher.publish, str(number)) for number in range(30)]
        gevent.joinall(greenlets, timeout=30)
        assert [each.get() for each in greenlets] == [1] * 30
        assert before == (socket.socket, threading.Thread.start)
        print(publisher.publish("30"))
    """
    assert run(program, redis_url) == 1
    assert sorted(int(payload) for _, payload in heard(31)) == list(range(31))


def test_in_a_plain_process_publishing_starts_neither_thread_nor_loop(redis_url: str) -> None:
    program = """if True:
        import json, sys, threading
        from wsredis import Config, Publisher
        Publisher("news", True, config=Config(redis=sys.argv[1])).publish("hello")
        from gevent._hub_local import get_hub_if_exists
        print(json.dumps([threading.active_count(), get_hub_if_exists() is None]))
    """
    assert run(program, redis_url) == [1, True]


def test_one_publisher_serves_many_threads(config: Config, heard: Any) -> None:
    publisher = Publisher("news", True, config=config)
    counts: list[int] = []

    def publish(name: int) -> None:
        for number in range(20):
            counts.append(publisher.publish(f"{name} {number}"))

    threads = [threading.Thread(target=publish, args=(name,)) for name in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert counts == [1] * 200
    words = [payload.decode() for _, payload in heard(200)]
    for name in range(10):
        assert [word for word in words if word.startswith(f"{name} ")] == [
            f"{name} {number}" for number in range(20)
        ]


def test_a_frozen_redis_holds_up_the_greenlet_and_not_its_loop(own_redis: EmbeddedRedis) -> None:
    publisher = Publisher("news", True, config=Config(redis=own_redis.url, publish_timeout=SECONDS))
    publisher.publish("the first one connects")

    def beside_it() -> int:
        own_redis.freeze()
        publishing = gevent.spawn(publisher.publish, "hello")
        for _ in range(20):
            gevent.sleep(0.001)
        assert not publishing.ready()
        own_redis.thaw()
        return publishing.get(timeout=SECONDS)

    assert gevent.spawn(beside_it).get() == 0


def test_it_can_be_made_where_no_redis_is_and_outlives_its_restart() -> None:
    server = EmbeddedRedis(port=free_port())
    publisher = Publisher("news", True, config=Config(redis=server.url))
    with server:
        assert publisher.publish("hello", expire=60) == 0
        assert publisher.fetch() == "hello"
        server.kill()
        with pytest.raises(BrokerUnavailable):
            publisher.publish("nobody hears it")
        server.start()
        assert publisher.fetch() is None
        assert publisher.publish("again", expire=60) == 0
        assert publisher.fetch() == "again"


NEVER = 10_000.0
"""A deadline that no test reaches: what ends before it has ended for another reason."""


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda publisher: publisher.publish("hello"), id="publish"),
        pytest.param(lambda publisher: asyncio.run(publisher.apublish("hello")), id="apublish"),
        pytest.param(Publisher.fetch, id="fetch"),
        pytest.param(
            lambda publisher: disconnect(user="a", config=publisher.config), id="disconnect"
        ),
    ],
)
def test_a_silent_redis_is_given_up_after_publish_timeout(
    ask: Callable[[Publisher], object], connected: bool, own_redis: EmbeddedRedis
) -> None:
    config = Config(redis=own_redis.url, redis_deadline=NEVER, publish_timeout=0.2)
    publisher = Publisher("news", True, config=config)
    if connected:
        publisher.publish("the first one connects")
    own_redis.freeze()
    try:
        with pytest.raises(BrokerUnavailable, match=r"^Redis at 127\.0\.0\.1:"):
            ask(publisher)
    finally:
        own_redis.thaw()
    assert publisher.publish("again") == 0


def test_tickets_wait_for_redis_for_its_deadline(own_redis: EmbeddedRedis) -> None:
    secret = "a secret of the tests that has more than 32 bytes"
    config = Config(redis=own_redis.url, redis_deadline=NEVER, publish_timeout=0.2, secret=secret)
    own_redis.freeze()
    try:
        tickets: list[str] = []
        issuing = threading.Thread(
            target=lambda: tickets.append(issue_ticket("alice", config=config)), daemon=True
        )
        issuing.start()
        for _ in range(2):
            with pytest.raises(BrokerUnavailable):
                Publisher("news", True, config=config).publish("hello")
        assert issuing.is_alive()
    finally:
        own_redis.thaw()
    issuing.join(SECONDS)
    assert len(tickets) == 1


@pytest.mark.parametrize("way", ["publish", "apublish", "disconnect"])
def test_a_failure_may_be_silent(way: str, caplog: pytest.LogCaptureFixture) -> None:
    config = Config(redis=f"redis://:hush@127.0.0.1:{free_port()}")
    publisher = Publisher("news", True, config=config)
    if way == "publish":
        assert publisher.publish("hello", fail_silently=True) == 0
    elif way == "apublish":
        assert asyncio.run(publisher.apublish("hello", fail_silently=True)) == 0
    else:
        assert disconnect(user="alice", config=config, fail_silently=True) == 0
    (record,) = (each for each in caplog.records if each.name.startswith("wsredis"))
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "may not have been" in record.getMessage()
    assert f"Redis at 127.0.0.1:{str(config.redis).rpartition(':')[2]}: " in record.getMessage()
    assert "hush" not in record.getMessage()


def test_only_an_unavailable_redis_fails_silently() -> None:
    config = Config(redis=f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(TypeError, match="not JSON"):
        Publisher("news", True, config=config).publish(object(), fail_silently=True)
    with pytest.raises(TypeError, match="no name is given"):
        disconnect(config=config, fail_silently=True)


def test_two_seconds_are_the_default() -> None:
    assert Config().publish_timeout == 2.0
