"""How much may be published at once, and in how many copies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis

from wsredis.brokers.copies import ALWAYS_FITS, OutputLimit
from wsredis.brokers.redis import outgoing
from wsredis.embedded import EmbeddedRedis

from .fake import CHAT, NEWS, FakeRedis, message
from .support import AnyBroker, broker_at

MIB = 2**20


@pytest.mark.parametrize(
    ("value", "limit", "at_once", "most"),
    [
        ("normal 0 0 0 slave 9 9 9 pubsub 33554432 8388608 60", (32, 8), 4, 16),
        ("pubsub 8388608 0 0", (8, 0), 1, 4),
        ("pubsub 0 2097152 60", (0, 2), 1, 512),
        ("pubsub 0 0 0 normal 1 1 1", (0, 0), 4, 512),
    ],
)
def test_the_limit_is_well_below_that_of_redis(
    value: str, limit: tuple[int, int], at_once: int, most: int
) -> None:
    found = OutputLimit.read(value)
    assert (found.hard, found.soft) == (limit[0] * MIB, limit[1] * MIB)
    assert (found.at_once, found.most) == (at_once * MIB, most * MIB)


@pytest.mark.parametrize("value", ["", "normal 0 0 0", "pubsub x y z"])
def test_another_value_is_an_error(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of str.index or int
        OutputLimit.read(value)


def test_a_message_with_too_many_copies_is_an_error_that_says_what_to_do(
    broker: AnyBroker, listen: Any
) -> None:
    listener = listen(broker)
    rooms = [f"ws:group:{number}:copies" for number in range(40)]
    listener.subscribe(*rooms)
    with pytest.raises(ValueError, match=r"40 channels .* Publish to fewer channels at a time"):
        broker.publish(rooms, b"x" * MIB, 0)
    assert broker.publish(rooms[:15], b"x" * MIB, 0) == 15
    listener.wait(lambda: len(listener.data) == 15)
    assert listener.feed.stats.gaps == 0


def test_it_is_an_error_for_asyncio_too(broker: AnyBroker) -> None:
    rooms = [f"ws:group:{number}:copies" for number in range(40)]

    async def publish() -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="40 channels"):
                await broker.apublish(rooms, b"x" * MIB, 0)
        assert await broker.apublish(rooms[:5], b"x" * MIB, 0) == 0

    asyncio.run(publish())


def test_the_limit_is_that_of_the_server(own_redis: EmbeddedRedis, admin: redis.Redis) -> None:
    admin.config_set("client-output-buffer-limit", "pubsub 10000000 0 0")
    broker = broker_at(own_redis.url)
    assert broker.publish([NEWS, CHAT], b"x" * 2_400_000, 0) == 0
    with pytest.raises(ValueError, match="at most 5000000 are allowed"):
        broker.publish([NEWS, CHAT], b"x" * 2_600_000, 0)


def test_where_redis_does_not_tell_its_default_counts(
    own_redis: EmbeddedRedis, admin: redis.Redis
) -> None:
    admin.execute_command(
        "ACL", "SETUSER", "alice", "on", ">secret", "~*", "&*", "+@all", "-config"
    )
    broker = broker_at(own_redis.url.replace("://", "://alice:secret@"))
    for size in (ALWAYS_FITS // 2 + 1, 8 * MIB):
        assert broker.publish([NEWS, CHAT], b"x" * size, 0) == 0
    with pytest.raises(ValueError, match="2 channels"):
        broker.publish([NEWS, CHAT], b"x" * (8 * MIB + 1), 0)


def test_a_link_learns_the_limit(
    own_redis: EmbeddedRedis, admin: redis.Redis, listen: Any, eventually: Callable[..., None]
) -> None:
    admin.config_set("client-output-buffer-limit", "pubsub 8000000 0 0")
    listener = listen(broker_at(own_redis.url))
    eventually(lambda: listener.feed._outgoing.limit == OutputLimit(8_000_000, 0))


@pytest.mark.parametrize("reply", [b"%0\r\n", b"%1\r\n$1\r\nx\r\n$6\r\nstrange\r\n", b":5\r\n"])
def test_a_reply_that_is_not_understood_leaves_the_default(listener: Any, reply: bytes) -> None:
    from wsredis.brokers.redis.resp import Parser

    wire = reply.replace(b"$6", b"$7")
    listener._run(listener.feed._learn_limit, Parser().feed(wire)[0])
    assert listener.feed._outgoing.limit == OutputLimit()


# Messages of websockets


def test_unacked_bytes_are_limited_and_further_messages_wait_in_order(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    size = 1_500_000
    for letter in "abcd":
        listener.publish([NEWS], letter.encode() * size)
    listener.publish([CHAT], b"small")  # it may not overtake
    for letter in "ab":
        peer.expect("PUBLISH", NEWS, letter * size)
    assert len(listener.feed._outgoing._waiting) == 3
    peer.say(b":1\r\n", message("first acked"))
    listener.wait_for("first acked")
    peer.expect("PUBLISH", NEWS, "c" * size)
    assert len(listener.feed._outgoing._waiting) == 2
    peer.say(b":1\r\n:1\r\n")
    peer.expect("PUBLISH", NEWS, "d" * size)
    peer.expect("PUBLISH", CHAT, "small")
    assert not listener.feed._outgoing._waiting
    assert listener.lost == 0


def test_a_message_that_is_larger_than_the_limit_is_sent_alone(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    listener.publish([NEWS], b"x" * (5 * MIB))
    listener.publish([NEWS], b"next")
    peer.expect("PUBLISH", NEWS, "x" * (5 * MIB))
    assert len(listener.feed._outgoing._waiting) == 1
    peer.say(b":0\r\n")
    peer.expect("PUBLISH", NEWS, "next")


def test_a_message_with_too_many_copies_is_not_published(fake: FakeRedis, listener: Any) -> None:
    peer = fake.peer()
    listener.publish([f"room-{number}" for number in range(17)], b"x" * MIB)
    assert listener.lost == listener.feed.stats.unpublished == 1
    listener.publish([NEWS], b"next")
    peer.expect("PUBLISH", NEWS, "next")


def test_what_waits_when_the_link_is_lost_goes_over_the_next_one(
    fake: FakeRedis, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "OVERHEAD", 0)
    peer = fake.peer()
    for letter in "ab":
        listener.publish([NEWS], letter.encode() * (3 * MIB))
    peer.expect("PUBLISH", NEWS, "a" * (3 * MIB))
    peer.close()
    listener.wait(lambda: listener.lost == 1)  # the one that was sent
    peer = fake.peer()
    peer.expect("PUBLISH", NEWS, "b" * (3 * MIB))
    peer.say(b":0\r\n")
    listener.publish([CHAT], b"next")
    peer.expect("PUBLISH", CHAT, "next")
    assert listener.lost == 1


def test_a_message_of_a_websocket_with_too_many_copies_is_lost(
    broker: AnyBroker, listen: Any
) -> None:
    listener = listen(broker)
    listener.subscribe(CHAT)
    listener.publish([f"room-{number}" for number in range(40)], b"x" * MIB)
    listener.wait(lambda: listener.lost == 1)
    assert listener.feed.stats.unpublished == 1
    listener.publish([CHAT], b"next")
    listener.wait_for("next")
