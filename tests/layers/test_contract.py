"""What all channel layers have in common, tested with ours and those of Channels."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import channels.exceptions
import gevent
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction

from wsredis.layers import ChannelFull, base

from .support import SECONDS, eventually, run

MakeLayer = Callable[..., Any]

EVERYTHING = {
    "type": "chat.message",
    "text": "Zoë 名 😀",
    "numbers": [0, -1, 2**63 - 1, -(2**63), 1.5],
    "nested": {"list": [{"deep": None}], "flag": True},
    "empty": {},
}

METHODS = [
    *("send", "receive", "new_channel", "group_add", "group_discard", "group_send"),
    *("flush", "close"),
]


def test_a_message_arrives_as_it_was_sent(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        channel = await layer.new_channel()
        await layer.send(channel, {**EVERYTHING, "bytes": b"\x00\xff"})
        assert await layer.receive(channel) == {**EVERYTHING, "bytes": b"\x00\xff"}

    run(main())


def test_messages_arrive_in_order(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        channel = await layer.new_channel()
        for number in range(50):
            await layer.send(channel, {"number": number})
        assert [(await layer.receive(channel))["number"] for _ in range(50)] == [*range(50)]

    run(main())


def test_a_megabyte_arrives(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        channel = await layer.new_channel()
        await layer.send(channel, {"bytes": b"x" * 2**20})
        assert await layer.receive(channel) == {"bytes": b"x" * 2**20}

    run(main())


def test_a_message_is_a_copy(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        one, other = await layer.new_channel(), await layer.new_channel()
        await layer.group_add("group", one)
        await layer.group_add("group", other)
        message = {"inner": [1]}
        await layer.group_send("group", message)
        message["inner"].append(2)
        got = await layer.receive(one)
        got["inner"].append(3)
        assert await layer.receive(other) == {"inner": [1]}

    run(main())


def test_each_new_channel_has_another_valid_name(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        names = [await layer.new_channel() for _ in range(20)]
        assert len(set(names)) == 20
        assert all(isinstance(name, str) and len(name) < 100 for name in names)
        assert "specific" in names[0]
        assert "other" in await layer.new_channel(prefix="other.")

    run(main())


def test_members_of_a_group_get_its_messages_and_others_do_not(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        one, two, other = [await layer.new_channel() for _ in range(3)]
        for member in (one, two, two):  # twice is once
            await layer.group_add("group", member)
        await layer.group_add("others", other)
        await layer.group_send("group", {"text": "to the group"})
        await layer.group_send("nobody", {"text": "to nobody"})
        for channel in (one, two, other):
            await layer.send(channel, {"text": "to one"})
        for channel in (one, two):
            assert await layer.receive(channel) == {"text": "to the group"}
        for channel in (one, two, other):
            assert await layer.receive(channel) == {"text": "to one"}

    run(main())


def test_a_channel_that_has_left_a_group_gets_nothing(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        one, two = await layer.new_channel(), await layer.new_channel()
        for channel in (one, two):
            await layer.group_add("group", channel)
        await layer.group_discard("group", one)
        await layer.group_discard("group", one)
        await layer.group_discard("never", one)
        await layer.group_send("group", {"text": "to the group"})
        assert await layer.receive(two) == {"text": "to the group"}
        await layer.send(one, {"text": "to one"})
        assert await layer.receive(one) == {"text": "to one"}

    run(main())


def test_a_reader_that_waits_gets_the_message(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        channel = await layer.new_channel()
        reader = asyncio.create_task(layer.receive(channel))
        await asyncio.sleep(0)
        await layer.send(channel, {"text": "hello"})
        assert await reader == {"text": "hello"}

    run(main())


def test_a_cancelled_reader_takes_no_message_with_it(our_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = our_layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        for _ in range(2):
            reader = asyncio.create_task(layer.receive(channel))
            await asyncio.sleep(0)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            await layer.group_send("group", {"text": "hello"})
            assert await layer.receive(channel) == {"text": "hello"}

    run(main())


def test_flush_leaves_nothing(any_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = any_layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.send("general", {"text": "old"})
        await layer.flush()
        new = await layer.new_channel()
        await layer.group_send("group", {"text": "to a group"})
        await layer.send(new, {"text": "new"})
        assert await layer.receive(new) == {"text": "new"}

    run(main())


def test_flush_empties_general_channels(queue_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = queue_layer()
        await layer.send("general", {"text": "old"})
        await layer.flush()
        await layer.send("general", {"text": "new"})
        assert await layer.receive("general") == {"text": "new"}

    run(main())


def test_what_a_layer_can_do_is_announced(any_layer: MakeLayer) -> None:
    async def main() -> None:
        assert set(any_layer().extensions) == {"groups", "flush"}

    run(main())


# General channels


def test_a_message_to_a_general_channel_waits_for_a_reader(queue_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = queue_layer()
        for number in range(3):
            await layer.send("thumbnails", {"number": number})
        assert [await layer.receive("thumbnails") for _ in range(3)] == [
            {"number": number} for number in range(3)
        ]

    run(main())


def test_one_of_several_readers_gets_a_message(queue_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = queue_layer()
        got: list[int] = []

        async def read() -> None:
            while True:
                got.append((await layer.receive("thumbnails"))["number"])

        readers = [asyncio.create_task(read()) for _ in range(3)]
        for number in range(30):
            await layer.send("thumbnails", {"number": number})
        await eventually(lambda: len(got) >= 30)
        assert sorted(got) == [*range(30)]
        for reader in readers:
            reader.cancel()

    run(main())


def test_a_full_general_channel_says_so(queue_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = queue_layer(capacity=3)
        for number in range(3):
            await layer.send("thumbnails", {"number": number})
        with pytest.raises(channels.exceptions.ChannelFull, match="thumbnails"):
            await layer.send("thumbnails", {"number": 3})
        assert await layer.receive("thumbnails") == {"number": 0}
        await layer.send("thumbnails", {"number": 4})

    run(main())


def test_a_cancelled_reader_of_a_general_channel_takes_no_message(our_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = our_layer()
        for number in range(5):
            reader = asyncio.create_task(layer.receive("thumbnails"))
            await asyncio.sleep(0)
            await layer.send("thumbnails", {"number": number})
            reader.cancel()
            try:
                assert await reader == {"number": number}
            except asyncio.CancelledError:
                assert await layer.receive("thumbnails") == {"number": number}

    run(main())


# Capacity


def test_a_full_own_channel_says_so(our_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = our_layer(capacity=3)
        channel = await layer.new_channel()
        for number in range(3):
            await layer.send(channel, {"number": number})
        with pytest.raises(ChannelFull, match="3 messages wait already"):
            await layer.send(channel, {"number": 3})
        assert await layer.receive(channel) == {"number": 0}
        await layer.send(channel, {"number": 4})

    run(main())


def test_a_group_is_sent_to_although_a_member_is_full(our_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = our_layer(channel_capacity={"*": 2})
        full, other = await layer.new_channel(), await layer.new_channel()
        for channel in (full, other):
            await layer.group_add("group", channel)
        for number in range(4):
            await layer.group_send("group", {"number": number})
            assert await layer.receive(other) == {"number": number}
        await layer.group_add("other", other)
        await layer.group_send("other", {})  # when it arrives, all earlier messages have arrived
        assert await layer.receive(other) == {}
        assert [await layer.receive(full) for _ in range(2)] == [{"number": 0}, {"number": 1}]
        await layer.group_send("group", {"number": 4})
        assert await layer.receive(full) == {"number": 4}

    run(main())


def test_the_first_pattern_that_matches_gives_the_capacity(our_layer: MakeLayer) -> None:
    layer = our_layer(
        capacity=7, channel_capacity={"http.*": 1, re.compile(r"http\.a+$"): 2, "long-name-*": 3}
    )
    names = "http.aa", "http.b", "long-name-of-a-channel", "other"
    assert [layer.get_capacity(name) for name in names] == [1, 1, 3, 7]


# Wrong arguments


@pytest.mark.parametrize(
    "name", ["", "a b", "Zoë", "a" * 100, "a\n", "a!b!c", "a!\n", "a!é", "!", "a:b", 5, None, b"a"]
)
def test_a_channel_name_that_is_not_valid_is_a_type_error(our_layer: MakeLayer, name: Any) -> None:
    async def main() -> None:
        layer = our_layer()
        for call in (
            lambda: layer.send(name, {}),
            lambda: layer.receive(name),
            lambda: layer.group_add("group", name),
            lambda: layer.group_discard("group", name),
        ):
            with pytest.raises(TypeError, match="not a valid channel name: write a str of less"):
                await call()

    run(main())


@pytest.mark.parametrize("name", ["", "a b", "Zoë", "a" * 100, "a\n", "a!b", "a:b", 5, None, b"a"])
def test_a_group_name_that_is_not_valid_is_a_type_error(our_layer: MakeLayer, name: Any) -> None:
    async def main() -> None:
        layer = our_layer()
        channel = await layer.new_channel()
        for call in (
            lambda: layer.group_send(name, {}),
            lambda: layer.group_add(name, channel),
            lambda: layer.group_discard(name, channel),
        ):
            with pytest.raises(TypeError, match="not a valid group name: write a str of less"):
                await call()

    run(main())


def test_the_longest_name_is_valid(our_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = our_layer()
        await layer.send("a" * 99, {"text": "hello"})
        assert await layer.receive("a" * 99) == {"text": "hello"}

    run(main())


def test_a_new_channel_with_a_bad_prefix_is_refused(our_layer: MakeLayer) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="not a valid channel name"):
            await our_layer().new_channel(prefix="a b")

    run(main())


@pytest.mark.parametrize("message", [None, "text", [1], b"bytes", [("type", "a")]])
def test_a_message_that_is_no_dict_is_a_type_error(our_layer: MakeLayer, message: Any) -> None:
    async def main() -> None:
        layer = our_layer()
        for call in (layer.send, layer.group_send):
            with pytest.raises(TypeError, match="a message must be a dict, not"):
                await call("general", message)

    run(main())


def test_a_value_that_cannot_be_sent_is_a_type_error(our_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = our_layer()
        for call in (layer.send, layer.group_send):
            with pytest.raises(TypeError, match="this message cannot be sent"):
                await call("general", {"lock": threading.Lock()})

    run(main())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"capacity": 0}, "capacity=0 is not valid: write a number above 0."),
        ({"capacity": True}, "capacity=True is not valid: write a number above 0."),
        ({"channel_capacity": {"a*": "5"}}, r"channel_capacity\['a\*'\]='5' is not valid"),
        ({"expiry": 0}, "expiry=0 is not valid: write seconds above 0."),
        ({"group_expiry": "x"}, "group_expiry='x' is not valid: write seconds above 0."),
        ({"expiry": float("inf")}, "expiry=inf is not valid"),
    ],
)
def test_an_option_that_is_not_valid_is_refused(
    our_layer: MakeLayer, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        our_layer(**options)


# From sync code, threads, greenlets and several loops


def test_every_method_is_a_plain_call(our_layer: MakeLayer) -> None:
    layer = our_layer()
    channel = layer.new_channel().result()
    layer.group_add("group", channel)
    layer.group_send("group", {"text": "to the group"})
    layer.send(channel, {"text": "to one"})
    got = [layer.receive(channel).result() for _ in range(2)]
    assert got == [{"text": "to the group"}, {"text": "to one"}]
    layer.group_discard("group", channel)
    layer.send("thumbnails", {"text": "to a worker"})
    assert layer.receive("thumbnails").result() == {"text": "to a worker"}
    layer.flush()
    layer.close()


def test_an_error_of_a_plain_call_is_raised_by_it(our_layer: MakeLayer) -> None:
    layer = our_layer(capacity=1)
    layer.send("general", {})
    with pytest.raises(ChannelFull):
        layer.send("general", {})


def test_the_result_of_a_plain_call_can_be_awaited(our_layer: MakeLayer) -> None:
    layer = our_layer()
    channel = asyncio.run(layer.new_channel())
    asyncio.run(layer.send(channel, {"text": "hello"}))
    assert asyncio.run(layer.receive(channel)) == {"text": "hello"}


def test_every_method_works_through_async_to_sync(our_layer: MakeLayer) -> None:
    layer = our_layer()
    channel = async_to_sync(layer.new_channel)()
    async_to_sync(layer.group_add)("group", channel)
    async_to_sync(layer.group_send)("group", {"text": "to the group"})
    async_to_sync(layer.send)(channel, {"text": "to one"})
    got = [async_to_sync(layer.receive)(channel) for _ in range(2)]
    assert got == [{"text": "to the group"}, {"text": "to one"}]
    async_to_sync(layer.group_discard)("group", channel)
    async_to_sync(layer.flush)()
    async_to_sync(layer.close)()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_counts_as_a_coroutine_function(our_layer: MakeLayer, method: str) -> None:
    assert iscoroutinefunction(getattr(our_layer(), method))


@pytest.mark.parametrize("channel", ["own", "thumbnails"])
def test_a_thread_waits_for_a_message_of_another(our_layer: MakeLayer, channel: str) -> None:
    layer = our_layer()
    if channel == "own":
        channel = layer.new_channel().result()
    with ThreadPoolExecutor() as pool:
        reader = pool.submit(lambda: layer.receive(channel).result())
        pool.submit(layer.send, channel, {"text": "hello"})
        assert reader.result(SECONDS) == {"text": "hello"}


@pytest.mark.parametrize("channel", ["own", "thumbnails"])
def test_greenlets_wait_without_blocking_their_loop(our_layer: MakeLayer, channel: str) -> None:
    def main() -> Any:
        layer = our_layer()
        name = layer.new_channel().result() if channel == "own" else channel
        reader = gevent.spawn(lambda: layer.receive(name).result())
        gevent.sleep(0)
        layer.send(name, {"text": "hello"})
        return reader.get(timeout=SECONDS)

    assert gevent.spawn(main).get(timeout=SECONDS) == {"text": "hello"}


@pytest.mark.parametrize("channel", ["own", "thumbnails"])
def test_a_greenlet_that_gives_up_takes_no_message(our_layer: MakeLayer, channel: str) -> None:
    def main() -> Any:
        layer = our_layer()
        name = layer.new_channel().result() if channel == "own" else channel
        with gevent.Timeout(0.01, False):
            layer.receive(name)
        layer.send(name, {"text": "hello"})
        return layer.receive(name).result()

    assert gevent.spawn(main).get(timeout=SECONDS) == {"text": "hello"}


def test_event_loops_and_threads_share_a_layer(our_layer: MakeLayer) -> None:
    layer = our_layer(capacity=1000)
    channels_ = [layer.new_channel().result() for _ in range(3)]
    for channel in channels_:
        layer.group_add("group", channel)

    async def read(channel: str) -> list[int]:
        return [(await layer.receive(channel))["number"] for _ in range(40)]

    async def send(first: int) -> None:
        for number in range(first, first + 20):
            await layer.group_send("group", {"number": number})

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(run, read(channel)) for channel in channels_]
        pool.submit(run, send(0))
        for number in range(20, 40):
            layer.group_send("group", {"number": number})
        for reader in readers:
            got = reader.result(SECONDS)
            assert [number for number in got if number < 20] == [*range(20)]
            assert [number for number in got if number >= 20] == [*range(20, 40)]


def test_after_a_fork_a_layer_is_empty(our_layer: MakeLayer) -> None:
    layer = our_layer()
    layer.send("general", {})
    layer.new_channel()
    before = dict(layer._channels)
    base._after_fork()
    assert before
    assert layer._channels == {}
    for channel in before.values():
        getattr(channel, "end", lambda: None)()


def test_without_channels_the_exceptions_are_ours_only(
    our_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = our_layer(capacity=1)
    layer.send("general", {})
    monkeypatch.delitem(sys.modules, "channels.exceptions")
    with pytest.raises(ChannelFull) as full:
        layer.send("general", {})
    assert type(full.value) is ChannelFull
