"""Servers that answer but are no brokers: replicas, nodes of a cluster, Sentinels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from wsredis.brokers.redis import role
from wsredis.embedded import EmbeddedRedis, find_server
from wsredis.exceptions import BrokerUnavailable, WrongServer

from .support import broker_at, client_at, store_at

NEWS, CHAT = "ws:broadcast:news", "ws:broadcast:chat"

PRIMARY = "write the address of the primary in the option redis"
CLUSTER = (
    "is a node of a Redis Cluster, which wsredis does not support yet: use a server without"
    " cluster mode"
)

CALLS: dict[str, Callable[[str], object]] = {
    "publish": lambda url: broker_at(url).publish([NEWS], b"x", 0),
    "publish to several": lambda url: broker_at(url).publish([NEWS, CHAT], b"x", 0),
    "publish and retain": lambda url: broker_at(url).publish([NEWS], b"x", 60),
    "apublish": lambda url: asyncio.run(broker_at(url).apublish([NEWS], b"x", 0)),
    "append": lambda url: broker_at(url).append(NEWS, b"x", 60, 10),
    "fetch": lambda url: broker_at(url).fetch([NEWS]),
    "put": lambda url: store_at(url).put("key", b"x", 60),
    "take": lambda url: store_at(url).take("key"),
    "link": lambda url: client_at(url).connect_link(),
    "find_run_id": lambda url: client_at(url).find_run_id(),
    "describe": lambda url: client_at(url).describe(),
}


class Clock:
    """The time as the connections see it, which a test may let pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give a clock; apart from what a test lets pass, no connection is checked twice."""
    made = Clock()
    monkeypatch.setattr(role, "time", made)
    monkeypatch.setattr(role, "AGAIN", 1000.0)
    monkeypatch.setattr(role, "LIFETIME", 100_000.0)
    return made


@pytest.fixture(scope="module")
def replica(redis_server: EmbeddedRedis) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(args=("--replicaof", "127.0.0.1", str(redis_server.port))) as server:
        yield server


@pytest.fixture(scope="module")
def node() -> Iterator[EmbeddedRedis]:
    """Give a node of a cluster, whose port for the others is 10,000 above its own."""
    with EmbeddedRedis(args=("--cluster-enabled", "yes")) as server:
        yield server


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """Give a Sentinel; it insists on a file with its configuration, as the first argument."""
    folder = tmp_path_factory.mktemp("sentinel")
    program, file = folder / "sentinel", folder / "sentinel.conf"
    file.write_text(f"dir {folder}\n")
    program.write_text(f'#!/bin/sh\nexec {find_server()} {file} --sentinel "$1" "$2" "$3" "$4"\n')
    program.chmod(0o755)
    with EmbeddedRedis(binary=str(program)) as server:
        yield server


def published(server: EmbeddedRedis) -> bool:
    """Return whether a server has got a PUBLISH."""
    with redis.Redis(port=server.port) as admin:
        return "cmdstat_publish" in admin.info("commandstats")


@pytest.mark.parametrize("call", CALLS)
def test_a_replica_is_refused_and_gets_no_message(
    call: str, redis_server: EmbeddedRedis, replica: EmbeddedRedis
) -> None:
    with pytest.raises(WrongServer) as refused:
        CALLS[call](replica.url)
    assert str(refused.value) == (
        f"Redis at 127.0.0.1:{replica.port} is a replica of 127.0.0.1:{redis_server.port}:"
        f" {PRIMARY}"
    )
    assert not published(replica)


@pytest.mark.parametrize("database", [0, 1])
@pytest.mark.parametrize("call", CALLS)
def test_a_node_of_a_cluster_is_refused(call: str, database: int, node: EmbeddedRedis) -> None:
    with pytest.raises(WrongServer) as refused:
        CALLS[call](f"redis://127.0.0.1:{node.port}/{database}")
    assert str(refused.value) == f"Redis at 127.0.0.1:{node.port} {CLUSTER}"
    assert not published(node)


@pytest.mark.parametrize("database", [0, 1])
@pytest.mark.parametrize("call", CALLS)
def test_a_sentinel_is_refused(call: str, database: int, sentinel: EmbeddedRedis) -> None:
    with pytest.raises(WrongServer) as refused:
        CALLS[call](f"redis://127.0.0.1:{sentinel.port}/{database}")
    assert str(refused.value) == f"Redis at 127.0.0.1:{sentinel.port} is a Sentinel: {PRIMARY}"


@pytest.mark.parametrize("kind", ["replica", "node", "sentinel"])
def test_no_connection_to_a_wrong_server_is_left(kind: str, request: Any) -> None:
    server: EmbeddedRedis = request.getfixturevalue(kind)
    client = client_at(f"{server.url}?max_connections=1")
    for _ in range(3):
        with pytest.raises(WrongServer):
            client.call(lambda calls: calls.get("key"))
        with pytest.raises(WrongServer):
            client.connect_link()
    with redis.Redis(port=server.port) as admin:
        mine = [found for found in admin.client_list() if found["flags"] == "N"]
    assert len(mine) == 1  # the one that asks


def test_a_link_waits_until_a_replica_is_a_primary_and_says_so_once(
    own_redis: EmbeddedRedis, admin: redis.Redis, listen: Any, eventually: Any, caplog: Any
) -> None:
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    broker = broker_at(own_redis.url)
    attempts: list[None] = []
    connect = broker._client.connect_link

    def counted() -> Any:
        attempts.append(None)
        return connect()

    broker._client.connect_link = counted  # type: ignore[method-assign]
    listener = listen(broker)
    wrong = f"Redis at 127.0.0.1:{own_redis.port} is a replica of 127.0.0.1:1: {PRIMARY}"
    eventually(lambda: len(attempts) > 3)
    with pytest.raises(BrokerUnavailable) as refused:
        listener.subscribe(NEWS)
    assert str(refused.value) == wrong
    assert caplog.text.count(f"cannot connect, retrying: {wrong}") == 1
    admin.execute_command("REPLICAOF", "NO", "ONE")
    eventually(lambda: listener.feed.stats.connected)
    assert listener.feed.stats.gaps == 0
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    admin.client_kill_filter(_type="normal", skipme=True)
    attempts.clear()
    eventually(lambda: len(attempts) > 3)
    assert caplog.text.count(f"cannot connect, retrying: {wrong}") == 2
    admin.execute_command("REPLICAOF", "127.0.0.1", "2")
    eventually(lambda: "replica of 127.0.0.1:2:" in caplog.text)


@pytest.mark.parametrize("call", ["publish", "apublish"])
def test_a_primary_that_becomes_a_replica_is_found_by_the_connections_that_are_open(
    call: str, own_redis: EmbeddedRedis, admin: redis.Redis, clock: Clock
) -> None:
    broker = broker_at(own_redis.url)

    async def publish() -> None:
        if call == "apublish":
            assert await broker.apublish([NEWS], b"x", 0) == 0
        else:
            assert broker.publish([NEWS], b"x", 0) == 0

    async def use() -> None:
        await publish()
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        await publish()
        clock.passed += role.AGAIN
        with pytest.raises(WrongServer):
            await publish()
        with pytest.raises(WrongServer):
            await publish()
        admin.execute_command("REPLICAOF", "NO", "ONE")
        await publish()

    asyncio.run(use())


def test_what_a_new_replica_refuses_to_store_is_not_published_either(
    own_redis: EmbeddedRedis, admin: redis.Redis, clock: Clock
) -> None:
    broker = broker_at(own_redis.url)
    assert broker.append(NEWS, b"x", 60, 10) == 0
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    admin.config_resetstat()
    with pytest.raises(BrokerUnavailable, match="read only replica"):
        broker.append(NEWS, b"secret", 60, 10)
    assert not published(own_redis)


@pytest.mark.parametrize("call", ["publish", "apublish"])
def test_the_role_is_asked_for_now_and_then_and_not_with_each_message(
    call: str, own_redis: EmbeddedRedis, admin: redis.Redis, clock: Clock
) -> None:
    broker = broker_at(own_redis.url)
    counted = ("hello", "publish", "client|setinfo")

    def calls() -> list[int]:
        found = admin.info("commandstats")
        admin.config_resetstat()
        stats = [found.get(f"cmdstat_{name}", {"calls": 0}) for name in counted]
        return [stat["calls"] for stat in stats]

    async def use() -> None:
        for _ in range(20):
            if call == "apublish":
                await broker.apublish([NEWS], b"x", 0)
            else:
                broker.publish([NEWS], b"x", 0)

    async def use_over_time() -> None:
        calls()
        await use()
        assert calls() == [1, 20, 2]
        await use()
        assert calls() == [0, 20, 0]
        clock.passed += role.AGAIN
        await use()
        assert calls() == [1, 20, 0]
        clock.passed += role.LIFETIME
        await use()
        assert calls() == [1, 20, 2]  # over a new connection
        clock.passed += role.AGAIN
        await use()
        assert calls() == [1, 20, 0]

    asyncio.run(use_over_time())


def test_on_a_server_without_hello_messages_are_published_and_the_role_is_not_checked() -> None:
    with EmbeddedRedis(args=("--rename-command", "HELLO", "")) as server:
        broker = broker_at(server.url)
        with redis.Redis(port=server.port, protocol=2) as admin:
            for _ in range(2):
                assert broker.publish([NEWS], b"x", 0) == 0
                assert asyncio.run(broker.apublish([NEWS], b"x", 0)) == 0
                admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BrokerUnavailable, match="wsredis needs Redis 6 or newer"):
            broker._client.connect_link()


@pytest.mark.parametrize("server", ["redis_server", "replica"])
def test_a_function_that_a_site_calls_for_each_connection_is_called_and_the_role_is_checked(
    server: str, request: Any
) -> None:
    connected: list[Any] = []

    def connect(connection: Any) -> None:
        connection.on_connect()
        connected.append(connection)

    port = request.getfixturevalue(server).port
    broker = broker_at({"port": port, "redis_connect_func": connect})
    if server == "replica":
        with pytest.raises(WrongServer):
            broker.publish([NEWS], b"x", 0)
    else:
        assert broker.publish([NEWS], b"x", 0) == 0
    assert len(connected) == 1


def test_another_reason_for_which_redis_refuses_to_connect_is_said(
    own_redis: EmbeddedRedis,
) -> None:
    for call in CALLS.values():
        with pytest.raises(BrokerUnavailable) as refused:
            call(f"redis://127.0.0.1:{own_redis.port}/999")
        assert str(refused.value).endswith(f"{own_redis.port}: DB index is out of range")


def test_a_user_without_info_does_not_learn_the_address_of_the_primary(
    own_redis: EmbeddedRedis, admin: redis.Redis
) -> None:
    admin.execute_command("ACL", "SETUSER", "alice", "on", ">wonder", "~*", "&*", "+@all", "-info")
    url = own_redis.url.replace("//", "//alice:wonder@")
    name = f"Redis at 127.0.0.1:{own_redis.port}"
    client = client_at(url)
    assert client.describe() == f"{name}: role master, mode standalone, INFO not permitted"
    link = client.connect_link()
    assert link.run_id is None
    link.close()
    admin.execute_command("ACL", "LOG", "RESET")
    assert client.find_run_id() is None
    assert admin.execute_command("ACL", "LOG") == []  # it does not ask again
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    for call in CALLS.values():
        with pytest.raises(WrongServer) as refused:
            call(url)
        assert str(refused.value) == f"{name} is a replica: {PRIMARY}"


def test_without_the_password_the_error_names_that_and_no_command(
    guarded: tuple[EmbeddedRedis, str],
) -> None:
    url = f"redis://127.0.0.1:{guarded[0].port}"
    for call in CALLS.values():
        with pytest.raises(BrokerUnavailable) as refused:
            call(url)
        assert str(refused.value) == f"Redis at {url[8:]}: Authentication required."


def test_the_server_says_its_role(own_redis: EmbeddedRedis, admin: redis.Redis) -> None:
    client = client_at(own_redis.url)
    name = f"Redis at 127.0.0.1:{own_redis.port}"
    assert client.describe() == f"{name}: role master, mode standalone"
    link = client.connect_link()
    assert link.run_id == client.find_run_id() == admin.info("server")["run_id"]
    link.close()


@pytest.mark.parametrize(
    ("hello", "fault"),
    [
        ([b"mode", b"standalone", b"role", b"master"], None),
        ({b"mode": b"standalone", b"role": b"master"}, None),
        ([b"role", b"replica", b"mode"], "replica"),
        ({b"role": b"slave"}, "replica"),
        ({b"mode": b"cluster", b"role": b"replica"}, "cluster"),
        ([b"mode", b"sentinel"], "sentinel"),
        ([b"modules", [b"role", b"replica"], [], b"role"], None),
        ({b"role": 3, b"mode": None}, None),
        ({b"role": b"\xff"}, None),
        (b"OK", None),
        (None, None),
    ],
)
def test_what_a_reply_to_hello_tells(hello: Any, fault: str | None) -> None:
    assert role._fault(hello) == (fault and role._FAULTS[fault])
