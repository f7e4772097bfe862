"""What only the layer in memory does: expiry, and what is left behind."""

from __future__ import annotations

import asyncio
import time
from contextvars import copy_context
from typing import Any

import pytest

from wsredis.layers import ChannelFull, InMemoryChannelLayer
from wsredis.layers import memory as memory_module
from wsredis.runtime.owner import ChannelOwner, channel_owner

from .support import run


class Later:
    ahead = 0.0


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Give a clock that the test moves."""
    later = Later()
    start = time.monotonic()
    monkeypatch.setattr(memory_module, "_clock", lambda: start + later.ahead)
    return later


def receive(layer: InMemoryChannelLayer, channel: str) -> Any:
    return layer.receive(channel).result()


def test_an_unread_message_expires_and_its_channel_leaves_its_groups(later: Later) -> None:
    layer = InMemoryChannelLayer(expiry=60)
    channel, other = layer.new_channel().result(), layer.new_channel().result()
    for group in ("one", "two"):
        layer.group_add(group, channel)
    layer.group_add("one", other)
    later.ahead = 1.0
    layer.send(channel, {"text": "old"})
    later.ahead = 60.5
    layer.send(channel, {"text": "newer"})
    later.ahead = 61.5
    layer.group_send("one", {"text": "to the group"})
    layer.group_send("two", {"text": "to the group"})
    assert receive(layer, channel) == {"text": "newer"}
    assert receive(layer, other) == {"text": "to the group"}
    assert set(layer._groups) == {"one"}
    assert layer._channels == {}


@pytest.mark.parametrize("action", ["send", "receive", "group_send"])
def test_messages_that_nobody_reads_are_not_kept(later: Later, action: str) -> None:
    layer = InMemoryChannelLayer()
    for number in range(10):
        layer.send(f"general-{number}", {})
    layer.send("other", {"text": "first"})
    later.ahead = 61.0
    if action == "send":
        layer.send("other", {})
        assert set(layer._channels) == {"other"}
    elif action == "group_send":
        layer.group_send("group", {})
        assert layer._channels == {}
    else:

        async def main() -> None:
            reader = asyncio.create_task(layer.receive("other"))
            await asyncio.sleep(0)
            assert set(layer._channels) == {"other"}
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            assert layer._channels == {}

        run(main())


def test_expired_messages_take_no_room(later: Later) -> None:
    layer = InMemoryChannelLayer(capacity=1)
    layer.send("general", {"text": "old"})
    later.ahead = 59.9
    with pytest.raises(ChannelFull):
        layer.send("general", {})
    later.ahead = 60.1  # less than a second after the last sweep
    layer.send("general", {"text": "new"})
    assert receive(layer, "general") == {"text": "new"}


def test_a_membership_expires(later: Later) -> None:
    layer = InMemoryChannelLayer(group_expiry=100)
    old, new = layer.new_channel().result(), layer.new_channel().result()
    layer.group_add("group", old)
    later.ahead = 60.0
    layer.group_add("group", new)
    later.ahead = 101.0
    layer.group_send("group", {"text": "hello"})
    assert receive(layer, new) == {"text": "hello"}
    assert set(layer._groups["group"]) == {new}
    later.ahead = 161.0
    layer.group_send("group", {"text": "hello"})
    assert layer._groups == {}


def test_any_channel_can_be_a_member_of_a_group() -> None:
    layer = InMemoryChannelLayer()
    layer.group_add("group", "general")
    layer.group_send("group", {"text": "hello"})
    assert receive(layer, "general") == {"text": "hello"}


def test_flush_leaves_waiting_readers_alone() -> None:
    async def main() -> None:
        layer = InMemoryChannelLayer()
        reader = asyncio.create_task(layer.receive("general"))
        await asyncio.sleep(0)
        await layer.flush()
        await layer.send("general", {"text": "hello"})
        assert await reader == {"text": "hello"}

    run(main())


def test_channels_end_with_their_application() -> None:
    layer = InMemoryChannelLayer()
    owner = ChannelOwner(lambda: None)

    def application() -> str:
        channel_owner.set(owner)
        channel = layer.new_channel().result()
        layer.group_add("group", channel)
        layer.send(channel, {})
        return channel

    copy_context().run(application)
    other = layer.new_channel().result()
    layer.group_add("group", other)
    owner.close()
    assert layer._channels == {}
    assert set(layer._groups["group"]) == {other}


def test_a_reader_of_a_channel_that_has_ended_harms_no_new_one() -> None:
    async def main() -> None:
        layer = InMemoryChannelLayer()
        old = asyncio.create_task(layer.receive("general"))
        await asyncio.sleep(0)
        layer._end("general")
        new = asyncio.create_task(layer.receive("general"))
        await asyncio.sleep(0)
        old.cancel()
        await asyncio.gather(old, return_exceptions=True)
        await layer.send("general", {"text": "hello"})
        assert await new == {"text": "hello"}

    run(main())
