"""One connection of the feed, to a `FakeRedis`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from wsredis.brokers.redis.link import Link
from wsredis.runtime.loop import Loop

from .fake import CHAT, NEWS, SECONDS, Broker, Call, FakeRedis, confirmed, message


def test_what_came_before_the_retained_message_is_delivered_before_it_is_returned(
    fake: FakeRedis, listener: Any
) -> None:
    joining = Call(lambda: (listener.subscribe(NEWS), listener.data))
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(confirmed(NEWS), message("1"), message("2"), b"$1\r\n2\r\n:1\r\n", message("3"))
    retained, delivered = joining.result()
    assert retained == ["2"]
    assert delivered[:2] == ["1", "2"]
    listener.wait_for("1", "2", "3")
    assert [len(batch) for batch in listener.batches] == [2, 1]


def test_what_one_read_brings_is_delivered_together_whatever_stands_between(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    listener.publish([NEWS], b"mine")
    peer.expect("PUBLISH", NEWS, "mine")
    peer.say(message("1"), b":1\r\n", message("2", CHAT), message("3"))
    listener.wait_for("1", "2", "3")
    assert len(listener.batches) == 1


@pytest.mark.parametrize(
    "nonsense",
    [b"HTTP/1.1 400 Bad Request\r\n", b"+OK\r\n", b"*x\r\n", b">0\r\n", confirmed(NEWS)],
)
def test_nonsense_ends_the_link_and_not_the_feed(
    nonsense: bytes, fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    peer.say(nonsense)
    assert peer.ended()
    fake.peer().say(message("sense"))
    listener.wait_for("sense")
    assert listener.feed.stats.gaps == 1


def test_pushes_of_another_kind_are_passed_over(fake: FakeRedis, listener: Any) -> None:
    peer = fake.peer()
    peer.say(b">2\r\n$6\r\nserver\r\n_\r\n", message("hello"))
    listener.wait_for("hello")


def pass_over(listener: Any, seconds: float, *, look: bool = True) -> bool:
    """Let a link's silence be older by so much, and as a rule look at it; tell if it is lost."""

    def use() -> bool:
        link = listener.feed._link
        link.heard_at -= seconds
        if link._asked_at is not None:
            link._asked_at -= seconds
        if look:
            link._listen()
        return bool(link._lost.ready())

    lost: bool = listener._run(use)
    return lost


def test_a_silent_redis_is_asked_and_its_answer_is_enough(fake: FakeRedis, listener: Any) -> None:
    peer = fake.peer()
    assert not pass_over(listener, SECONDS / 2, look=False)  # the link looks by itself
    peer.expect("PING")
    for text in ("1", "2", "3"):
        peer.say(b"+PONG\r\n", message(text))
        listener.wait(lambda text=text: text in listener.data)
        assert not pass_over(listener, SECONDS / 4)
        assert not pass_over(listener, SECONDS / 4)
        peer.expect("PING")
    assert listener.feed.stats.gaps == 0


def test_a_process_that_was_held_up_asks_before_it_gives_redis_up(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    assert not pass_over(listener, 2 * SECONDS)
    peer.expect("PING")

    def held_up() -> bool:
        peer.say(b"+PONG\r\n", message("there"))  # the loop, which runs this, cannot read it yet
        return pass_over(listener, 2 * SECONDS)

    assert not listener._run(held_up)
    listener.wait_for("there")
    assert listener.feed.stats.gaps == 0


def test_a_redis_that_stays_silent_is_lost_at_the_deadline(
    fake: FakeRedis, listener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peer = fake.peer()
    listener.publish([NEWS], b"x")
    peer.expect("PUBLISH", NEWS, "x")
    assert not pass_over(listener, SECONDS / 2)
    peer.expect("PING")
    assert not pass_over(listener, SECONDS / 4)
    assert pass_over(listener, SECONDS / 4)
    assert peer.ended()
    listener.wait(lambda: listener.lost)
    assert listener.feed.stats.gaps == 1
    assert f"Redis was silent for {SECONDS:g} s" in caplog.text
    fake.peer().say(message("back"))
    listener.wait_for("back")


def test_a_reply_that_does_not_end_is_no_sign_of_life(fake: FakeRedis, listener: Any) -> None:
    peer = fake.peer()
    peer.say(b"*1000\r\n:1\r\n")
    assert not pass_over(listener, SECONDS / 2)
    peer.expect("PING")
    peer.say(b":2\r\n")
    assert not pass_over(listener, SECONDS / 4)
    peer.say(b":3\r\n")
    assert pass_over(listener, SECONDS / 4)
    assert peer.ended()  # after the gap was counted
    assert listener.feed.stats.gaps == 1


def test_it_is_noticed_also_while_more_is_to_be_sent_than_the_link_takes(
    fake: FakeRedis, listener: Any, eventually: Callable[..., None]
) -> None:
    fake.peer()
    listener.publish([NEWS], b"x" * 3_000_000)
    eventually(lambda: listener.feed._link._writer.active)
    assert not pass_over(listener, SECONDS / 2)
    assert pass_over(listener, SECONDS / 2)
    listener.wait(lambda: listener.lost)
    fake.peer().say(message("back"))
    listener.wait_for("back")


def test_a_message_larger_than_a_socket_takes_arrives_whole(fake: FakeRedis, listener: Any) -> None:
    payload = "x" * 3_000_000
    peer = fake.peer()
    listener.publish([NEWS], payload.encode())
    peer.expect("PUBLISH", NEWS, payload)
    Call(peer.say, b":0\r\n", message(payload))
    listener.wait_for(payload)


def test_a_link_that_fails_while_it_is_written_to_is_made_again(
    fake: FakeRedis, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(socket.socket):
        broken = False

        def send(self, *args: Any) -> int:
            if not Breaking.broken:
                return super().send(*args)
            self.shutdown(socket.SHUT_RDWR)
            raise BrokenPipeError("gone")

    fake.kind = Breaking
    listener = listen(Broker(fake, SECONDS))
    first = fake.peer()
    fake.kind = socket.socket
    monkeypatch.setattr(Breaking, "broken", True)
    listener.publish([NEWS], b"x")
    assert first.ended()
    listener.wait(lambda: listener.lost)
    fake.peer().say(message("back"))
    listener.wait_for("back")


class Failing(socket.socket):
    """A socket whose writes fail as soon as a test says so."""

    broken = False

    def send(self, *args: Any) -> int:
        if Failing.broken:
            raise BrokenPipeError("gone")
        return super().send(*args)


def test_what_has_arrived_goes_on_when_the_link_is_lost_and_what_waits_is_answered(
    fake: FakeRedis, listen: Any, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.kind = Failing
    listener = listen(Broker(fake, SECONDS))
    listener.gate = gate = loop.run(Event)
    joining = Call(listener.subscribe, NEWS)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(confirmed(NEWS), message("1"), b"$0\r\n\r\n:0\r\n", b">0\r\n")
    assert listener.at_gate.wait(SECONDS)
    fake.kind = socket.socket  # for the next link
    monkeypatch.setattr(Failing, "broken", True)
    listener.publish([NEWS], b"x")
    loop.run(gate.set)
    assert joining.result() == []
    listener.wait_for("1")
    listener.wait(lambda: listener.lost)
    fake.peer().expect("SUBSCRIBE", NEWS)
    assert listener.feed.stats.gaps == 1


def test_a_lost_link_does_not_try_to_send_for_ever(loop: Loop) -> None:
    near, far = socket.socketpair()
    flushed: list[bool] = []

    def use() -> None:
        link = Link(near, SECONDS, lambda pushed: iter(()), print)
        flush = link._flush

        def count() -> None:
            flushed.append(True)
            flush()

        link._flush = count  # type: ignore[method-assign]
        link.command(lambda reply: None, "PUBLISH", NEWS, "x")
        link._fail(ConnectionError("gone"))
        for _ in range(20):
            link.command(lambda reply: None, "PUBLISH", NEWS, "y")
            gevent.sleep(0)
        with pytest.raises(ConnectionError):
            link.serve()

    with near, far:
        loop.run(use)
    assert len(flushed) == 1


@pytest.fixture
def link(loop: Loop) -> Iterator[Link]:
    """Give a link that nobody has begun to serve, and so does not listen."""
    near, far = socket.socketpair()
    with near, far:
        yield loop.run(lambda: Link(near, SECONDS, lambda pushed: iter(()), print))


def test_the_first_reason_for_a_loss_counts_and_nothing_is_read_behind_it(
    loop: Loop, link: Link
) -> None:
    def use() -> None:
        link._fail(ConnectionError("gone"))
        link._fail(TimeoutError("and silent, too"))
        link._go_on()  # what was planned before comes to its end
        assert not link._reader.active
        with pytest.raises(ConnectionError, match="gone"):
            link.serve()

    loop.run(use)


def test_what_is_being_delivered_when_a_link_is_lost_comes_to_its_end(
    loop: Loop, link: Link
) -> None:
    pieces: list[int] = []

    def work() -> Iterator[None]:
        for piece in range(3):
            pieces.append(piece)
            yield

    def use() -> None:
        link._work = work()
        link._fail(ConnectionError("gone"))
        with pytest.raises(ConnectionError):
            link.serve()

    loop.run(use)
    assert pieces == [0, 1, 2]


def test_redis_is_not_silent_while_messages_are_delivered(fake: FakeRedis, listener: Any) -> None:
    """The link does not read then, so its silence says nothing about Redis."""
    gate = listener._run(Event)
    peer = fake.peer()
    listener.gate = gate
    peer.say(message("first"))
    assert listener.at_gate.wait(SECONDS)
    link = listener.feed._link
    assert not link._reader.active
    assert not listener._run(link.is_silent_since, link.heard_at)
    listener._run(gate.set)
    listener.wait_for("first")


def test_redis_is_silent_when_the_link_reads_and_nothing_has_come(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    peer.say(message("first"))
    listener.wait_for("first")
    link = listener.feed._link

    def look() -> tuple[bool, bool]:
        before = link.heard_at
        silent = link.is_silent_since(before)
        peer.say(message("second"))  # which only a look can find, as this runs on the loop
        return silent, link.is_silent_since(before)

    assert listener._run(look) == (True, False)
    listener.wait_for("first", "second")


def test_a_link_that_does_not_listen_calls_nobody_silent(loop: Loop, link: Link) -> None:
    def use() -> None:
        link.heard_at -= 10 * SECONDS
        link._listen()
        assert not link._awaited

    loop.run(use)


def test_what_comes_up_while_the_link_is_full_follows(fake: FakeRedis, listener: Any) -> None:
    payload = "x" * 3_000_000
    peer = fake.peer()
    listener.publish([NEWS], payload.encode())
    listener.publish([NEWS], b"next")
    peer.expect("PUBLISH", NEWS, payload)
    peer.expect("PUBLISH", NEWS, "next")
    peer.say(b":0\r\n", b":0\r\n")
