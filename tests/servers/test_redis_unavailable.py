"""Redis stops, hangs and returns: websockets stay, delivery continues, and gaps are reported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from redis import Redis

from wsredis.embedded import EmbeddedRedis, free_port
from wsredis.exceptions import WrongServer

from ..faults.proxy import Proxy
from .support import HOST, Setup, Site, each, eventually
from .wire import PING, PONG, TEXT

pytestmark = [pytest.mark.servers, each("uwsgi-gevent", "gunicorn-gthread", "pywsgi")]

Start = Callable[..., Site]
BROADCAST = "subscribe-broadcast"
TALK = "subscribe-broadcast&publish-broadcast&echo"
DEADLINE = 3
"""Seconds that are waited for, and still more than a busy machine takes to answer."""


def status(site: Site, room: str) -> int:
    """Try a handshake and return the status of its answer."""
    with site.wire() as wire:
        wire.send(wire.request(f"/ws/{room}?{BROADCAST}"))
        answer = wire.answer()
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) > 0
            assert "Traceback" not in answer.body
        return answer.status


def pings(redis: EmbeddedRedis) -> int:
    """Return how often a Redis was asked whether it is there, and has answered."""
    with Redis.from_url(redis.url) as client:
        stats = client.info("commandstats")
    return int(stats.get("cmdstat_ping", {}).get("calls", 0))


def test_without_redis_at_the_start_it_is_503_until_redis_comes(
    start: Start, setup: Setup, room: str
) -> None:
    redis = EmbeddedRedis(port=free_port())
    site = start(setup, redis=f"redis://{HOST}:{redis._port}/0")
    assert status(site, room) == 503
    assert site.get("/page")[0] == 200
    with redis:
        eventually(lambda: status(site, room) == 101, "Redis is noticed")


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (("--replicaof", HOST, "1"), f"is a replica of {HOST}:1: write the address of the primary"),
        (("--cluster-enabled", "yes"), "is a node of a Redis Cluster, which wsredis does not"),
    ],
    ids=["replica", "cluster"],
)
def test_the_log_says_which_server_is_the_wrong_one_and_the_client_gets_503(
    start: Start, setup: Setup, room: str, kind: tuple[str, ...], wrong: str
) -> None:
    with EmbeddedRedis(args=kind) as redis:
        site = start(setup, redis=redis.url)
        for _ in range(3):
            assert status(site, room) == 503
        assert len(site.lines(f"WARNING .*cannot connect, retrying: Redis at .* {wrong}")) == 1
        with pytest.raises(WrongServer, match=wrong):
            site.broadcast(room, "x")
        assert site.get("/page")[0] == 200


def test_while_redis_is_unavailable_sockets_stay_and_newcomers_get_503(
    start: Start, own_redis: EmbeddedRedis, setup: Setup, room: str
) -> None:
    site = start(setup, redis=own_redis.url, on_gap="keep")
    with site.wire(f"/ws/{room}?{TALK}") as wire:
        site.broadcast(room, "before")
        assert wire.receive_text() == "before"
        assert (site.stats()["gaps"], site.stats()["reconnects"]) == (0, 0)
        own_redis.kill()
        eventually(lambda: not site.stats()["broker_connected"], "the loss is noticed")
        assert site.stats()["gaps"] == 1
        wire.send_frame(PING, b"and you?")
        assert wire.receive() == (0x80 | PONG, b"and you?")
        assert status(site, f"{room}x") == 503
        assert status(site, room) == 503
        own_redis.start()
        eventually(lambda: site.stats()["broker_connected"], "the return is noticed")
        assert site.broadcast(room, "after") == 1
        assert wire.receive_text() == "after"
        assert (site.stats()["gaps"], site.stats()["reconnects"]) == (1, 1)
        assert status(site, f"{room}x") == 101
    assert len(site.lines("WARNING .*lost Redis")) == 1
    assert len(site.lines("WARNING .*Redis is back")) == 1


def test_who_may_have_missed_something_is_sent_back(
    start: Start, own_redis: EmbeddedRedis, setup: Setup, room: str
) -> None:
    site = start(setup, redis=own_redis.url)
    with site.wire(f"/ws/{room}?{TALK}") as wire:
        own_redis.kill()
        eventually(lambda: not site.stats()["broker_connected"], "the loss is noticed")
        own_redis.start()
        assert wire.close_code() == 1012
    eventually(lambda: status(site, room) == 101, "newcomers are welcome")
    with site.wire(f"/ws/{room}?{TALK}") as wire:
        site.broadcast(room, "after")
        assert wire.receive_text() == "after"


def test_what_a_client_says_meanwhile_is_published_afterwards_or_it_is_told(
    start: Start, own_redis: EmbeddedRedis, setup: Setup, room: str
) -> None:
    site = start(setup, redis=own_redis.url, on_gap="keep")
    with site.wire(f"/ws/{room}?{TALK}") as wire:
        own_redis.kill()
        eventually(lambda: not site.stats()["broker_connected"], "the loss is noticed")
        wire.send_frame(TEXT, b"meanwhile")
        wire.send_frame(TEXT, b"one more")
        wire.send_frame(PING, b"read?")
        assert wire.receive() == (0x80 | PONG, b"read?")
        own_redis.start()
        assert [wire.receive_text() for _ in range(2)] == ["meanwhile", "one more"]


def test_a_frozen_redis_costs_newcomers_a_503_and_nobody_a_message(
    start: Start, own_redis: EmbeddedRedis, setup: Setup, room: str
) -> None:
    site = start(setup, redis=own_redis.url, redis_deadline=DEADLINE, on_gap="keep")
    with site.wire(f"/ws/{room}?{TALK}") as wire:
        own_redis.freeze()
        assert status(site, f"{room}x") == 503
        eventually(lambda: site.stats()["gaps"], "the silence is noticed")
        assert site.lines(f"WARNING .*lost Redis.*silent for {DEADLINE} s")
        own_redis.thaw()
        eventually(lambda: site.stats()["broker_connected"], "the return is noticed")
        site.broadcast(room, "after")
        assert wire.receive_text() == "after"


def test_a_black_hole_is_noticed_within_the_deadline(
    start: Start, own_redis: EmbeddedRedis, proxy: Proxy, setup: Setup, room: str
) -> None:
    url = f"redis://{HOST}:{proxy.port}/0"
    options = {"redis_deadline": DEADLINE, "on_gap": "keep", "max_messages_per_second": 10**6}
    site = start(setup, redis=url, **options)
    site.redis = own_redis.url  # the publisher has another way
    with site.wire(f"/ws/{room}?{TALK}") as wire:
        # A quiet Redis that answers is no black hole.
        before = pings(own_redis)
        while pings(own_redis) < before + 2:
            wire.send_frame(PING, b"tick")
            assert wire.receive() == (0x80 | PONG, b"tick")
            assert site.stats()["gaps"] == 0
        proxy.hole()
        assert site.broadcast(room, "swallowed") == 1
        eventually(lambda: site.stats()["gaps"], "the silence is noticed")
        wire.send_frame(PING, b"and you?")
        assert wire.receive() == (0x80 | PONG, b"and you?")
        proxy.heal()
        eventually(lambda: site.stats()["broker_connected"], "the return is noticed")
        site.broadcast(room, "after")
        assert wire.receive_text() == "after"
        assert site.stats()["reconnects"] == 1
    assert site.lines(f"WARNING .*lost Redis.*silent for {DEADLINE} s")


def test_while_redis_is_frozen_pages_are_served_and_handshakes_are_refused(
    start: Start, own_redis: EmbeddedRedis, setup: Setup, room: str
) -> None:
    """Without an end of the silence in sight, each handshake would hold a thread or greenlet."""
    site = start(setup, redis=own_redis.url, redis_deadline=600)
    with site.wire(f"/ws/{room}?{TALK}") as wire, ExitStack() as stack:
        own_redis.freeze()
        try:
            crowd = [stack.enter_context(site.wire()) for _ in range(100)]
            for number, each_wire in enumerate(crowd):
                each_wire.send(each_wire.request(f"/ws/{room}{number}?{BROADCAST}"))
            for _ in range(5):
                assert site.get("/page")[0] == 200
            assert status(site, f"{room}-later") == 503
            wire.send_frame(PING, b"and you?")
            assert wire.receive() == (0x80 | PONG, b"and you?")
        finally:
            own_redis.thaw()
        statuses = {each_wire.answer().status for each_wire in crowd}
        assert 503 in statuses <= {101, 503}
    eventually(lambda: status(site, f"{room}-back") == 101, "Redis answers again")
