"""Fixtures for all tests: a Redis, a loop, and a function that waits for a condition."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings

import wsredis.config.sources
from wsredis.config import Config
from wsredis.embedded import EmbeddedRedis
from wsredis.runtime.loop import Loop

from .gate import Gate, page
from .handshakes import DirectGate
from .measuring import forget_greenlets_quietly
from .place import Place

SECONDS = 30.0

if "PYTEST_XDIST_WORKER" in os.environ:
    # This process is measured already. In the servers it starts scripts/arcs.py looks on instead:
    # coverage's own tracer crashes at the end of uWSGI's threads and greenlets.
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        os.environ.pop(name, None)
if "coverage" in sys.modules:
    forget_greenlets_quietly()

# A shell's background jobs ignore Ctrl-C, and those of nohup the end of the terminal, and so would
# the servers that are ended with these signals.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A busy machine is no bug, and new inputs are for `make fuzz`: here the same ones come every time.
settings.register_profile(
    "wsredis", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("wsredis")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Name each test's group where pytest-xdist looks for it: at the end of its id.

    pytest-xdist 3.8 does so itself, but what it sets has no effect with pytest 9.2.
    """
    for item in items if config.getoption("loadgroup", False) else ():
        group = item.get_closest_marker("xdist_group")
        if (
            group
            and hasattr(item, "_id")
            and not item.nodeid.endswith(suffix := f"@{group.args[0]}")
        ):
            item._id = type(item._id).parse(item.nodeid + suffix)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """Give the Redis of this test process; whoever harms one takes `own_redis`."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: EmbeddedRedis) -> str:
    return redis_server.url


@pytest.fixture
def own_redis() -> Iterator[EmbeddedRedis]:
    """Give a Redis that the test may freeze, kill and start again."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="session")
def loop() -> Loop:
    """Give a loop in a thread of its own, as a hub has it under a threaded server."""
    return Loop()


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], object]], None]:
    """Give a function that looks again until something is so, and fails if it never is."""

    def wait(what: Callable[[], object], seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, "it did not come about in time"
            time.sleep(0.005)

    return wait


@pytest.fixture
def redis_client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """Give a client of an empty Redis."""
    with redis.Redis(port=redis_server.port) as connected:
        connected.flushall()
        yield connected


@pytest.fixture
def config(redis_url: str, redis_client: redis.Redis) -> Config:
    """Give a configuration that leads to this empty Redis."""
    return Config(redis=redis_url)


@pytest.fixture
def heard(redis_client: redis.Redis) -> Iterator[Callable[[int], list[tuple[str, bytes]]]]:
    """Give a function that waits for messages of any channel and returns them as Redis has them."""
    with redis_client.pubsub(ignore_subscribe_messages=True) as everything:
        everything.psubscribe("*")
        assert everything.get_message(timeout=SECONDS) is None

        def wait(count: int) -> list[tuple[str, bytes]]:
            got: list[tuple[str, bytes]] = []
            deadline = time.monotonic() + SECONDS
            while len(got) < count:
                message = everything.get_message(timeout=deadline - time.monotonic())
                assert message is not None, f"only {got} came"
                got.append((message["channel"].decode(), message["data"]))
            assert everything.get_message() is None
            return got

        yield wait


@pytest.fixture
def nothing_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test see the configuration of the machine or of another test."""
    monkeypatch.setattr(wsredis.config.sources, "_current", None)
    monkeypatch.setattr(wsredis.config.sources, "_source", None)
    monkeypatch.setattr(wsredis.config.sources, "_claims", [])
    for name in os.environ:
        if name.startswith("WSREDIS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def places() -> Iterator[Callable[..., Place]]:
    """Give a function that makes hubs, with options of `Config`."""
    made: list[Place] = []

    def make(**options: Any) -> Place:
        made.append(Place(**options))
        return made[-1]

    yield make
    for place in made:
        place.run(place.hub.close)
        for far in place.far_ends:
            far.close()


@pytest.fixture
def place(places: Callable[..., Place]) -> Place:
    """Give a hub with the defaults."""
    return places()


@pytest.fixture(params=["threads", "greenlets"])
def gate(request: pytest.FixtureRequest) -> Iterator[Callable[..., Gate]]:
    """Give a function that serves a middleware, with options of it, on each kind of server."""
    made: list[Gate] = []

    def make(app: Any = page, **options: Any) -> Gate:
        made.append(Gate(request.param, app, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def gates() -> Iterator[Callable[..., DirectGate]]:
    """Give a function that makes middleware, with the arguments of `WebSocketMiddleware`."""
    made: list[DirectGate] = []

    def make(**options: Any) -> DirectGate:
        made.append(DirectGate(**options))
        return made[-1]

    yield make
    for gate in made:
        gate.close()
