"""Processes with our layer and with the pub/sub layer of channels_redis share groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.utils import _consistent_hash

from wsredis.embedded import EmbeddedRedis
from wsredis.layers import RedisChannelLayer

from .support import run

KEYS = ["old secret", b"older secret"]

OPTIONS: list[dict[str, Any]] = [
    {},
    {"serializer_format": "json"},
    {"prefix": "site-1"},
    {"prefix": "the site:"},
    {"symmetric_encryption_keys": ["secret"]},
    {"symmetric_encryption_keys": ["secret"], "serializer_format": "json"},
]

MESSAGE = {"type": "chat.message", "text": "Zoë", "list": [1, {"a": None}]}


@pytest.fixture(params=OPTIONS, ids=str)
def fleet(
    request: pytest.FixtureRequest, redis_url: str, redis_client: redis.Redis
) -> tuple[RedisChannelLayer, Any]:
    """Give a layer of ours and one of channels_redis with the same options."""
    options = {"hosts": [redis_url], **request.param}
    return RedisChannelLayer(**options), RedisPubSubChannelLayer(**options)


def test_a_group_has_members_in_both(fleet: tuple[RedisChannelLayer, Any]) -> None:
    async def main() -> None:
        members = [(layer, await layer.new_channel()) for layer in fleet]
        for layer, channel in members:
            await layer.group_add("group", channel)
        for sender in fleet:
            await sender.group_send("group", MESSAGE)
            for layer, channel in members:
                assert await layer.receive(channel) == MESSAGE

    run(main())


def test_an_own_channel_is_sent_to_from_both(fleet: tuple[RedisChannelLayer, Any]) -> None:
    async def main() -> None:
        for receiver in fleet:
            channel = await receiver.new_channel()
            for sender in fleet:
                await sender.send(channel, MESSAGE)
                assert await receiver.receive(channel) == MESSAGE

    run(main())


def test_a_key_can_be_replaced(redis_url: str, redis_client: redis.Redis) -> None:
    async def main() -> None:
        hosts = [redis_url]
        old = RedisPubSubChannelLayer(hosts=hosts, symmetric_encryption_keys=KEYS)
        new = RedisChannelLayer(hosts=hosts, symmetric_encryption_keys=["new secret", *KEYS])
        other = RedisChannelLayer(hosts=hosts, symmetric_encryption_keys=["other"])
        mine, theirs = await new.new_channel(), await other.new_channel()
        await new.group_add("group", mine)
        await other.group_add("group", theirs)
        await old.group_send("group", MESSAGE)
        assert await new.receive(mine) == MESSAGE
        await other.send(theirs, {"text": "readable"})
        assert await other.receive(theirs) == {"text": "readable"}
        assert other.dropped == 1

    run(main())


def test_a_channel_of_channels_redis_cannot_be_added_by_another_process(
    fleet: tuple[RedisChannelLayer, Any],
) -> None:
    async def main() -> None:
        ours, theirs = fleet
        channel = await theirs.new_channel()
        with pytest.raises(RuntimeError, match="only the process that receives it can do that"):
            await ours.group_add("group", channel)
        await ours.group_discard("group", channel)  # nothing, as in channels_redis
        await ours.send(channel, MESSAGE)
        assert await theirs.receive(channel) == MESSAGE

    run(main())


@pytest.fixture(scope="module")
def three_servers() -> Iterator[list[str]]:
    with EmbeddedRedis() as one, EmbeddedRedis() as two, EmbeddedRedis() as three:
        yield [one.url, two.url, three.url]


def test_several_servers_share_the_names(three_servers: list[str]) -> None:
    async def main() -> None:
        ours = RedisChannelLayer(hosts=three_servers)
        theirs = RedisPubSubChannelLayer(hosts=three_servers)
        groups = [f"group-{number}" for number in range(12)]
        used = {ours._shards.index(ours._shard(ours._names.group(group))) for group in groups}
        assert used == {0, 1, 2}
        members = [(layer, await layer.new_channel()) for layer in (ours, theirs)]
        for layer, channel in members:
            for group in groups:
                await layer.group_add(group, channel)
        for sender in (ours, theirs):
            for group in groups:
                await sender.group_send(group, {"group": group})
                for layer, channel in members:
                    assert await layer.receive(channel) == {"group": group}
        await ours.group_discard(groups[0], members[0][1])
        await ours.group_send(groups[0], {})
        assert await theirs.receive(members[1][1]) == {}
        await ours.send("thumbnails", MESSAGE)
        assert await ours.receive("thumbnails") == MESSAGE
        await ours.flush()

    run(main())


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_a_name_has_the_same_server_in_both(count: int, layers: Callable[..., Any]) -> None:
    layer = layers(hosts=[f"redis://host-{number}" for number in range(count)])
    names = [f"asgi__group__{number}" for number in range(5000)]
    ours = [layer._shards.index(layer._shard(name)) for name in names]
    assert ours == [_consistent_hash(name, count) for name in names]


def test_what_is_published_is_what_channels_redis_publishes(
    layers: Callable[..., Any], heard: Callable[[int], list[tuple[str, bytes]]]
) -> None:
    layer = layers()
    layer.group_send("group", {"type": "a"})
    layer.send("asgispecific." + "0" * 32, {"type": "a"})
    assert heard(2) == [
        ("asgi__group__group", b"\x81\xa4type\xa1a"),
        ("asgispecific." + "0" * 32, b"\x81\xa4type\xa1a"),
    ]


def test_their_layer_and_ours_can_be_one_after_the_other(
    fleet: tuple[RedisChannelLayer, Any],
) -> None:
    """A reader of theirs that is cancelled and comes back is still a member."""

    async def main() -> None:
        ours, theirs = fleet
        channel = await theirs.new_channel()
        await theirs.group_add("group", channel)
        reader = asyncio.create_task(theirs.receive(channel))
        await asyncio.sleep(0)
        await ours.group_send("group", MESSAGE)
        assert await reader == MESSAGE

    run(main())
