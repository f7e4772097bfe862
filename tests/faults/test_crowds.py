"""Two thousand clients that are all disconnected after a gap, and all reconnect at once."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from wsredis.embedded import EmbeddedRedis

from ..servers.support import Site
from .checker import Numbers, check
from .clients import Crowd

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("unwatched")]

COUNT = 2000
SECONDS = 60.0
LIMIT = Path("/proc/sys/net/core/somaxconn")
BACKLOG = min(4096, int(LIMIT.read_text())) if LIMIT.exists() else 128

OPTIONS = {
    "uwsgi-gevent": ("--listen", str(BACKLOG), "--disable-logging"),
    "gunicorn-gthread": ("--backlog", str(BACKLOG), "--worker-connections", str(2 * COUNT)),
}


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process and those it starts open as many files as sockets need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * COUNT  # gunicorn's worker takes 2 * COUNT itself
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", OPTIONS)
def test_two_thousand_handshakes_at_once_are_all_answered_and_again_after_a_gap(
    start: Callable[..., Site],
    own_redis: EmbeddedRedis,
    admin: redis.Redis,
    many_files: None,
    room: str,
    name: str,
) -> None:
    site = start(name, redis=own_redis.url, options=OPTIONS[name])
    numbers = Numbers(site.publisher(room, broadcast=True).publish)
    target = f"/ws/{room}?subscribe-broadcast&subscribe-user"
    users = ("alice", "bob", "carol", "dave")
    with Crowd(site.port, target, COUNT, begun=numbers.last, users=users) as crowd:
        crowd.wait_open(SECONDS)
        for _ in range(3):
            crowd.wait_for(numbers.next(), SECONDS)
        assert admin.client_kill_filter(_type="pubsub") == 1
        crowd.wait(lambda client: len(client.sessions) == 2, "all are sent away and back", SECONDS)
        for _ in range(3):
            crowd.wait_for(numbers.next(), SECONDS)
        found = check(crowd.clients, numbers)
        assert found.codes == {1012: COUNT}
        # On a busy machine Redis may not answer a new connection soon enough for all of them.
        assert crowd.refused.keys() <= {503}, site.lines("refused ")[:3]
        assert crowd.refused.total() < COUNT / 100, site.lines("refused ")[:3]
        stats = site.stats()
        assert stats["connections"] == COUNT
        assert (stats["accepted"], stats["gaps"], stats["slow_consumers"]) == (2 * COUNT, 1, 0)
