"""Retained messages are read for each new subscriber, unless it is known that there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
import redis

from wsredis.brokers.redis.retained import CHUNK, SMALL
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable
from wsredis.runtime.loop import Loop

from .fake import CHAT, NEWS, Call, FakeRedis, Peer, confirmed, message, unsubscribed
from .support import broker_at

NOTHING, RETAINED = b"$0\r\n\r\n:0\r\n", b"$8\r\nretained\r\n:1\r\n"


def changed(*keys: bytes) -> bytes:
    words = (b"$%d\r\n%b\r\n" % (len(key), key) for key in keys)
    return b">2\r\n$10\r\ninvalidate\r\n*%d\r\n" % len(keys) + b"".join(words)


@pytest.fixture
def peer(fake: FakeRedis, listener: Any) -> Peer:
    """Be Redis for a listener whose first socket is there."""
    joining = Call(listener.subscribe, NEWS)
    peer = fake.peer()
    peer.accept(NEWS)
    assert joining.result() == []
    return peer


def track(peer: Peer, listener: Any, *, first: bool = False) -> None:
    """Let one come who asks and finds nothing."""
    joining = Call(listener.subscribe, NEWS)
    peer.track(NEWS, first=first)
    assert joining.result() == []


def test_once_it_is_known_that_there_is_nothing_newcomers_do_not_ask(
    peer: Peer, listener: Any
) -> None:
    track(peer, listener, first=True)
    assert listener.subscribe(NEWS) == listener.subscribe(NEWS) == []
    listener.publish([CHAT], b"next")
    peer.expect("PUBLISH", CHAT, "next")


def test_what_is_retained_is_asked_for_by_each_of_them(peer: Peer, listener: Any) -> None:
    for first in (True, False, False):
        joining = Call(listener.subscribe, NEWS)
        peer.track(NEWS, retained=b"retained", first=first)
        assert joining.result() == ["retained"]


@pytest.mark.parametrize(
    "news",
    [
        changed(NEWS.encode()),
        changed(b"other", NEWS.encode()),
        b">2\r\n$10\r\ninvalidate\r\n_\r\n",
        b">2\r\n$10\r\ninvalidate\r\n:5\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n:5\r\n",
        message("hello"),
    ],
    ids=["it", "it and another", "all", "no keys", "a key that is none", "a message"],
)
def test_when_something_has_changed_they_ask_again(peer: Peer, listener: Any, news: bytes) -> None:
    track(peer, listener, first=True)
    peer.say(news, message("after that"))
    listener.wait(lambda: "after that" in listener.data)
    track(peer, listener)
    assert listener.subscribe(NEWS) == []


def test_a_change_of_something_else_is_none(peer: Peer, listener: Any) -> None:
    joining = Call(listener.subscribe, CHAT)
    peer.accept(CHAT)
    joining.result()
    track(peer, listener, first=True)
    peer.say(changed(CHAT.encode(), b"ws:\xff"), message("after that", CHAT))
    listener.wait_for("after that")
    assert listener.subscribe(NEWS) == []


def test_a_change_right_behind_the_answer_counts(peer: Peer, listener: Any) -> None:
    joining = Call(listener.subscribe, NEWS)
    peer.expect("CLIENT", "TRACKING", "ON", "OPTIN")
    peer.expect_reads(NEWS, tracked=True)
    peer.say(b"+OK\r\n+OK\r\n", NOTHING, changed(NEWS.encode()))
    assert joining.result() == []
    track(peer, listener)


@pytest.mark.parametrize("telling", [b"-NOPERM no such luxury\r\n", b"-ERR unknown command\r\n"])
def test_where_redis_does_not_tell_each_of_them_asks(
    peer: Peer, listener: Any, telling: bytes
) -> None:
    joining = Call(listener.subscribe, NEWS)
    peer.expect("CLIENT", "TRACKING", "ON", "OPTIN")
    peer.expect_reads(NEWS, tracked=True)
    peer.say(telling, b"-ERR not tracking\r\n", NOTHING)
    assert joining.result() == []
    for reply, expected in ((NOTHING, []), (RETAINED, ["retained"])):
        joining = Call(listener.subscribe, NEWS)
        peer.expect_reads(NEWS)
        peer.say(reply)
        assert joining.result() == expected


def test_who_is_the_first_again_waits_until_the_channel_is_subscribed(
    peer: Peer, listener: Any
) -> None:
    track(peer, listener, first=True)
    listener.unsubscribe(NEWS)
    peer.expect("UNSUBSCRIBE", NEWS)
    peer.say(unsubscribed(NEWS))
    joining = Call(listener.subscribe, NEWS)
    peer.accept(NEWS)
    assert joining.result() == []


def test_an_answer_from_before_a_channel_was_left_teaches_nothing(
    peer: Peer, listener: Any
) -> None:
    early = Call(listener.subscribe, NEWS)
    peer.expect("CLIENT", "TRACKING", "ON", "OPTIN")
    peer.expect_reads(NEWS, tracked=True)
    listener.unsubscribe(NEWS)
    peer.expect("UNSUBSCRIBE", NEWS)
    first = Call(listener.subscribe, NEWS)
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(b"+OK\r\n+OK\r\n", NOTHING)
    assert early.result() == []
    second = Call(listener.subscribe, NEWS)  # which must wait for the confirmation too
    peer.expect_reads(NEWS, tracked=True)
    peer.say(unsubscribed(NEWS), confirmed(NEWS), NOTHING)
    peer.say(b"+OK\r\n", NOTHING)
    assert first.result() == second.result() == []


def refuse(peer: Peer, joining: Call) -> None:
    """Take the first who comes to a channel, and be heard to refuse it."""
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(b"-NOPERM not this channel\r\n", NOTHING)
    with pytest.raises(BrokerUnavailable, match="NOPERM"):
        joining.result()


def test_a_channel_that_was_refused_is_asked_for_by_each_who_comes_until_it_is_granted(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    for _ in range(2):
        refuse(peer, Call(listener.subscribe, NEWS))
    joining = Call(listener.subscribe, NEWS)
    peer.accept(NEWS)
    assert joining.result() == []
    track(peer, listener, first=True)


def test_who_was_refused_stays_so_although_another_has_asked_again_meanwhile(
    fake: FakeRedis, listener: Any, loop: Loop
) -> None:
    peer = fake.peer()
    others: list[Any] = []

    def come(published: bool) -> None:  # its turn is before that of whoever is answered next
        others.append(gevent.spawn(listener.feed.subscribe, [NEWS]))

    loop.run(listener.feed.publish, [CHAT], b"x", 0, come)
    peer.expect("PUBLISH", CHAT, "x")
    first = Call(listener.subscribe, NEWS)
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(b":0\r\n", b"-NOPERM not this channel\r\n", NOTHING)
    with pytest.raises(BrokerUnavailable, match="NOPERM"):
        first.result()
    peer.accept(NEWS)
    assert loop.run(others[0].get) == []


def test_nothing_is_learned_of_a_channel_that_is_refused_meanwhile(
    fake: FakeRedis, listener: Any
) -> None:
    peer = fake.peer()
    first, second = (Call(listener.subscribe, NEWS) for _ in range(2))
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.expect("CLIENT", "TRACKING", "ON", "OPTIN")
    peer.expect_reads(NEWS, tracked=True)
    peer.say(b"-NOPERM not this channel\r\n", NOTHING, b"+OK\r\n+OK\r\n", NOTHING)
    for joining in (first, second):
        with pytest.raises(BrokerUnavailable, match="NOPERM"):
            joining.result()
    refuse(peer, Call(listener.subscribe, NEWS))


def test_on_a_new_link_nothing_is_known(fake: FakeRedis, peer: Peer, listener: Any) -> None:
    track(peer, listener, first=True)
    peer.close()
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    joining = Call(listener.subscribe, NEWS)
    peer.expect("CLIENT", "TRACKING", "ON", "OPTIN")
    peer.expect_reads(NEWS, tracked=True)
    peer.say(confirmed(NEWS), b"+OK\r\n+OK\r\n", RETAINED)
    assert joining.result() == ["retained"]


# Pieces

ROOMS = [f"ws:group:{number}:news" for number in range(CHUNK + 2)]


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def test_many_channels_are_read_chunk_by_piece(fake: FakeRedis, listener: Any) -> None:
    joining = Call(listener.subscribe, *ROOMS)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", *ROOMS)
    peer.say(*map(confirmed, ROOMS))
    peer.expect_reads(*ROOMS[:CHUNK])
    listener.publish([NEWS], b"before the second chunk")
    peer.expect("PUBLISH", NEWS, "before the second chunk")
    peer.say(bulk(b"first"), bulk(b"") * (CHUNK - 1), b":1\r\n:0\r\n")
    peer.expect_reads(*ROOMS[CHUNK:])
    peer.say(message("live", ROOMS[0]), bulk(b""), bulk(b"last"), b":1\r\n")
    assert joining.result() == ["first", "last"]
    assert listener.data == ["live"]  # delivered before


def test_no_more_is_read_than_the_newcomer_may_have(fake: FakeRedis, listener: Any) -> None:
    joining = Call(listener._run, listener.feed.subscribe, ROOMS, 5)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", *ROOMS)
    peer.expect_reads(*ROOMS[:CHUNK])
    peer.say(*map(confirmed, ROOMS), bulk(b"value") * 2, bulk(b"") * (CHUNK - 2), b":2\r\n")
    assert [one.data for one in joining.result()] == ["value", "value"]


def test_all_newcomers_together_read_a_limited_number_of_channels(
    fake: FakeRedis, listener: Any
) -> None:
    listener.feed._retained.at_once = 3
    peer = fake.peer()
    one = Call(listener.subscribe, "a", "b")
    peer.expect("SUBSCRIBE", "a", "b")
    peer.expect_reads("a", "b")
    others = [Call(listener.subscribe, "c", "d"), Call(listener.subscribe, "e")]
    asked = {tuple(peer.next()) for _ in range(2)}
    assert asked == {("SUBSCRIBE", "c", "d"), ("SUBSCRIBE", "e")}
    peer.say(*map(confirmed, "ab"), bulk(b"") * 2, b":0\r\n", *map(confirmed, "cde"))
    assert one.result() == []
    reads = [peer.next() for _ in range(5)]
    assert sorted(word for words in reads if words[0] == "EXISTS" for word in words[1:]) == list(
        "cde"
    )
    for words in reads:
        peer.say(bulk(b"") if words[0] == "GETRANGE" else b":0\r\n")
    assert [other.result() for other in others] == [[], []]
    assert listener.feed._retained._reading == 0


def test_newcomers_that_give_up_while_they_wait_leave_the_queue(
    fake: FakeRedis, listener: Any, loop: Loop
) -> None:
    listener.feed._retained.at_once = 2
    peer = fake.peer()
    one = Call(listener.subscribe, "a", "b")
    peer.expect("SUBSCRIBE", "a", "b")
    peer.expect_reads("a", "b")

    def give_up() -> None:
        waiting = [gevent.spawn(listener.feed.subscribe, [name]) for name in "cd"]
        gevent.sleep(0.01)
        assert len(listener.feed._retained._queue) == 2
        waiting[0].kill()
        assert len(listener.feed._retained._queue) == 1
        waiting[1].kill(block=False)
        listener.feed._retained._end(1)  # it is its turn, and it is killed before it runs
        listener.feed._retained._reading += 1
        gevent.joinall(waiting)

    loop.run(give_up)
    for name in "cd":
        peer.expect("SUBSCRIBE", name)
    peer.say(*map(confirmed, "ab"), bulk(b"") * 2, b":0\r\n")
    assert one.result() == []
    assert not listener.feed._retained._queue
    assert listener.feed._retained._reading == 0


def test_a_large_value_comes_over_another_connection_and_behind_what_was_pushed(
    fake: FakeRedis, listener: Any
) -> None:
    large = b"x" * (SMALL + 100)
    fake.fetched = {NEWS: large}.get
    joining = Call(lambda: (listener.subscribe(NEWS), listener.data))
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(confirmed(NEWS), bulk(large[: SMALL + 1]), b":1\r\n")
    peer.expect("PING")
    peer.say(message("meanwhile"), b"+PONG\r\n", message("later"))
    retained_messages, delivered = joining.result()
    assert retained_messages == [large.decode()]
    assert delivered[:1] == ["meanwhile"]
    listener.wait_for("meanwhile", "later")


@pytest.mark.parametrize(("value", "expected"), [(b"", [""]), (b"new", ["new"]), (None, [])])
def test_an_empty_value_that_may_be_one_is_read_again(
    fake: FakeRedis, listener: Any, value: bytes | None, expected: list[str]
) -> None:
    """EXISTS counts a key for which GETRANGE has returned nothing."""
    fake.fetched = {NEWS: value}.get
    joining = Call(listener.subscribe, NEWS)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(confirmed(NEWS), bulk(b""), b":1\r\n")
    peer.expect("PING")
    peer.say(b"+PONG\r\n")
    assert joining.result() == expected


def test_a_key_of_another_type_is_no_retained_message(fake: FakeRedis, listener: Any) -> None:
    joining = Call(listener.subscribe, NEWS, CHAT)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS, CHAT)
    peer.expect_reads(NEWS, CHAT)
    peer.say(confirmed(NEWS), confirmed(CHAT))
    peer.say(b"-WRONGTYPE Operation against a key\r\n", bulk(b""), b":1\r\n")
    assert joining.result() == []


@pytest.mark.parametrize("forbidden", ["GETRANGE", "EXISTS"])
def test_without_permission_it_reads_whole_values_of_few_channels(
    fake: FakeRedis, listener: Any, forbidden: str
) -> None:
    no = b"-NOPERM not this command\r\n"
    joining = Call(listener.subscribe, NEWS)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(confirmed(NEWS), no if forbidden == "GETRANGE" else bulk(b"x"), no)
    peer.expect("MGET", NEWS)
    peer.say(b"*1\r\n", bulk(b"x" * (SMALL + 1)))
    assert joining.result() == ["x" * (SMALL + 1)]
    joining = Call(listener.subscribe, NEWS)
    peer.expect("CLIENT", "TRACKING", "ON", "OPTIN")
    peer.expect("CLIENT", "CACHING", "YES")
    peer.expect("MGET", NEWS)
    peer.say(b"+OK\r\n+OK\r\n*1\r\n$-1\r\n")
    assert joining.result() == []
    assert listener.subscribe(NEWS) == []  # it is known now
    joining = Call(listener.subscribe, *"abcdef")
    peer.expect("SUBSCRIBE", *"abcdef")
    peer.expect("MGET", *"abcd")
    peer.say(*map(confirmed, "abcdef"), b"*4\r\n", b"$-1\r\n" * 4)
    peer.expect("MGET", *"ef")
    peer.say(b"*2\r\n", b"$-1\r\n" * 2)
    assert joining.result() == []


def test_a_value_that_was_read_in_part_is_read_whole_although_the_permission_has_ended(
    fake: FakeRedis, listener: Any
) -> None:
    large = b"x" * (SMALL + 100)
    fake.fetched = {CHAT: large}.get
    peer = fake.peer()
    first = Call(listener.subscribe, NEWS)
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    second = Call(listener.subscribe, CHAT)
    peer.expect("SUBSCRIBE", CHAT)
    peer.expect_reads(CHAT)
    no = b"-NOPERM not this command\r\n"
    peer.say(confirmed(NEWS), no, no, confirmed(CHAT), bulk(large[: SMALL + 1]), b":1\r\n")
    asked = [peer.next(), peer.next()]
    assert sorted(asked) == [["MGET", NEWS], ["PING"]]
    for words in asked:
        peer.say(b"+PONG\r\n" if words == ["PING"] else b"*1\r\n$-1\r\n")
    assert first.result() == []
    assert second.result() == [large.decode()]


def test_another_error_of_a_read_refuses_the_newcomer(fake: FakeRedis, listener: Any) -> None:
    joining = Call(listener.subscribe, NEWS)
    peer = fake.peer()
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect_reads(NEWS)
    peer.say(confirmed(NEWS), b"-LOADING Redis is loading\r\n", b":0\r\n")
    with pytest.raises(BrokerUnavailable, match=r"^Redis: LOADING"):
        joining.result()


# A real Redis


def test_retained_messages_of_any_size_do_not_close_the_link(
    own_redis: EmbeddedRedis, listen: Any, admin: redis.Redis
) -> None:
    """All of them together are larger than what Redis lets wait for a subscriber."""
    admin.config_set("client-output-buffer-limit", "pubsub 1000000 0 0")
    broker = broker_at(own_redis.url)
    rooms = [f"ws:group:{number}:news" for number in range(100)]
    sizes = [*range(0, 60_000, 2000), SMALL - 1, SMALL, SMALL + 1, 900_000]
    texts = {}
    for number, room in enumerate(rooms):
        texts[room] = chr(97 + number % 26) * sizes[number % len(sizes)]
        broker.publish([room], texts[room].encode(), 60)
    listener = listen(broker)
    joining = [Call(listener._run, listener.feed.subscribe, rooms) for _ in range(3)]
    for each in joining:
        assert {one.channel: one.data for one in each.result()} == texts
    broker.publish([rooms[0]], b"live", 0)
    listener.wait_for("live")
    assert listener.feed.stats.gaps == 0


@pytest.fixture
def crowd(own_redis: EmbeddedRedis, listen: Any, admin: redis.Redis) -> Any:
    """Give a listener with two sockets, so that it knows that nothing is retained."""
    crowd = listen(broker_at(own_redis.url))
    for _ in range(2):
        assert crowd.subscribe(NEWS) == []
    asked = admin.info("commandstats")["cmdstat_getrange"]["calls"]
    assert crowd.subscribe(NEWS) == []
    assert admin.info("commandstats")["cmdstat_getrange"]["calls"] == asked == 2
    return crowd


def retain_alone(admin: redis.Redis, crowd: Any) -> None:
    admin.set(NEWS, "retained")


def retain_and_publish(admin: redis.Redis, crowd: Any) -> None:
    with admin.pipeline() as pipe:
        pipe.set(NEWS, "retained", ex=60).publish(NEWS, "retained").execute()


def retain_from_a_socket(admin: redis.Redis, crowd: Any) -> None:
    crowd.publish([NEWS], b"retained", 60)
    crowd.wait_for("retained")


def rename(admin: redis.Redis, crowd: Any) -> None:
    admin.set("other", "retained")
    admin.rename("other", NEWS)


@pytest.mark.parametrize("retain", [retain_alone, retain_and_publish, retain_from_a_socket, rename])
def test_redis_tells_when_something_is_retained(
    retain: Callable[..., None], crowd: Any, admin: redis.Redis, eventually: Callable[..., None]
) -> None:
    retain(admin, crowd)
    eventually(lambda: crowd.subscribe(NEWS) == ["retained"])
    assert crowd.subscribe(NEWS) == ["retained"]
    admin.delete(NEWS)
    eventually(lambda: crowd.subscribe(NEWS) == [])


def test_what_is_retained_is_not_returned_when_it_has_expired(
    crowd: Any, admin: redis.Redis, eventually: Callable[..., None]
) -> None:
    admin.set(NEWS, "retained", px=50)
    eventually(lambda: crowd.subscribe(NEWS) == [])


def test_a_socket_that_is_there_when_a_message_comes_is_followed_by_one_who_gets_it(
    crowd: Any, admin: redis.Redis
) -> None:
    for number in range(50):
        crowd.publish([NEWS], b"%d" % number, 60)
        crowd.wait(lambda before=number: len(crowd.data) > before)
        assert crowd.subscribe(NEWS) == [str(number)]


def test_after_all_is_deleted_it_is_asked_again(
    crowd: Any, admin: redis.Redis, eventually: Callable[..., None]
) -> None:
    def asked() -> int:
        return admin.info("commandstats")["cmdstat_getrange"]["calls"]

    before = asked()
    admin.flushall()
    eventually(lambda: crowd.subscribe(NEWS) == [] and asked() > before)


@pytest.mark.parametrize("granted", [[], ["+client|tracking"], ["+client|caching"]])
def test_a_user_that_may_not_ask_to_be_told_gets_all_the_same(
    granted: list[str], own_redis: EmbeddedRedis, admin: redis.Redis, listen: Any
) -> None:
    commands = ["+@all", "-client", *granted]
    admin.acl_setuser("bob", enabled=True, passwords=["+builder"], commands=commands,
                      keys=["*"], channels=["*"])  # fmt: skip
    listener = listen(broker_at(own_redis.url.replace("//", "//bob:builder@")))
    for _ in range(4):
        assert listener.subscribe(NEWS) == []
    admin.set(NEWS, "retained")
    assert listener.subscribe(NEWS) == ["retained"]
