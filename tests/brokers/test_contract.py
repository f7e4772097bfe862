"""The contract of `wsredis.brokers.base`, tested with all brokers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from wsredis.brokers import Broker, broker_for, log_for, store_for
from wsredis.brokers.redis.broker import RedisBroker
from wsredis.config import Config
from wsredis.exceptions import WSRedisError
from wsredis.message import Message, encode
from wsredis.runtime.loop import Loop

NEWS, CHAT, MAIL = "ws:broadcast:news", "ws:broadcast:chat", "ws:user:alice:mail"


@pytest.mark.parametrize("data", ["hello", "", "Zoë 名 😀", b"\x00\xff", b"", b"plain"])
def test_who_subscribes_gets_what_is_published_as_it_was(
    broker: Broker, listen: Any, data: Any
) -> None:
    listener = listen(broker)
    assert listener.subscribe(NEWS) == []
    assert broker.publish([NEWS], encode(data), 0) == 1
    listener.wait_for(data)
    assert listener.messages[0].channel == NEWS


def test_a_megabyte_arrives_in_one_piece(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)
    broker.publish([NEWS], b"x" * 2**20, 0)
    listener.wait_for("x" * 2**20)


def test_a_channel_may_be_called_anything(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    for channel in ("ws:user:Zoë:", "a%0D%0Ab", "x" * 500):
        listener.subscribe(channel)
        broker.publish([channel], b"hello", 1000)
        listener.wait(lambda name=channel: [m.channel for m in listener.messages][-1:] == [name])
        assert broker.fetch([channel])[0].channel == channel


def test_publishing_counts_the_receivers_over_all_channels(broker: Broker, listen: Any) -> None:
    assert broker.publish([NEWS, CHAT], b"nobody", 0) == 0
    one, other = listen(broker), listen(broker)
    one.subscribe(NEWS, CHAT)
    other.subscribe(NEWS)
    assert broker.publish([NEWS, CHAT], b"both", 0) == 3
    assert broker.publish([CHAT], b"one", 0) == 1
    one.wait_for("both", "both", "one")
    other.wait_for("both")


def test_other_channels_are_not_delivered(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    listener.subscribe(CHAT)
    assert broker.publish([NEWS, MAIL], b"not for this one", 0) == 0
    broker.publish([CHAT], b"for this one", 0)
    listener.wait_for("for this one")


def test_a_channel_name_is_not_a_pattern(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    listener.subscribe("ws:broadcast:*", CHAT)
    broker.publish([NEWS], b"no", 0)
    broker.publish([CHAT], b"yes", 0)
    listener.wait_for("yes")


def test_an_unsubscribed_channel_is_not_delivered_any_more(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS, CHAT)
    listener.unsubscribe(NEWS)
    listener.subscribe(MAIL)  # whose confirmation comes after that of the other
    assert broker.publish([NEWS], b"too late", 0) == 0
    broker.publish([CHAT], b"still here", 0)
    listener.wait_for("still here")


def test_a_channel_can_be_left_and_joined_again(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    for word in ("one", "two", "three"):
        listener.subscribe(NEWS)
        assert broker.publish([NEWS], word.encode(), 0) == 1
        listener.unsubscribe(NEWS)
    listener.wait_for("one", "two", "three")


def test_subscribing_twice_delivers_once(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)
    listener.subscribe(NEWS, NEWS, CHAT)
    assert broker.publish([NEWS], b"once", 0) == 1
    broker.publish([CHAT], b"last", 0)
    listener.wait_for("once", "last")


def test_nothing_to_subscribe_or_to_leave_is_no_error(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    assert listener.subscribe() == []
    listener.unsubscribe()
    listener.unsubscribe(NEWS)
    listener.subscribe(NEWS)
    broker.publish([NEWS], b"hello", 0)
    listener.wait_for("hello")


def test_the_last_message_is_retained_for_newcomers(broker: Broker, listen: Any) -> None:
    broker.publish([NEWS], b"first", 60)
    broker.publish([NEWS, CHAT], encode(b"\xff"), 60)
    assert listen(broker).subscribe(MAIL, CHAT, NEWS) == [b"\xff", b"\xff"]
    broker.publish([CHAT], b"newer", 60)
    assert listen(broker).subscribe(NEWS, CHAT) == [b"\xff", "newer"]


def test_without_expire_nothing_is_retained_and_nothing_forgotten(
    broker: Broker, listen: Any
) -> None:
    broker.publish([NEWS], b"fleeting", 0)
    assert listen(broker).subscribe(NEWS) == []
    broker.publish([NEWS], b"retained", 60)
    broker.publish([NEWS], b"fleeting", 0)
    assert listen(broker).subscribe(NEWS) == ["retained"]


def test_an_empty_message_is_retained_too(broker: Broker, listen: Any) -> None:
    broker.publish([NEWS], b"", 60)
    assert listen(broker).subscribe(NEWS) == [""]


def test_what_is_returned_as_retained_is_not_delivered_afterwards(
    broker: Broker, listen: Any, loop: Loop
) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)

    def publish_and_join() -> tuple[list[Any], list[Any]]:
        for number in range(3):
            listener.feed.publish([NEWS], b"%d" % number, 60, lambda published: None)
        retained = listener.feed.subscribe([NEWS])
        return [message.data for message in retained], listener.data

    assert loop.run(publish_and_join) == (["2"], ["0", "1", "2"])


def test_a_subscribed_channel_tells_what_is_retained_again(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    assert listener.subscribe(NEWS) == []
    broker.publish([NEWS], b"retained", 60)
    assert listener.subscribe(NEWS) == ["retained"]
    listener.wait_for("retained")


def test_messages_arrive_in_the_order_they_were_published(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS, CHAT)
    for number in range(500):
        broker.publish([NEWS, CHAT][number % 2 :], str(number).encode(), 0)
    listener.wait(lambda: len(listener.data) == 750)
    for channel, step in ((CHAT, 1), (NEWS, 2)):
        got = [int(message.data) for message in listener.messages if message.channel == channel]
        assert got == list(range(0, 500, step))


def test_sockets_publish_in_order_without_waiting(broker: Broker, listen: Any) -> None:
    sender, other = listen(broker), listen(broker)
    sender.subscribe(NEWS)
    other.subscribe(NEWS, CHAT)
    for number in range(300):
        sender.publish([NEWS], str(number).encode(), number % 2 * 60)
    sender.publish([NEWS, CHAT], encode(b"end"), 60)
    numbers = [str(number) for number in range(300)]
    sender.wait_for(*numbers, b"end")
    other.wait_for(*numbers, b"end", b"end")
    assert [message.data for message in broker.fetch([NEWS, CHAT])] == [b"end", b"end"]
    assert sender.lost == sender.feed.stats.unpublished == 0


def test_one_turn_of_the_loop_is_delivered_together(
    broker: Broker, listen: Any, loop: Loop
) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)

    def burst() -> None:
        for number in range(16):
            listener.feed.publish([NEWS], b"%d" % number, 0, lambda published: None)

    loop.run(burst)
    listener.wait(lambda: len(listener.data) == 16)
    assert len(listener.batches) < 8


def test_no_message_falls_between_the_retained_one_and_the_first_delivered(
    broker: Broker, listen: Any
) -> None:
    """While numbers are published, whoever comes gets the last one and all from there on."""
    ends, said = threading.Event(), 0

    def speak() -> None:
        nonlocal said
        while not ends.is_set():
            broker.publish([NEWS], str(said).encode(), 60)
            said += 1
        broker.publish([NEWS], b"-1", 0)

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        listeners = [listen(broker) for _ in range(8)]
        retained = [listener.subscribe(NEWS) for listener in listeners]
    finally:
        ends.set()
        speaker.join()
    assert said > 0
    for listener, before in zip(listeners, retained, strict=True):
        listener.wait(lambda listener=listener: "-1" in listener.data)
        heard = [int(word) for word in listener.data][:-1]
        if before:
            heard = [int(before[0]), *(number for number in heard if number > int(before[0]))]
        assert heard == list(range(heard[0] if heard else said, said))


def test_many_may_join_one_channel_at_once(broker: Broker, listen: Any, loop: Loop) -> None:
    listener = listen(broker)
    broker.publish([NEWS], b"retained", 60)

    def join_all() -> list[Any]:
        joining = [gevent.spawn(listener.feed.subscribe, [NEWS]) for _ in range(20)]
        return [[m.data for m in each.get(timeout=30)] for each in joining]

    assert loop.run(join_all) == [["retained"]] * 20
    broker.publish([NEWS], b"hello", 0)
    listener.wait_for("hello")


def test_order_holds_while_a_delivery_gives_way(broker: Broker, listen: Any, loop: Loop) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)
    gate = listener.gate = loop.run(Event)
    broker.publish([NEWS], b"1", 0)
    assert listener.at_gate.wait(30)
    broker.publish([NEWS], b"2", 0)
    begun = threading.Event()

    def join() -> None:
        begun.set()
        listener.feed.subscribe([CHAT])

    joining = threading.Thread(target=loop.run, args=(join,))
    joining.start()
    assert begun.wait(30)
    broker.publish([NEWS], b"3", 0)
    loop.run(gate.set)
    joining.join(30)
    listener.wait_for("1", "2", "3")


def test_a_feed_says_that_it_is_connected_and_counts_nothing_yet(
    broker: Broker, listen: Any
) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)
    stats = listener.feed.stats
    assert (stats.connected, stats.gaps, stats.reconnects, stats.unpublished) == (True, 0, 0, 0)
    assert listener.feed.refused() == []


def test_what_cannot_be_delivered_costs_these_messages_only(
    broker: Broker, listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)
    listener.failing = LookupError("a listener failed")
    before = time.monotonic()
    broker.publish([NEWS], b"one", 0)
    listener.wait_for("one")
    listener.failing = None
    assert listener.subscribe(CHAT) == []
    broker.publish([NEWS, CHAT], b"two", 0)
    listener.wait_for("one", "two", "two")
    assert listener.feed.stats.gaps == 1
    assert before <= listener.feed.stats.lost_at <= time.monotonic()
    assert "a listener failed" in caplog.text


def test_a_gap_is_reported_on_the_loop_before_the_next_message(
    broker: Broker, listen: Any, loop: Loop
) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)
    reported: list[tuple[bool, int, list[Any]]] = []

    def report() -> None:
        reported.append((loop.is_here, listener.feed.stats.gaps, listener.data))

    loop.run(setattr, listener.feed.stats, "on_gap", report)
    listener.failing = LookupError("a listener failed")
    broker.publish([NEWS], b"one", 0)
    listener.wait_for("one")
    listener.failing = None
    broker.publish([NEWS], b"two", 0)
    listener.wait_for("one", "two")
    assert reported == [(True, 1, ["one"])]


def test_who_delivers_can_be_replaced_and_gets_the_next_message(
    broker: Broker, listen: Any, loop: Loop, eventually: Callable[..., None]
) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)
    broker.publish([NEWS], b"one", 0)
    listener.wait_for("one")
    others: list[Any] = []

    def deliver(messages: list[Message]) -> Iterator[None]:
        others.extend(message.data for message in messages)
        yield

    loop.run(setattr, listener.feed, "deliver", deliver)
    broker.publish([NEWS], b"two", 0)
    eventually(lambda: others == ["two"])
    assert listener.data == ["one"]


def test_a_closed_feed_delivers_nothing(
    broker: Broker, listen: Any, eventually: Callable[..., None]
) -> None:
    gone, here = listen(broker), listen(broker)
    gone.subscribe(NEWS)
    here.subscribe(NEWS)
    gone.close()
    eventually(lambda: broker.publish([NEWS], b"hello", 0) == 1)
    here.wait(lambda: here.data)
    assert gone.data == []
    assert not gone.feed.stats.connected


def test_what_is_retained_is_fetched_in_the_order_asked(broker: Broker) -> None:
    broker.publish([NEWS], b"news", 60)
    broker.publish([MAIL], encode(b"\x00"), 60)
    got = broker.fetch([MAIL, CHAT, NEWS])
    assert [(message.channel, message.data) for message in got] == [(MAIL, b"\x00"), (NEWS, "news")]
    assert broker.fetch([CHAT]) == []
    assert broker.fetch([]) == []


def test_an_asyncio_program_publishes_the_same_way(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS, CHAT)

    async def publish() -> list[int]:
        counts = [await broker.apublish([NEWS, CHAT], b"0", 60)]
        for number in range(1, 5):
            counts.append(await broker.apublish([NEWS], str(number).encode(), 0))
        return counts

    assert asyncio.run(publish()) == [2, 1, 1, 1, 1]
    listener.wait_for("0", "0", "1", "2", "3", "4")
    assert [message.data for message in broker.fetch([NEWS, CHAT])] == ["0", "0"]


def test_threads_publish_side_by_side(broker: Broker, listen: Any) -> None:
    listener = listen(broker)
    listener.subscribe(NEWS)
    errors: list[WSRedisError] = []
    ready = threading.Barrier(150)

    def publish(name: int) -> None:
        ready.wait()
        try:
            for number in range(3):
                broker.publish([NEWS], f"{name} {number}".encode(), 0)
        except WSRedisError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=publish, args=(name,)) for name in range(150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    listener.wait(lambda: len(listener.data) == 450)
    for name in range(150):
        words = [str(word) for word in listener.data if str(word).startswith(f"{name} ")]
        assert words == [f"{name} {number}" for number in range(3)]


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_without_the_envelope_all_doors_see_raw_bytes(
    kind: str, request: pytest.FixtureRequest, listen: Any, loop: Loop
) -> None:
    where = "memory://raw" if kind == "memory" else request.getfixturevalue("redis_url")
    broker = broker_for(Config(redis=where, envelope=False))
    listener = listen(broker)
    listener.subscribe("ws:broadcast:raw")
    broker.publish(["ws:broadcast:raw"], b"\xffBx", 60)
    listener.wait_for(b"\xffBx")
    assert [message.data for message in broker.fetch(["ws:broadcast:raw"])] == [b"\xffBx"]
    assert listen(broker).subscribe("ws:broadcast:raw") == [b"\xffBx"]
    log_for(Config(redis=where, envelope=False)).append("ws:log:raw", b"\xffBx", 60, 5)
    logged = loop.run(listener.feed.logged, "ws:log:raw")
    assert [message.data for message in logged] == [b"\xffBx"]


@pytest.mark.parametrize("where", ["memory://", "memory://here", "redis://127.0.0.1:1"])
@pytest.mark.parametrize("find", [broker_for, log_for, store_for])
def test_a_process_has_one_broker_log_and_store_for_one_address(
    find: Callable[[Config], object], where: str
) -> None:
    assert find(Config(redis=where)) is find(Config(redis=where, expire=5))
    assert find(Config(redis=where)) is not find(Config(redis=where + "/2"))


@pytest.mark.parametrize("where", ["memory://log", "redis://127.0.0.1:1"])
def test_what_is_logged_goes_through_the_broker_of_the_same_address(where: str) -> None:
    assert log_for(Config(redis=where)) is broker_for(Config(redis=where))


def test_a_dict_is_an_address_too_whatever_its_order() -> None:
    one = broker_for(Config(redis={"host": "localhost", "port": 1}))
    assert isinstance(one, RedisBroker)
    assert broker_for(Config(redis={"port": 1, "host": "localhost"})) is one
    assert broker_for(Config(redis={"port": 2, "host": "localhost"})) is not one
