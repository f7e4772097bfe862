"""Retained messages are read for each new subscriber, unless it is known that there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
import redis

from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable
from wsredis.runtime.loop import Loop

from .fake import CHAT, NEWS, Call, FakeRedis, Peer, confirmed, message, unsubscribed
from .support import broker_at

NOTHING, RETAINED = b"*1\r\n$-1\r\n", b"*1\r\n$8\r\nretained\r\n"


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
        peer.track(NEWS, retained=b"$8\r\nretained\r\n", first=first)
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
    peer.expect("CLIENT", "CACHING", "YES")
    peer.expect("MGET", NEWS)
    peer.say(b"+OK\r\n+OK\r\n", NOTHING, changed(NEWS.encode()))
    assert joining.result() == []
    track(peer, listener)


@pytest.mark.parametrize("telling", [b"-NOPERM no such luxury\r\n", b"-ERR unknown command\r\n"])
def test_where_redis_does_not_tell_each_of_them_asks(
    peer: Peer, listener: Any, telling: bytes
) -> None:
    joining = Call(listener.subscribe, NEWS)
    peer.expect("CLIENT", "TRACKING", "ON", "OPTIN")
    peer.expect("CLIENT", "CACHING", "YES")
    peer.expect("MGET", NEWS)
    peer.say(telling, b"-ERR not tracking\r\n", NOTHING)
    assert joining.result() == []
    for reply, expected in ((NOTHING, []), (RETAINED, ["retained"])):
        joining = Call(listener.subscribe, NEWS)
        peer.expect("MGET", NEWS)
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
    for words in (["CLIENT", "TRACKING", "ON", "OPTIN"], ["CLIENT", "CACHING", "YES"]):
        peer.expect(*words)
    peer.expect("MGET", NEWS)
    listener.unsubscribe(NEWS)
    peer.expect("UNSUBSCRIBE", NEWS)
    first = Call(listener.subscribe, NEWS)
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect("MGET", NEWS)
    peer.say(b"+OK\r\n+OK\r\n", NOTHING)
    assert early.result() == []
    second = Call(listener.subscribe, NEWS)  # which must wait for the confirmation too
    peer.expect("CLIENT", "CACHING", "YES")
    peer.expect("MGET", NEWS)
    peer.say(unsubscribed(NEWS), confirmed(NEWS), NOTHING)
    peer.say(b"+OK\r\n", NOTHING)
    assert first.result() == second.result() == []


def refuse(peer: Peer, joining: Call) -> None:
    """Take the first who comes to a channel, and be heard to refuse it."""
    peer.expect("SUBSCRIBE", NEWS)
    peer.expect("MGET", NEWS)
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
    peer.expect("MGET", NEWS)
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
    peer.expect("MGET", NEWS)
    for words in (["CLIENT", "TRACKING", "ON", "OPTIN"], ["CLIENT", "CACHING", "YES"]):
        peer.expect(*words)
    peer.expect("MGET", NEWS)
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
    peer.expect("CLIENT", "CACHING", "YES")
    peer.expect("MGET", NEWS)
    peer.say(confirmed(NEWS), b"+OK\r\n+OK\r\n", RETAINED)
    assert joining.result() == ["retained"]


# A real Redis


@pytest.fixture
def crowd(own_redis: EmbeddedRedis, listen: Any, admin: redis.Redis) -> Any:
    """Give a listener with two sockets, so that it knows that nothing is retained."""
    crowd = listen(broker_at(own_redis.url))
    for _ in range(2):
        assert crowd.subscribe(NEWS) == []
    asked = admin.info("commandstats")["cmdstat_mget"]["calls"]
    assert crowd.subscribe(NEWS) == []
    assert admin.info("commandstats")["cmdstat_mget"]["calls"] == asked == 2
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
        return admin.info("commandstats")["cmdstat_mget"]["calls"]

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
