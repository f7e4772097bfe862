"""A worker is killed: its clients reconnect to other workers, whose clients are not affected."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import redis

from wsredis.embedded import EmbeddedRedis

from ..servers.support import SETUPS, Setup, Site, each, eventually
from ..servers.workers import everywhere
from .checker import Numbers, check
from .clients import Client, Crowd

pytestmark = pytest.mark.servers

TWO = [
    (replace(SETUPS["uwsgi-gevent"], name="uwsgi-two", workers=2), ("--processes", "2")),
    (replace(SETUPS["gunicorn-gthread"], name="gunicorn-two", workers=2), ("--workers", "2")),
]


@contextmanager
def crowds(site: Site, room: str, numbers: Numbers) -> Iterator[list[Client]]:
    """Let clients connect until each worker has some."""
    target = f"/ws/{room}?subscribe-broadcast"
    with ExitStack() as stack:

        def come() -> list[Client]:
            more = Crowd(site.port, target, 12, begun=numbers.last)
            stack.enter_context(more).wait_open()
            return more.clients

        yield [client for clients in everywhere(site, come) for client in clients]


def all_hear(clients: list[Client], number: int) -> None:
    eventually(lambda: all(client.last >= number for client in clients), f"all hear {number}")


@pytest.mark.parametrize(("setup", "options"), TWO, ids=lambda value: getattr(value, "name", ""))
def test_who_is_with_a_killed_worker_sees_1006_and_comes_back_and_others_miss_nothing(
    start: Callable[..., Site],
    own_redis: EmbeddedRedis,
    admin: redis.Redis,
    room: str,
    setup: Setup,
    options: tuple[str, ...],
) -> None:
    site = start(setup, redis=own_redis.url, options=options)
    channel = f"ws:broadcast:{room}"
    with Numbers(site.publisher(room, broadcast=True).publish) as numbers:
        with crowds(site, room, numbers) as clients:
            numbers.begin()
            all_hear(clients, 20)
            shares = {pid: stats["connections"] for pid, stats in site.each_worker().items()}
            victim = next(iter(shares))
            site.excused.add("DAMN")  # uWSGI's word for it
            os.kill(victim, signal.SIGKILL)

            def all_there() -> bool:
                try:
                    workers = site.each_worker()
                except OSError:  # it died with our request
                    return False
                there = sum(stats["connections"] for stats in workers.values())
                return victim not in workers and there == len(clients)

            eventually(all_there, "a new worker serves and all are back")
            all_hear(clients, numbers.wait_confirmed())
            all_hear(clients, numbers.end())
            found = check(clients, numbers, told=(1006,))
            assert found.codes == {1006: shares[victim]}
            assert sum(map(bool, found.missed)) <= shares[victim]
            listening = sum(bool(s["connections"]) for s in site.each_worker().values())
            assert admin.pubsub_numsub(channel) == [(channel, listening)]
        eventually(lambda: admin.pubsub_numsub(channel) == [(channel, 0)], "nobody is left")


def test_each_worker_counts_its_gap_and_tells_its_clients(
    start: Callable[..., Site], own_redis: EmbeddedRedis, admin: redis.Redis, room: str
) -> None:
    site = start("uwsgi-workers", redis=own_redis.url)
    with (
        Numbers(site.publisher(room, broadcast=True).publish) as numbers,
        crowds(site, room, numbers) as clients,
    ):
        numbers.begin()
        all_hear(clients, 20)
        assert admin.client_kill_filter(_type="pubsub") == 3
        eventually(lambda: site.stats()["reconnects"] == 3, "all have noticed")
        all_hear(clients, numbers.wait_confirmed())
        all_hear(clients, numbers.end())
        found = check(clients, numbers)
        assert found.codes == {1012: len(clients)}
        stats = site.stats()
        assert (stats["gaps"], stats["connections"]) == (3, len(clients))


@each("uwsgi-gevent", "gunicorn-gthread")
def test_who_is_sent_away_by_a_reload_is_told_and_comes_back(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    site = start(setup)
    (old,) = site.workers()
    with (
        Numbers(site.publisher(room, broadcast=True).publish) as numbers,
        crowds(site, room, numbers) as clients,
    ):
        numbers.begin()
        all_hear(clients, 20)
        site.reload()
        eventually(lambda: all(c.is_open and len(c.sessions) > 1 for c in clients), "all are back")
        all_hear(clients, numbers.wait_confirmed())
        all_hear(clients, numbers.end())
        found = check(clients, numbers)
        assert set(found.codes) == {1012}
        assert site.workers() != {old}
        print(f"{setup}: away for {found.away:.2f} s")
