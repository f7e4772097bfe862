"""The Redis broker with real servers: connections and failures."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from wsredis.brokers.redis.broker import RedisBroker
from wsredis.embedded import EmbeddedRedis, find_server, free_port
from wsredis.exceptions import BrokerUnavailable, ConfigurationError

from .support import SECONDS, broker_at

NEWS, CHAT = "ws:broadcast:news", "ws:broadcast:chat"


def works(broker: RedisBroker, listen: Any) -> None:
    """Check all three doors of a broker: the feed, the publisher, the asyncio publisher."""
    listener = listen(broker)
    listener.subscribe(NEWS)
    assert broker.publish([NEWS], b"one", 60) == 1
    assert asyncio.run(broker.apublish([NEWS], b"two", 0)) == 1
    listener.publish([NEWS], b"three")
    listener.wait_for("one", "two", "three")
    assert [message.data for message in broker.fetch([NEWS])] == ["one"]


@pytest.mark.parametrize(
    "where",
    [
        "redis://:s3cret%2F%40%3A@127.0.0.1:{port}/0",
        "redis://alice:wonder@127.0.0.1:{port}/3",
        "redis://alice:wonder@localhost:{port}?db=2",
        "unix://:s3cret%2F%40%3A@{path}?db=1",
        "unix://alice:wonder@{path}",
        {"host": "127.0.0.1", "port": "{port}", "password": "s3cret/@:", "db": 4},
        {"unix_socket_path": "{path}", "username": "alice", "password": "wonder"},
        {"host": "127.0.0.1", "port": "{port}", "password": "s3cret/@:", "socket_timeout": 5},
    ],
)
def test_every_form_of_address_leads_to_redis(
    where: Any, guarded: tuple[EmbeddedRedis, str], listen: Any
) -> None:
    server, path = guarded
    if isinstance(where, str):
        where = where.format(port=server.port, path=path)
    else:
        filled = {k: v.format(port=server.port, path=path) if isinstance(v, str) else v
                  for k, v in where.items()}  # fmt: skip
        where = filled | ({"port": server.port} if "port" in filled else {})
    broker = broker_at(where)
    works(broker, listen)


def test_a_database_keeps_its_own_retained_messages(redis_server: EmbeddedRedis) -> None:
    zero, five = (broker_at(f"redis://127.0.0.1:{redis_server.port}/{n}") for n in (0, 5))
    five.publish(["ws:broadcast:own"], b"in five", 60)
    assert zero.fetch(["ws:broadcast:own"]) == []
    assert [message.data for message in five.fetch(["ws:broadcast:own"])] == ["in five"]


OVERRULED = {
    "protocol=2": {"protocol": 2},
    "protocol=3": {"protocol": 3},
    "%70rotocol=3&protocol=2": {"protocol": "3"},
    "decode_responses=True": {"decode_responses": True},
    "legacy_responses=False": {"legacy_responses": False},
    "encoding=utf-16": {"encoding": "utf-16"},
    "encoding_errors=surrogateescape&encoding=ascii": {"encoding": "ascii"},
    "retry=3": {"retry": 3},
    "retry_on_timeout=True&retry_on_error=x": {"retry_on_timeout": True, "retry_on_error": "x"},
    "single_connection_client=True": {"single_connection_client": True},
}
"""The query of a URL, and the same as arguments."""


@pytest.mark.parametrize("query", OVERRULED)
@pytest.mark.parametrize("form", [str, dict])
def test_what_calls_and_links_cannot_live_with_is_overruled(
    form: type, query: str, redis_server: EmbeddedRedis, listen: Any
) -> None:
    where: Any = {"port": redis_server.port, **OVERRULED[query]}
    if form is str:
        where = f"redis://127.0.0.1:{redis_server.port}/0?{query}&socket_keepalive=yes"
    works(broker_at(where), listen)


CHOSEN = [
    {"health_check_interval": 1},
    {"max_connections": 1},
    {"client_name": "chat"},
    {"socket_timeout": 5, "socket_connect_timeout": 0.5},
    {"socket_read_size": 1},
]


@pytest.mark.parametrize("given", CHOSEN, ids=str)
@pytest.mark.parametrize("form", [str, dict])
def test_what_a_site_chooses_for_its_connections_is_taken(
    form: type, given: dict[str, Any], redis_server: EmbeddedRedis, listen: Any
) -> None:
    where: Any = {"port": redis_server.port, **given}
    if form is str:
        query = "&".join(f"{name}={value}" for name, value in given.items())
        where = f"redis://127.0.0.1:{redis_server.port}?{query}"
    broker = broker_at(where)
    works(broker, listen)
    for client in (broker._client._calls, broker._client._publishing):
        pool = client.connection_pool
        kept = {**pool.connection_kwargs, "max_connections": pool.max_connections}
        assert {name: kept[name] for name in given} == given


BAD_NUMBERS = [
    ("socket_timeout", "0"),
    ("socket_timeout", "-1"),
    ("socket_timeout", "nan"),
    ("socket_timeout", "inf"),
    ("socket_connect_timeout", "0"),
    ("socket_read_size", "0"),
    ("health_check_interval", "-1"),
]


@pytest.mark.parametrize(("name", "value"), BAD_NUMBERS)
def test_a_number_that_would_make_every_call_fail_is_a_configuration_error(
    name: str, value: str
) -> None:
    for where in (f"redis://localhost?{name}={value}", {"host": "localhost", name: float(value)}):
        with pytest.raises(ConfigurationError, match=f"{name}=.*: write "):
            broker_at(where)


@pytest.mark.parametrize(
    "name",
    [
        "redis_connect_func",
        "command_packer",
        "credential_provider",
        "event_dispatcher",
        "maint_notifications_config",
        "socket_keepalive_options",
        "cache_config",
    ],
)
def test_an_object_cannot_be_in_a_url(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} cannot be in a URL: .*write a dict"):
        broker_at(f"redis://localhost?{name}=hush")


def test_a_pool_is_no_argument() -> None:
    with pytest.raises(ConfigurationError, match="write the arguments of its connections"):
        broker_at({"connection_pool": redis.ConnectionPool()})


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Give the TLS port of a server and the certificate it shows."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl on this machine to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "redis.crt", folder / "redis.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key),
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    arguments = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    arguments += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    for binary in (find_server(), shutil.which("redis-server"), shutil.which("valkey-server")):
        if binary and _knows_tls(binary):
            with EmbeddedRedis(binary=binary, args=arguments) as _:
                yield port, certificate
            return
    pytest.skip("no Redis server on this machine supports TLS")


def _knows_tls(binary: str) -> bool:
    """Ask a server for TLS without a certificate: only one that knows TLS misses it."""
    ran = subprocess.run(
        [binary, "--port", "0", "--tls-port", str(free_port())],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    return "No tls-cert-file configured" in ran.stdout


def test_tls_works_with_a_certificate_that_is_trusted(tls: tuple[int, Path], listen: Any) -> None:
    port, certificate = tls
    broker = broker_at(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}")
    works(broker, listen)
    listener = listen(broker)
    listener.subscribe(CHAT)
    payload = "x" * 3_000_000
    listener.publish([CHAT], payload.encode())
    listener.wait_for(payload)


def test_tls_works_from_a_dict(tls: tuple[int, Path], listen: Any) -> None:
    port, certificate = tls
    where = {"host": "localhost", "port": port, "ssl": True, "ssl_ca_certs": str(certificate)}
    works(broker_at(where), listen)


def test_a_certificate_that_nobody_trusts_is_refused(tls: tuple[int, Path], listen: Any) -> None:
    broker = broker_at(f"rediss://localhost:{tls[0]}/0")
    with pytest.raises(BrokerUnavailable, match=r"(?i)certificate"):
        broker.publish([NEWS], b"x", 0)
    with pytest.raises(BrokerUnavailable):
        listen(broker).subscribe(NEWS)


def test_a_server_that_does_not_speak_tls_is_refused(redis_server: EmbeddedRedis) -> None:
    with pytest.raises(BrokerUnavailable) as refused:
        broker_at(f"rediss://127.0.0.1:{redis_server.port}", 0.3).publish([NEWS], b"x", 0)
    assert isinstance(refused.value.__cause__, (ssl.SSLError, redis.RedisError))


@pytest.mark.parametrize(
    "where",
    [
        {"hots": "localhost"},
        {"host": "localhost", "port": "six"},
        "redis://localhost?colour=blue",
        "redis://localhost?socket_timeout=soon",
        "unix:///run/redis.sock?port=1",
    ],
)
def test_what_redis_py_does_not_understand_is_a_configuration_error(where: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not valid for redis-py"):
        broker_at(where)


def test_nothing_connects_before_it_is_needed(own_redis: EmbeddedRedis, admin: redis.Redis) -> None:
    broker = broker_at(own_redis.url)
    assert len(admin.client_list()) == 1
    broker.fetch([])
    assert len(admin.client_list()) == 1
    broker.fetch([NEWS])
    assert len(admin.client_list()) == 2


def test_a_feed_has_one_connection_for_all_its_channels(
    own_redis: EmbeddedRedis, admin: redis.Redis, listen: Any
) -> None:
    listener = listen(broker_at(own_redis.url))
    for number in range(50):
        listener.subscribe(f"ws:user:{number}:news")
    listener.publish([f"ws:user:{number}:news" for number in range(50)], b"x", 60)
    listener.wait(lambda: len(listener.data) == 50)
    assert len(admin.client_list()) == 2
    (link,) = admin.client_list(_type="pubsub")
    assert link["sub"] == "50"


def test_messages_are_retained_for_the_seconds_asked(
    redis_server: EmbeddedRedis, listen: Any
) -> None:
    broker = broker_at(redis_server.url)
    listener = listen(broker)
    with redis.Redis(port=redis_server.port) as admin:
        for publish in (broker.publish, lambda *args: listener.publish(*args)):
            publish(["ws:broadcast:retained"], b"x", 60)
            listener.subscribe("ws:broadcast:retained")
            assert 55 < admin.ttl("ws:broadcast:retained") <= 60
            admin.delete("ws:broadcast:retained")


# Redis that forbids


@pytest.fixture
def limited(own_redis: EmbeddedRedis, admin: redis.Redis) -> RedisBroker:
    """Give a broker whose user may have everything about news and nothing else."""
    admin.acl_setuser(
        "bob", enabled=True, passwords=["+builder"], commands=["+@all"],
        keys=["ws:broadcast:*"], channels=[NEWS],
    )  # fmt: skip
    return broker_at(own_redis.url.replace("//", "//bob:builder@"))


def test_a_forbidden_channel_makes_the_broker_unavailable_for_it_only(
    limited: RedisBroker, listen: Any
) -> None:
    listener = listen(limited)
    listener.subscribe(NEWS)
    with pytest.raises(BrokerUnavailable, match=r"(?i)perm"):
        listener.subscribe(CHAT)
    listener.unsubscribe(CHAT)
    with pytest.raises(BrokerUnavailable, match=r"(?i)perm"):
        listener.subscribe("ws:broadcast:other", NEWS)
    limited.publish([NEWS], b"still here", 0)
    listener.wait_for("still here")
    assert listener.feed.stats.gaps == 0


def test_a_forbidden_channel_can_be_had_once_it_is_allowed(
    limited: RedisBroker, admin: redis.Redis, listen: Any
) -> None:
    listener = listen(limited)
    with pytest.raises(BrokerUnavailable):
        listener.subscribe(CHAT)
    listener.unsubscribe(CHAT)
    admin.acl_setuser("bob", enabled=True, channels=[CHAT])
    assert listener.subscribe(CHAT) == []
    limited.publish([CHAT], b"hello", 0)
    listener.wait_for("hello")


def test_a_channel_that_is_forbidden_later_leaves_the_others_theirs(
    limited: RedisBroker, admin: redis.Redis, listen: Any, eventually: Callable[..., None]
) -> None:
    admin.acl_setuser("bob", enabled=True, channels=[CHAT])
    listener = listen(limited)
    listener.subscribe(NEWS, CHAT)
    # Redis ends the links of whoever has a channel that is forbidden now.
    admin.acl_setuser("bob", enabled=True, reset_channels=True, channels=[NEWS])
    eventually(lambda: admin.publish(NEWS, "still here") == 1)
    listener.wait_for("still here")
    assert admin.publish(CHAT, "nobody") == 0
    eventually(lambda: listener.feed.refused() == [CHAT])


def test_all_channels_get_a_message_or_none_does(
    limited: RedisBroker, own_redis: EmbeddedRedis, listen: Any
) -> None:
    listener = listen(broker_at(own_redis.url))
    listener.subscribe(NEWS, CHAT)
    calls = [
        lambda: limited.publish([NEWS, CHAT], b"half", 60),
        lambda: asyncio.run(limited.apublish([NEWS, CHAT], b"half", 60)),
    ]
    for call in calls:  # the message itself is not in the error
        with pytest.raises(
            BrokerUnavailable, match=r"(?i)^Redis at [\d.:]+: [^(']*perm"
        ) as refused:
            call()
        assert "half" not in str(refused.value)
    sender = listen(limited)
    sender.publish([NEWS, CHAT], b"half", 60)
    sender.wait(lambda: sender.lost == 1)
    assert listener.subscribe(NEWS, CHAT) == []
    limited.publish([NEWS], b"whole", 0)
    listener.wait_for("whole")


# asyncio


def test_two_asyncio_programs_and_many_tasks_leave_nothing_open(
    own_redis: EmbeddedRedis, admin: redis.Redis, eventually: Any
) -> None:
    broker = broker_at(own_redis.url)

    async def publish() -> list[int]:
        return await asyncio.gather(*(broker.apublish([NEWS], b"x", 5) for _ in range(120)))

    for _ in range(2):
        assert asyncio.run(publish()) == [0] * 120
    eventually(lambda: len(admin.client_list()) == 1)


def test_asyncio_programs_in_two_threads_do_not_meet(own_redis: EmbeddedRedis) -> None:
    broker = broker_at(own_redis.url)
    both = threading.Barrier(2)
    results: list[int] = []

    async def publish() -> None:
        for _ in range(20):
            results.append(await broker.apublish([NEWS], b"x", 0))

    def program() -> None:
        both.wait()
        asyncio.run(publish())

    threads = [threading.Thread(target=program) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 40
