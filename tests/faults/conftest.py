"""Fixtures for faults: a stage with a site, its clients and a Redis behind a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import redis

from wsredis.embedded import EmbeddedRedis

from ..servers.conftest import proxy, pytest_runtest_makereport, room, start
from ..servers.support import Setup, Site, eventually
from .checker import Numbers
from .clients import Crowd
from .proxy import Proxy

__all__ = ["Stage", "proxy", "pytest_runtest_makereport", "room", "start"]


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers run as they do elsewhere, without what notes their lines for the coverage.

    That costs time and memory, and here memory is measured, or there are thousands of clients.
    """
    monkeypatch.delenv("ARCS_FILE", raising=False)


@pytest.fixture
def admin(own_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    """Give a client of the Redis that this test owns; it has another way than the site."""
    with redis.Redis(port=own_redis.port, decode_responses=True) as client:
        yield client


@dataclass
class Stage:
    """A site whose Redis can break, with subscribed clients and a publisher."""

    site: Site
    redis: EmbeddedRedis
    proxy: Proxy
    admin: redis.Redis
    crowd: Crowd
    numbers: Numbers

    def gap(self, count: int = 1) -> None:
        """Wait until the site has noticed that it has lost Redis."""
        eventually(lambda: self.site.stats()["gaps"] >= count, "the loss is noticed")

    def back(self, count: int = 1) -> None:
        """Wait until the site has noticed that Redis is there again."""

        def is_back() -> bool:
            stats = self.site.stats()
            return stats["reconnects"] >= count and stats["broker_connected"] > 0

        eventually(is_back, "the return is noticed")

    def publish_some(self, count: int = 20) -> None:
        """Let some numbers be published, come who may."""
        last = self.numbers.begun + count
        eventually(lambda: self.numbers.begun >= last, f"{count} more numbers go out")

    def all_hear(self) -> None:
        """Wait until everybody has heard a number from after now."""
        self.crowd.wait_for(self.numbers.wait_confirmed())

    def end(self) -> None:
        """Publish no more and wait until everybody has heard the last number."""
        self.crowd.wait_for(self.numbers.end())


@pytest.fixture
def stage(
    start: Callable[..., Site],
    own_redis: EmbeddedRedis,
    proxy: Proxy,
    admin: redis.Redis,
    room: str,
) -> Iterator[Callable[..., Stage]]:
    """Give a function that sets the stage: ``stage(setup, **config)``.

    With ``direct=False`` numbers take the same way to Redis as the site; with ``publish=False``
    nobody publishes yet.
    """
    with ExitStack() as stack:

        def make(
            setup: Setup | str,
            *,
            clients: int = 6,
            padding: int = 0,
            direct: bool = True,
            publish: bool = True,
            **config: object,
        ) -> Stage:
            url = f"redis://127.0.0.1:{proxy.port}/0"
            site = start(setup, **{"redis": url, "redis_deadline": 2, **config})
            if direct:
                site.redis = own_redis.url
            publisher = site.publisher(room, broadcast=True)
            numbers = stack.enter_context(Numbers(publisher.publish, padding=padding))
            target = f"/ws/{room}?subscribe-broadcast"
            crowd = Crowd(site.port, target, clients, begun=numbers.last)
            stack.enter_context(crowd).wait_open()
            made = Stage(site, own_redis, proxy, admin, crowd, numbers)
            if publish:
                numbers.begin()
                made.all_hear()
            return made

        yield make
