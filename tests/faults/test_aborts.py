"""Thousands of aborted connections, half of them during the handshake, leave nothing behind.

``WSREDIS_ABORTS=10000`` for a long run; the results are in docs/reliability.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import redis

from wsredis.embedded import EmbeddedRedis

from ..servers.support import Setup, Site, each, eventually
from .processes import descriptors, memory, needs_proc

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("unwatched"), needs_proc]

ABORTS = int(os.environ.get("WSREDIS_ABORTS", "400"))
WARM_UP = 1200
"""Aborts before anything is measured: what is made once is made then."""

ALLOWED = max(2**20, 512 * ABORTS)
"""Bytes by which a process may grow: less than the smallest object that could stay of each."""


def come_and_go(site: Site, room: str, times: int) -> None:
    """Connect and go away, in turn in the middle of the request, before the answer, after it."""
    target = f"/ws/{room}?subscribe-broadcast&subscribe-user&publish-broadcast"
    for number in range(times):
        wire = site.wire()
        request = wire.request(target, x_user=f"user{number % 7}")
        way = number % 4
        if way == 0:
            wire.send(request[: len(request) // 2])
            wire.abort()
        elif way == 1:
            wire.send(request)
            wire.abort()
        else:
            wire.send(request)
            assert wire.answer().status == 101
            if way == 2:
                wire.abort()
            else:
                wire.socket.close()


@each("uwsgi-gevent", "gunicorn-gthread")
@pytest.mark.timeout(300 + ABORTS // 20)
def test_aborted_handshakes_leave_no_file_subscription_or_memory(
    start: Callable[..., Site],
    own_redis: EmbeddedRedis,
    admin: redis.Redis,
    setup: Setup,
    room: str,
) -> None:
    site = start(setup, redis=own_redis.url)

    def nobody_is_left() -> bool:
        return site.stats()["connections"] == 0 and admin.pubsub_channels() == ["ws:control"]

    come_and_go(site, room, WARM_UP)
    eventually(nobody_is_left, "the first have gone")
    (worker,) = site.workers()
    files, size = descriptors(worker), memory(worker)
    come_and_go(site, room, ABORTS)
    eventually(nobody_is_left, "all have gone")
    eventually(lambda: descriptors(worker) <= files, "their files are closed")
    growth = memory(worker) - size
    stats = site.stats()
    print(f"{setup}: {ABORTS} aborts, {growth / 1024:.0f} KiB more, {stats}")
    assert growth <= ALLOWED
    assert (stats["channels"], stats["send_buffer_bytes"], stats["gaps"]) == (0, 0, 0)
    with site.wire(f"/ws/{room}?subscribe-broadcast") as wire:
        site.broadcast(room, "and you?")
        assert wire.receive_text() == "and you?"
