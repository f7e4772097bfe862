"""The layer over Redis: gaps, limits, forwarding, and the link of the process."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
import redis

import wsredis.process
from wsredis import Config, WebSocketMiddleware
from wsredis.brokers import broker_for
from wsredis.brokers.redis.queues import RedisQueues
from wsredis.config import sources
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable, ConfigurationError
from wsredis.layers import (
    ChannelFull,
    MessagesLost,
    MessageTooLarge,
    RedisChannelLayer,
    base,
    receivers,
)
from wsredis.layers import redis as redis_layer
from wsredis.process import process_for, process_with
from wsredis.runtime.owner import ChannelOwner, channel_owner

from .support import SECONDS, eventually, run

MakeLayer = Callable[..., RedisChannelLayer]

REQUEST = (
    b"GET /ws/news?subscribe-broadcast HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

OF_THEM = "asgispecific." + "0" * 12 + "4" + "0" * 19
OF_ANOTHER = "asgispecific." + "0" * 12 + "8" + "0" * 19


def subscribers(server: EmbeddedRedis) -> int:
    """Return how many connections to a server have subscriptions."""
    with redis.Redis(port=server.port) as admin:
        return sum(int(client["sub"]) > 0 for client in admin.client_list())


def lose_the_link(server: EmbeddedRedis) -> None:
    with redis.Redis(port=server.port) as admin:
        assert admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub") > 0


class Later:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self.ahead = 0.0
        for module in modules:
            monkeypatch.setattr(module, "_clock", lambda: time.monotonic() + self.ahead)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch, base, receivers, redis_layer)


# The link


def test_a_layer_and_the_websockets_of_a_process_have_one_link(
    own_site: EmbeddedRedis, gate: Callable[..., Any]
) -> None:
    served = gate(redis=own_site.url, redis_deadline=2.0)
    client = socket.create_connection(("127.0.0.1", served.port), timeout=SECONDS)
    client.sendall(REQUEST)
    assert client.recv(12) == b"HTTP/1.1 101"
    layer = RedisChannelLayer()
    channel = layer.new_channel().result()
    layer.group_add("group", channel)
    layer.group_send("group", {"text": "hello"})
    assert layer.receive(channel).result() == {"text": "hello"}

    async def main() -> None:
        other = await layer.new_channel()
        await layer.group_add("group", other)
        await layer.group_send("group", {"text": "from asyncio"})
        assert await layer.receive(other) == {"text": "from asyncio"}

    run(main())
    assert subscribers(own_site) == 1
    client.close()


def test_two_layers_have_one_link(own_site: EmbeddedRedis) -> None:
    one, two = RedisChannelLayer(), RedisChannelLayer(hosts=[own_site.url], prefix="other")
    for layer in (one, two):
        layer.new_channel()
    assert subscribers(own_site) == 1
    assert len(wsredis.process._processes) == 1


def test_sending_needs_no_hub(own_site: EmbeddedRedis) -> None:
    async def main() -> None:
        layer = RedisChannelLayer()
        await layer.group_send("group", {})
        await layer.send("general", {})
        await layer.send(OF_ANOTHER, {})

    run(main())
    layer = RedisChannelLayer()
    layer.group_send("group", {})
    layer.send("general", {})
    assert wsredis.process._processes == []
    assert subscribers(own_site) == 0


def test_a_process_with_the_same_broker_is_used_whatever_its_options(redis_url: str) -> None:
    config = Config(redis=redis_url)
    broker = broker_for(config)
    other = Config(redis=redis_url, prefix="/other/")
    made = process_for(other, broker)
    assert process_with(config, broker) is made
    made.close()
    assert process_with(config, broker) is not made


def test_nothing_is_subscribed_to_when_all_has_ended(layers: MakeLayer, redis_url: str) -> None:
    layer = layers()
    channel = layer.new_channel().result()
    layer.group_add("group", channel)
    process = process_with(layer._shards[0].config, layer._shards[0].broker)
    assert process.stats()["channels"] == 2
    layer.close()
    assert process.stats()["channels"] == 0
    assert process.stats()["connections"] == 0
    layer.close()


def test_a_closed_channel_fails_its_reader(layers: MakeLayer) -> None:
    async def main() -> None:
        layer = layers()
        channel = await layer.new_channel()
        reader = asyncio.create_task(layer.receive(channel))
        await asyncio.sleep(0)
        await layer.close()
        with pytest.raises(MessagesLost, match="was closed"):
            await reader

    run(main())


def test_receivers_take_no_slot_and_are_not_drained(layers: MakeLayer) -> None:
    layer = layers()
    channel = layer.new_channel().result()
    process = process_with(layer._shards[0].config, layer._shards[0].broker)
    assert process.limits.count == 0
    process.loop.run(process.hub.drain)
    layer.send(channel, {"text": "while draining"})
    layer.group_add("group", channel)
    assert layer.receive(channel).result() == {"text": "while draining"}


# Gaps


@pytest.mark.parametrize("joined", [False, True])
def test_a_reader_learns_of_a_gap_once_and_goes_on(own_site: EmbeddedRedis, joined: bool) -> None:
    async def main() -> None:
        layer = RedisChannelLayer()
        channel = await layer.new_channel()
        if joined:
            await layer.group_add("group", channel)
        for _ in range(2):
            reader = asyncio.create_task(layer.receive(channel))
            await asyncio.sleep(0)
            lose_the_link(own_site)
            with pytest.raises(MessagesLost, match="messages-lost"):
                await reader
            await (layer.group_send("group", {"a": 1}) if joined else layer.send(channel, {"a": 1}))
            assert await layer.receive(channel) == {"a": 1}

    run(main())


def test_a_gap_is_told_to_a_reader_that_comes_later(own_site: EmbeddedRedis) -> None:
    async def main() -> None:
        layer = RedisChannelLayer()
        channel = await layer.new_channel()
        lose_the_link(own_site)
        own = layer._channels[channel]
        await eventually(lambda: own.inbox._error is not None)
        with pytest.raises(MessagesLost):
            await layer.receive(channel)
        await layer.send(channel, {"text": "hello"})
        assert await layer.receive(channel) == {"text": "hello"}

    run(main())


def test_with_keep_a_gap_is_not_told(
    own_site: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(redis=own_site.url, on_gap="keep")
    monkeypatch.setattr(sources, "_current", config)

    async def main() -> None:
        layer = RedisChannelLayer()
        channel = await layer.new_channel()
        lose_the_link(own_site)
        stats = process_with(config, broker_for(config)).hub._feed.stats
        await eventually(lambda: stats.reconnects == 1 and stats.connected)
        await layer.send(channel, {"text": "hello"})
        assert await layer.receive(channel) == {"text": "hello"}

    run(main())


def test_the_host_of_an_application_learns_of_a_gap_and_its_reader_does_not(
    own_site: EmbeddedRedis,
) -> None:
    async def main() -> None:
        layer = RedisChannelLayer()
        gaps: list[str] = []
        owner = ChannelOwner(lambda: gaps.append("gap"))

        async def application() -> Any:
            channel_owner.set(owner)
            channel = await layer.new_channel()
            await layer.group_add("group", channel)
            return await layer.receive(channel)

        task = asyncio.create_task(application())
        await eventually(lambda: subscribers(own_site) == 1 and owner._ends)
        process = process_with(layer._shards[0].config, layer._shards[0].broker)
        await eventually(lambda: process.stats()["channels"] == 2)
        lose_the_link(own_site)
        await eventually(lambda: gaps == ["gap"])
        await layer.group_send("group", {"text": "hello"})
        assert await task == {"text": "hello"}
        owner.close()
        await eventually(lambda: process.stats()["channels"] == 0)
        assert layer._channels == {}

    run(main())


def test_a_queue_is_read_on_after_a_gap(own_site: EmbeddedRedis) -> None:
    async def main() -> None:
        layer = RedisChannelLayer()
        reader = asyncio.create_task(layer.receive("thumbnails"))
        await eventually(lambda: subscribers(own_site) == 1)
        lose_the_link(own_site)
        await layer.send("thumbnails", {"text": "hello"})
        assert await reader == {"text": "hello"}

    run(main())


def test_a_waiting_reader_outlives_a_restart_of_redis(
    own_site: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "POLL_SECONDS", 0.05)
    failures: list[BrokerUnavailable] = []
    take = RedisQueues.take

    def taken(queues: RedisQueues, key: str) -> Any:
        try:
            return take(queues, key)
        except BrokerUnavailable as exc:
            failures.append(exc)
            raise

    monkeypatch.setattr(RedisQueues, "take", taken)

    async def main() -> None:
        layer = RedisChannelLayer()
        reader = asyncio.create_task(layer.receive("thumbnails"))
        await eventually(lambda: subscribers(own_site) == 1)
        own_site.stop()
        process = process_with(layer._shards[0].config, layer._shards[0].broker)
        await eventually(lambda: not process.hub._feed.stats.connected)
        with pytest.raises(BrokerUnavailable):
            await layer.send("thumbnails", {})
        await eventually(lambda: len(failures) > 1)
        assert not reader.done()
        own_site.start()
        await layer.send("thumbnails", {"text": "hello"})
        assert await reader == {"text": "hello"}

    run(main())


def test_without_redis_every_method_says_so(own_site: EmbeddedRedis) -> None:
    own_site.stop()

    async def main() -> None:
        layer = RedisChannelLayer()
        for call in (
            lambda: layer.new_channel(),
            lambda: layer.send("general", {}),
            lambda: layer.send(OF_ANOTHER, {}),
            lambda: layer.receive("general"),
            lambda: layer.receive(OF_ANOTHER),
            lambda: layer.group_send("group", {}),
            lambda: layer.group_add("group", OF_ANOTHER),
            lambda: layer.flush(),
        ):
            with pytest.raises(BrokerUnavailable, match="Redis at "):
                await call()
        assert layer._channels == {}
        assert layer._readers == {}

    run(main())


def test_a_failed_send_takes_no_room(own_site: EmbeddedRedis) -> None:
    layer = RedisChannelLayer(capacity=1)
    channel = layer.new_channel().result()
    own_site.stop()
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            layer.send(channel, {})


def test_a_message_that_nobody_gets_takes_no_room(
    layers: MakeLayer, redis_client: redis.Redis
) -> None:
    layer = layers(capacity=1)
    channel = layer.new_channel().result()
    process = process_with(layer._shards[0].config, layer._shards[0].broker)
    process.loop.run(layer._channels[channel].leave, process, channel)
    while redis_client.pubsub_numsub(channel) != [(channel.encode(), 0)]:
        pass  # the time limit of the test ends this
    layer.send(channel, {})
    layer.send(channel, {})  # not ChannelFull


def test_when_the_hub_is_closed_readers_learn_it_and_go_on_with_another(
    layers: MakeLayer,
) -> None:
    async def main() -> None:
        layer = layers()
        channel = await layer.new_channel()
        readers = [asyncio.create_task(layer.receive(name)) for name in (channel, "thumbnails")]
        process = process_with(layer._shards[0].config, layer._shards[0].broker)
        await eventually(lambda: len(process.hub._receivers) == 2)
        process.close()
        for reader in readers:
            with pytest.raises((MessagesLost, BrokerUnavailable), match="was closed"):
                await reader
        await layer.group_discard("group", channel)  # no hub knows it
        for name in (channel, "thumbnails"):
            reader = asyncio.create_task(layer.receive(name))
            await eventually(
                lambda name=name: name == "thumbnails" or layer._channels[channel].subscribed
            )
            await layer.send(name, {"text": "hello"})
            assert await reader == {"text": "hello"}

    run(main())


# Limits


def test_dropped_messages_are_counted_and_logged_once_a_minute(
    layers: MakeLayer, later: Later, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "wsredis.layers")

    async def main() -> None:
        layer = layers(capacity=1)
        channel, marker = await layer.new_channel(), await layer.new_channel()
        for name in (channel, marker):
            await layer.group_add("group", name)

        async def overflow(count: int) -> None:
            for _ in range(count):
                await layer.group_send("group", {"n": 1})
                await layer.receive(marker)
            await layer.send(marker, {})
            await layer.receive(marker)

        await overflow(5)
        assert layer.dropped == 4
        later.ahead += base.LOG_SECONDS
        await overflow(2)
        assert layer.dropped == 6
        texts = [record.getMessage() for record in caplog.records]
        end = f"messages dropped, the last one for {channel}: 1 messages wait already"
        assert texts == [f"1 {end}", f"4 {end}"]

    run(main())


def test_room_is_free_again_after_a_gap(own_site: EmbeddedRedis) -> None:
    layer = RedisChannelLayer(capacity=1)
    channel = layer.new_channel().result()
    own = layer._channels[channel]
    assert own.reserve()
    with pytest.raises(ChannelFull):
        layer.send(channel, {})
    lose_the_link(own_site)
    with pytest.raises(MessagesLost):
        layer.receive(channel)
    layer.send(channel, {"text": "hello"})
    assert layer.receive(channel).result() == {"text": "hello"}


def test_a_message_too_large_for_redis_is_refused(layers: MakeLayer) -> None:
    layer = layers(max_event_size=2**25)
    with pytest.raises(
        MessageTooLarge, match=r"a message of 1677\d+ bytes is too large: shorten it,"
    ):
        layer.group_send("group", {"bytes": b"x" * (2**24 + 1)})


def test_bytes_that_are_no_message_are_dropped(
    layers: MakeLayer, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        layer = layers()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        for garbage in (b"", b"\xc1", b"\x81", b"\x93\x01\x02\x03", b"{}", b"\xff\xffB"):
            redis_client.publish("asgi__group__group", garbage)
        redis_client.publish(channel, b"garbage")
        await layer.send(channel, {"text": "hello"})
        assert await layer.receive(channel) == {"text": "hello"}
        assert layer.dropped == 7
        redis_client.rpush("asgi__queue__thumbnails", b"short", b"\x7f" * 8 + b"garbage")
        await layer.send("thumbnails", {"text": "hello"})
        assert await layer.receive("thumbnails") == {"text": "hello"}

    run(main())
    assert "not a message in this format" in caplog.text


def test_a_key_of_another_type_fails_readers_and_senders(
    layers: MakeLayer, redis_client: redis.Redis
) -> None:
    redis_client.set("asgi__queue__thumbnails", "text")
    layer = layers()
    for call in (lambda: layer.send("thumbnails", {}), lambda: layer.receive("thumbnails")):
        with pytest.raises(BrokerUnavailable, match="WRONGTYPE"):
            call()


# Expiry


def test_an_expired_message_of_a_general_channel_is_not_received(layers: MakeLayer) -> None:
    layer = layers(expiry=0.01)
    layer.send("thumbnails", {"text": "old"})
    time.sleep(0.02)
    layer.expiry = 60
    layer.send("thumbnails", {"text": "new"})
    assert layer.receive("thumbnails").result() == {"text": "new"}


def test_queues_expire_in_redis(layers: MakeLayer, redis_client: redis.Redis) -> None:
    layers(expiry=7).send("thumbnails", {})
    assert 6000 < redis_client.pttl("asgi__queue__thumbnails") <= 7000


async def cancelled(layer: RedisChannelLayer, channel: str) -> None:
    """Begin to receive a channel, and stop."""
    reader = asyncio.create_task(layer.receive(channel))
    await eventually(lambda: layer._channels[channel].inbox.waiting)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)


def test_channels_that_nobody_receives_end_after_a_while(layers: MakeLayer, later: Later) -> None:
    async def main() -> None:
        layer = layers(expiry=60, group_expiry=1000)
        left, read, unread, waiting = [await layer.new_channel() for _ in range(4)]
        await layer.send(read, {})
        await layer.receive(read)
        await cancelled(layer, left)
        reader = asyncio.create_task(layer.receive(waiting))
        other = asyncio.create_task(layer.receive(waiting))
        await eventually(lambda: layer._channels[waiting].inbox.waiting == 2)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

        async def known_after(seconds: float) -> set[str]:
            later.ahead = seconds
            await layer.new_channel()
            return {left, read, unread, waiting} & set(layer._channels)

        assert await known_after(58.0) == {left, read, unread, waiting}
        assert await known_after(61.0) == {read, unread, waiting}
        assert await known_after(998.0) == {read, unread, waiting}
        assert await known_after(1001.0) == {waiting}
        assert not reader.done()

    run(main())


def test_a_message_ends_a_channel_that_nobody_receives_any_more(
    layers: MakeLayer, later: Later
) -> None:
    async def main() -> None:
        layer = layers()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await cancelled(layer, channel)
        later.ahead = 61.0
        await layer.group_send("group", {})
        await eventually(lambda: layer._channels == {})
        process = process_with(layer._shards[0].config, layer._shards[0].broker)
        await eventually(lambda: process.stats()["channels"] == 0)

    run(main())


@pytest.mark.parametrize("back", [False, True])
def test_a_channel_whose_reader_fails_is_kept_for_it_to_come_back(
    own_site: EmbeddedRedis, later: Later, back: bool
) -> None:
    layer = RedisChannelLayer(capacity=2)
    channel = layer.new_channel().result()
    lose_the_link(own_site)
    with pytest.raises(MessagesLost):
        layer.receive(channel)
    layer.send(channel, {"text": "hello"})
    if back:
        assert layer.receive(channel).result() == {"text": "hello"}
    later.ahead = 61.0
    layer.new_channel()
    assert (channel in layer._channels) == back


# Channels of other processes: two layer objects of one process know nothing of each other


def test_a_channel_of_another_process_is_added_and_discarded_by_its_owner(
    layers: MakeLayer,
) -> None:
    async def main() -> None:
        owner, other = layers(), layers()
        channel = await owner.new_channel()
        await other.group_add("group", channel)
        process = process_with(owner._shards[0].config, owner._shards[0].broker)
        await eventually(lambda: process.stats()["channels"] == 2)
        await other.group_send("group", {"text": "hello"})
        assert await owner.receive(channel) == {"text": "hello"}
        await other.group_discard("group", channel)
        await eventually(lambda: process.stats()["channels"] == 1)
        assert owner.dropped == 0

    run(main())


@pytest.mark.parametrize("channel", ["general", "a!b", OF_THEM])
def test_a_channel_without_an_owner_that_can_do_it_is_not_added(
    layers: MakeLayer, channel: str
) -> None:
    layer = layers()
    with pytest.raises(RuntimeError, match="only the process that receives it can do that"):
        layer.group_add("group", channel)
    layer.group_discard("group", channel)


def test_a_channel_with_a_mark_that_is_received_here_can_be_added(layers: MakeLayer) -> None:
    async def main() -> None:
        layer = layers()
        reader = asyncio.create_task(layer.receive("a!b"))
        await eventually(lambda: "a!b" in layer._channels and layer._channels["a!b"].subscribed)
        await layer.group_add("group", "a!b")
        await layer.group_send("group", {"text": "hello"})
        assert await reader == {"text": "hello"}

    run(main())


def test_a_channel_that_has_ended_here_can_be_added_again(layers: MakeLayer) -> None:
    layer = layers()
    channel = layer.new_channel().result()
    layer.close()
    layer.group_discard("group", channel)  # nothing
    layer.group_add("group", channel)
    layer.group_send("group", {"text": "hello"})
    assert layer.receive(channel).result() == {"text": "hello"}


@pytest.mark.parametrize(
    "control", [{}, {"group_add": "a b"}, {"group_add": 5}, {"flush": "a"}, {"a": "b", "c": "d"}]
)
def test_a_control_message_that_is_not_valid_is_dropped(
    layers: MakeLayer, redis_client: redis.Redis, control: Any
) -> None:
    async def main() -> None:
        layer = layers()
        channel = await layer.new_channel()
        redis_client.publish(channel, b"\xc1" + layer._codec.encode(control))
        await eventually(lambda: layer.dropped == 1)
        assert layer._channels[channel].controls == 0

    run(main())


def test_a_control_message_to_a_group_is_none(layers: MakeLayer, redis_client: redis.Redis) -> None:
    async def main() -> None:
        layer = layers()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        control = b"\xc1" + layer._codec.encode({"group_add": "other"})
        redis_client.publish("asgi__group__group", control)
        await layer.send(channel, {"text": "hello"})
        assert await layer.receive(channel) == {"text": "hello"}
        process = process_with(layer._shards[0].config, layer._shards[0].broker)
        assert process.stats()["channels"] == 2

    run(main())


def test_control_messages_at_once_are_bounded(layers: MakeLayer) -> None:
    layer = layers(capacity=2)
    own = layer._channels[layer.new_channel().result()]
    process = process_with(layer._shards[0].config, layer._shards[0].broker)
    payload = layer._codec.encode({"group_add": "group"})

    def three() -> None:
        for _ in range(3):
            layer.take_control(own, payload)

    process.loop.run(three)
    assert layer.dropped == 1
    deadline = time.monotonic() + SECONDS
    while own.controls:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_control_message_that_fails_is_logged(
    own_site: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    layer = RedisChannelLayer()
    own = layer._channels[layer.new_channel().result()]
    process = process_with(layer._shards[0].config, layer._shards[0].broker)
    own_site.stop()
    own.controls = 1
    process.loop.run(layer._control._execute, own, layer._codec.encode({"group_add": "group"}))
    deadline = time.monotonic() + SECONDS
    while own.controls:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert f"for {own.name}: the group group cannot be changed: Redis at" in caplog.text


def test_a_channel_that_ends_while_it_joins_leaves_nothing(layers: MakeLayer) -> None:
    layer = layers()
    own = layer._channels[layer.new_channel().result()]
    process = process_with(layer._shards[0].config, layer._shards[0].broker)
    own.ended = True
    process.loop.run(own.join, process, "asgi__group__group")
    assert process.stats()["channels"] == 0


# Queues


def test_the_message_of_a_cancelled_reader_is_put_back(
    layers: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        layer, other = layers(), layers()
        reader = asyncio.create_task(layer.receive("thumbnails"))
        await eventually(lambda: layer._readers)
        queue = layer._readers["thumbnails"]
        await eventually(lambda: queue.process.hub._receivers)
        monkeypatch.setattr(queue.inbox, "_give", lambda item: False)
        await layer.send("thumbnails", {"number": 1})
        await layer.send("thumbnails", {"number": 2})
        await eventually(lambda: queue.inbox.items)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        for number in (1, 2):
            assert await other.receive("thumbnails") == {"number": number}

    run(main())


# Options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"hosts": "redis://host"}, "hosts is not valid: write a list"),
        ({"hosts": {"host": "a"}}, "hosts is not valid: write a list"),
        ({"hosts": [5]}, "an entry of hosts is not valid: write a URL"),
        ({"hosts": [("a", 1, 2)]}, "an entry of hosts is not valid: write a URL"),
        ({"hosts": [{"address": 5}]}, "the address of an entry of hosts must be a URL"),
        ({"hosts": [{"sentinels": [("a", 1)], "master_name": "m"}]}, "not supported yet"),
        ({"prefix": 5}, "prefix=5 is not valid: write a str of at most 50 characters."),
        ({"prefix": "x" * 51}, "is not valid: write a str of at most 50 characters."),
        ({"serializer_format": "yaml"}, "serializer_format='yaml' is not valid: write 'msgpack'"),
        ({"symmetric_encryption_keys": "key"}, "is not valid: write a list of keys"),
    ],
)
def test_an_option_that_is_not_valid_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        RedisChannelLayer(**options)


def test_a_host_can_be_written_in_several_ways(
    redis_server: EmbeddedRedis, redis_client: redis.Redis
) -> None:
    url, port = redis_server.url, redis_server.port
    for host in (
        url,
        ("127.0.0.1", port),
        ["127.0.0.1", port],
        {"host": "127.0.0.1", "port": port},
        {"address": url},
        {"address": url, "socket_timeout": 5, "retry_on_timeout": True},
    ):
        layer = RedisChannelLayer(hosts=[host], on_disconnect=print, on_reconnect=None)
        layer.send("general", {"text": "hello"})
        assert layer.receive("general").result() == {"text": "hello"}
        assert asyncio.run(layer.send("general", {})) is None
        layer.flush()


def test_without_hosts_the_option_redis_is_read_on_first_use(
    redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = RedisChannelLayer()
    monkeypatch.setattr(sources, "_current", Config(redis=redis_url))
    layer.send("general", {})
    assert redis_client.exists("asgi__queue__general")


def test_the_longest_prefix_has_room_for_names(layers: MakeLayer) -> None:
    assert len(layers(prefix="x" * 50).new_channel().result()) < 100


def test_an_owner_that_has_closed_gets_no_new_channels(layers: MakeLayer) -> None:
    layer = layers()
    owner = ChannelOwner(lambda: None)
    owner.close()

    def make() -> None:
        channel_owner.set(owner)
        layer.new_channel()

    copy_context().run(make)
    assert layer._channels == {}


def test_a_channel_can_end_twice(layers: MakeLayer) -> None:
    layer = layers()
    own = layer._channels[layer.new_channel().result()]
    layer.end(own)
    layer.end(own)
    assert layer._channels == {}


def test_many_threads_read_one_queue(layers: MakeLayer) -> None:
    layer = layers()
    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(lambda: layer.receive("thumbnails").result()) for _ in range(8)]
        for number in range(8):
            layer.send("thumbnails", {"number": number})
        got = sorted(reader.result(SECONDS)["number"] for reader in readers)
    assert got == [*range(8)]
    assert layer._readers == {}


def test_a_message_above_the_limit_is_refused(layers: MakeLayer) -> None:
    layer = layers(max_event_size=100, serializer_format="json")
    layer.group_send("group", {"type": "x" * 80})
    with pytest.raises(MessageTooLarge, match="of 102 bytes is too large: shorten it to 100 bytes"):
        layer.group_send("group", {"type": "x" * 90})
    with pytest.raises(MessageTooLarge, match="too large"):
        layer.send("general", {"type": "x" * 90})


def test_leaving_a_group_begins_no_hub(layers: MakeLayer) -> None:
    layer = layers()
    channel = layer.new_channel().result()
    layer.group_add("group", channel)
    (process,) = wsredis.process._processes
    process.close()
    layer.group_discard("group", channel)
    layer._channels[channel].leave(process, "asgi__group__group")  # closed in the meantime
    assert wsredis.process._processes == []


def test_with_hosts_the_middleware_of_a_process_may_differ(layers: MakeLayer) -> None:
    both = [WebSocketMiddleware(None, redis=f"memory://{name}") for name in ("one", "two")]
    layer = layers()
    channel = layer.new_channel().result()
    layer.send(channel, {"text": "here"})
    assert layer.receive(channel).result() == {"text": "here"}
    for middleware in both:
        middleware.close()
