"""The feed over links to a `FakeRedis`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gevent.event import Event

from wsredis.brokers.redis import feed as feed_module
from wsredis.brokers.redis import outgoing
from wsredis.exceptions import BrokerUnavailable
from wsredis.runtime.loop import Loop

from .fake import CHAT, NEWS, SECONDS, Broker, Call, FakeRedis, confirmed, message, unsubscribed


def test_a_newcomer_waits_for_redis_to_confirm(fake: FakeRedis, listener: Any) -> None:
    joining = Call(listener.subscribe, NEWS)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(confirmed(NEWS), message("1"))
    listener.wait_for("1")
    assert joining.is_alive()
    peer.say(b"$8\r\nretained\r\n:1\r\n")
    assert joining.result() == ["retained"]


def test_one_channel_takes_publish_and_several_take_a_transaction(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    listener.publish([NEWS], b"x")
    peer.expect("PUBLISH", NEWS, "x")
    listener.publish([NEWS, CHAT], b"y")
    for words in (["MULTI"], ["PUBLISH", NEWS, "y"], ["PUBLISH", CHAT, "y"], ["EXEC"]):
        peer.expect(*words)
    listener.publish([NEWS], b"z", 60)
    for words in (["MULTI"], ["SET", NEWS, "z", "EX", "60"], ["PUBLISH", NEWS, "z"], ["EXEC"]):
        peer.expect(*words)
    queued = b"+QUEUED\r\n"
    peer.say(b":1\r\n", b"+OK\r\n", queued * 2, b"*2\r\n:1\r\n:0\r\n")
    peer.say(b"+OK\r\n", queued * 2, b"*2\r\n+OK\r\n:1\r\n")
    joining = Call(listener.subscribe, NEWS)
    peer.accept(NEWS)
    joining.result()
    assert listener.lost == 0


@pytest.mark.parametrize(
    ("channels", "replies"),
    [
        ([NEWS], [b"-NOPERM no\r\n"]),
        ([NEWS, CHAT], [b"+OK\r\n-NOPERM no\r\n+QUEUED\r\n-EXECABORT discarded\r\n"]),
    ],
)
def test_what_redis_refuses_to_publish_is_lost(
    channels: list[str], replies: list[bytes], fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    listener.publish(channels, b"x")
    peer.say(*replies)
    listener.wait(lambda: listener.lost)
    assert listener.lost == listener.feed.stats.unpublished == 1
    assert listener.feed.stats.gaps == 0


def test_what_is_unanswered_when_the_link_ends_is_lost(fake: FakeRedis, listener: Any) -> None:
    peer = fake.peer()
    for payload in (b"1", b"2", b"3"):
        listener.publish([NEWS], payload)
    for payload in "123":  # what is not read would reset the connection, and its answers with it
        peer.expect("PUBLISH", NEWS, payload)
    peer.say(b":0\r\n")
    peer.close()
    listener.wait(lambda: listener.lost == 2)
    assert listener.feed.stats.unpublished == 2


def test_what_is_published_while_redis_is_unavailable_waits_in_order(
    fake: FakeRedis, listener: Any, eventually: Callable[..., None]
) -> None:
    peer = fake.peer()
    joining = Call(listener.subscribe, NEWS)
    peer.accept(NEWS)
    joining.result()
    fake.unavailable = True
    peer.close()
    eventually(lambda: not listener.feed.stats.connected)
    for payload in (b"1", b"2", b"3"):
        listener.publish([NEWS], payload)
    assert listener.lost == 0
    fake.unavailable = False
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    for payload in ("1", "2", "3"):
        peer.expect("PUBLISH", NEWS, payload)
    peer.say(confirmed(NEWS), message("1"), b":1\r\n")
    listener.wait_for("1")


def test_too_much_that_is_unanswered_is_refused_at_once(
    fake: FakeRedis, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "MAX_WAITING", 1000)
    peer = fake.peer()
    listener.publish([NEWS], b"x" * 3000)  # alone it may be as large as it likes
    listener.publish([NEWS], b"y")
    assert listener.lost == listener.feed.stats.unpublished == 1
    peer.expect("PUBLISH", NEWS, "x" * 3000)
    peer.say(b":0\r\n", message("on"))
    listener.wait_for("on")
    listener.publish([NEWS, CHAT], b"z" * 500)
    assert listener.lost == 1
    listener.publish([NEWS], b"z")
    assert listener.lost == 2


def test_after_a_cut_it_subscribes_to_all_that_is_wanted_and_counts_the_gap(
    fake: FakeRedis,
    listener: Any,
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(feed_module, "SUBSCRIBE_AT_ONCE", 2)
    peer = fake.peer()
    joining = Call(listener.subscribe, "a", "b", "c", "d", "e")
    peer.accept("a", "b", "c", "d", "e")
    joining.result()
    listener.unsubscribe("b")
    peer.expect("UNSUBSCRIBE", "b")
    assert listener.feed.stats.gaps == 0
    peer.close()
    peer = fake.peer()
    peer.expect("SUBSCRIBE", "a", "c")
    peer.expect("SUBSCRIBE", "d", "e")
    peer.say(*map(confirmed, "acd"), message("hello", "a"))
    listener.wait_for("hello")
    stats = listener.feed.stats
    assert (stats.connected, stats.gaps, stats.reconnects) == (False, 1, 0)
    peer.say(confirmed("e"), message("again", "e"))
    listener.wait_for("hello", "again")
    assert (stats.connected, stats.gaps, stats.reconnects) == (True, 1, 1)
    assert "messages may be missed" in caplog.text
    eventually(lambda: "4 channels subscribed again" in caplog.text)


def test_a_cut_while_it_subscribes_again_does_not_refuse_newcomers_later(
    fake: FakeRedis, listener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peer = fake.peer()
    joining = Call(listener.subscribe, NEWS)
    peer.accept(NEWS)
    joining.result()
    peer.close()
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.close()  # before it is confirmed
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.say(confirmed(NEWS))
    newcomer = Call(listener.subscribe, NEWS)
    peer.track(NEWS, first=True)
    assert newcomer.result() == []
    assert "refuses" not in caplog.text


def test_after_a_cut_a_channel_that_is_refused_takes_no_other_with_it(
    fake: FakeRedis, listener: Any, eventually: Callable[..., None]
) -> None:
    joining = Call(listener.subscribe, NEWS, CHAT)
    peer = fake.peer()
    peer.accept(NEWS, CHAT)
    joining.result()
    peer.close()
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS, CHAT)
    peer.say(b"-NOPERM not one of these channels\r\n")
    asked = {tuple(peer.next()) for _ in range(2)}
    assert asked == {("SUBSCRIBE", NEWS), ("SUBSCRIBE", CHAT)}
    eventually(lambda: listener.feed.stats.connected)


def test_a_refused_channel_is_refused_in_redis_words_and_can_be_tried_again(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    joining = Call(listener.subscribe, NEWS)
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(b"-NOPERM not this channel\r\n", b"$0\r\n\r\n:0\r\n")
    with pytest.raises(BrokerUnavailable, match="NOPERM not this channel"):
        joining.result()
    listener.unsubscribe(NEWS)
    peer.expect("UNSUBSCRIBE", NEWS)
    peer.say(unsubscribed(NEWS))
    again = Call(listener.subscribe, NEWS)
    peer.accept(NEWS)
    assert again.result() == []
    assert listener.feed.stats.gaps == 0


def test_a_newcomer_is_refused_when_the_link_ends_before_redis_answers(
    fake: FakeRedis, listener: Any
) -> None:
    joining = Call(listener.subscribe, NEWS)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.close()
    with pytest.raises(BrokerUnavailable, match="lost"):
        joining.result()


def test_while_redis_is_unavailable_newcomers_are_refused_as_soon_as_that_is_known(
    fake: FakeRedis, listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fake.unavailable = True
    listener = listen(Broker(fake, 100 * SECONDS))  # the listener itself would be done sooner
    with pytest.raises(BrokerUnavailable, match=r"^the fake is unavailable$"):
        listener.subscribe(NEWS)
    assert caplog.text.count("cannot connect, retrying: the fake is unavailable") == 1


def test_while_a_link_is_made_newcomers_wait_for_it(
    fake: FakeRedis, listener: Any, loop: Loop, eventually: Callable[..., None]
) -> None:
    first = fake.peer()
    fake.gate = loop.run(Event)
    first.close()
    eventually(lambda: fake.attempts == 2)
    joining = Call(listener.subscribe, NEWS)
    eventually(lambda: listener.feed._tried.linkcount())  # somebody waits for the attempt
    assert joining.is_alive()
    loop.run(fake.gate.set)
    fake.peer().accept(NEWS)
    assert joining.result() == []


def test_it_tries_again_and_again_but_not_all_the_time(
    fake: FakeRedis, listen: Any, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    waits: list[float] = []

    def longest(least: float, most: float) -> float:
        waits.append(most)
        return 0.0

    monkeypatch.setattr(feed_module, "_jitter", longest)
    fake.unavailable = True
    listener = listen(Broker(fake, SECONDS))
    eventually(lambda: fake.attempts > 150)  # redis-py's own limit of connections is 100
    assert waits[:3] == [0.05, 0.1, 0.2]
    assert set(waits[6:]) == {2.0}
    fake.unavailable = False
    fake.peer().say(message("back"))
    listener.wait_for("back")


def test_a_closed_feed_ends_its_link_and_makes_no_other(fake: FakeRedis, listener: Any) -> None:
    peer = fake.peer()
    listener.close()
    assert peer.ended()
    assert fake.attempts == 1
    assert not listener.feed.stats.connected
