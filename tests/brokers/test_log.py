"""The log of a channel, tested with all brokers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
import redis

from wsredis.brokers.redis import feed as module
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable

from .fake import Broker as FakeBroker
from .fake import Call, FakeRedis, message
from .support import AnyBroker, broker_at

CONTROL, NEWS = "log:control", "log:broadcast:news"  # nobody else is on these


def logged(listener: Any, channel: str = CONTROL) -> list[Any]:
    return [message.data for message in listener._run(listener.feed.logged, channel)]


def test_what_is_appended_is_delivered_and_kept_in_order(broker: AnyBroker, listen: Any) -> None:
    listener = listen(broker)
    assert logged(listener) == []
    assert broker.append(CONTROL, b"nobody hears it", 60, 10) == 0
    listener.subscribe(CONTROL)
    assert broker.append(CONTROL, b"one", 60, 10) == 1
    assert broker.append(CONTROL, b"two", 60, 10) == 1
    listener.wait_for("one", "two")
    assert logged(listener) == logged(listen(broker)) == ["nobody hears it", "one", "two"]


def test_only_so_many_are_kept_the_newest(broker: AnyBroker, listen: Any) -> None:
    for number in range(7):
        broker.append(CONTROL, b"%d" % number, 60, 3)
    assert logged(listen(broker)) == ["4", "5", "6"]


def test_what_is_logged_is_not_retained_and_what_is_retained_is_not_logged(
    broker: AnyBroker, listen: Any
) -> None:
    broker.append(CONTROL, b"logged", 60, 10)
    broker.publish([NEWS], b"retained", 60)
    assert broker.fetch([CONTROL, NEWS])[0].data == "retained"
    assert listen(broker).subscribe(CONTROL, NEWS) == ["retained"]
    assert len(broker.fetch([CONTROL, NEWS])) == 1


def test_they_are_gone_some_time_after_the_last(
    broker: AnyBroker, listen: Any, eventually: Callable[[Callable[[], object]], None]
) -> None:
    listener = listen(broker)
    broker.append(CONTROL, b"old", 1, 10)
    eventually(lambda: not logged(listener))
    broker.append(CONTROL, b"new", 60, 10)
    assert logged(listener) == ["new"]


def test_none_is_lost_where_many_append_at_once(broker: AnyBroker, listen: Any) -> None:
    start = threading.Barrier(16)

    def append(number: int) -> None:
        start.wait()
        broker.append(CONTROL, b"%d" % number, 60, 100)

    threads = [threading.Thread(target=append, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, logged(listen(broker)))) == list(range(16))


def test_it_works_in_a_greenlet_too(broker: AnyBroker, listen: Any) -> None:
    gevent.spawn(broker.append, CONTROL, b"value", 60, 10).get(timeout=30)
    assert logged(listen(broker)) == ["value"]


def test_a_redis_that_is_unavailable_says_so(own_redis: EmbeddedRedis, listen: Any) -> None:
    broker = broker_at(own_redis.url)
    listener = listen(broker)
    listener.subscribe(CONTROL)
    own_redis.stop()
    with pytest.raises(BrokerUnavailable):
        broker.append(CONTROL, b"value", 60, 10)
    with pytest.raises(BrokerUnavailable):
        logged(listener)


def test_what_a_redis_refuses_to_tell_is_an_error(fake: FakeRedis, listener: Any) -> None:
    asked = Call(logged, listener)
    peer = fake.peer()
    peer.expect("LRANGE", CONTROL, "-1000", "-1")
    peer.say(b"-NOPERM not this command\r\n")
    with pytest.raises(BrokerUnavailable, match=r"^Redis: NOPERM"):
        asked.result()


def test_a_key_of_another_type_is_no_log(
    own_redis: EmbeddedRedis, listen: Any, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a string at this key would refuse every handshake of a new process."""
    admin.set(CONTROL, "mine")
    assert logged(listen(broker_at(own_redis.url))) == []
    assert f"the key {CONTROL} belongs to wsredis but is not a list: delete it" in caplog.text


def test_a_redis_that_does_not_answer_is_an_error_too(fake: FakeRedis, listen: Any) -> None:
    asked = Call(logged, listen(FakeBroker(fake, 1)))
    peer = fake.peer()
    for command in (("LRANGE", CONTROL, "-1000", "-1"), ("PING",)):
        peer.expect(*command)
        peer.say(b">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n")  # it is not silent
    with pytest.raises(BrokerUnavailable, match=r"^Redis: no answer within 1 s$"):
        asked.result()


def test_a_silent_redis_is_an_error_too(fake: FakeRedis, listen: Any) -> None:
    with pytest.raises(BrokerUnavailable, match=r"^Redis: "):
        logged(listen(FakeBroker(fake, 1)))


def test_what_is_delivered_before_the_answer_is_there_before_it(
    fake: FakeRedis, listener: Any
) -> None:
    joined = Call(listener.subscribe, CONTROL)
    peer = fake.peer()
    peer.accept(CONTROL)
    joined.result()
    asked = Call(logged, listener)
    peer.expect("LRANGE", CONTROL, "-1000", "-1")
    peer.say(message("order", CONTROL), b"*1\r\n$5\r\norder\r\n")
    assert asked.result() == ["order"]
    assert listener.data == ["order"]


def test_a_long_log_is_read_in_parts_in_order(
    broker: AnyBroker, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGGED_AT_ONCE", 3)
    for number in range(7):
        broker.append(CONTROL, b"%d" % number, 60, 10)
    assert logged(listen(broker)) == list("0123456")
    for number in range(7, 9):
        broker.append(CONTROL, b"%d" % number, 60, 10)
    assert logged(listen(broker)) == list("012345678")


def test_what_is_appended_between_two_parts_hides_none(
    fake: FakeRedis, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGGED_AT_ONCE", 2)
    asked = Call(logged, listener)
    peer = fake.peer()
    peer.expect("LRANGE", CONTROL, "-2", "-1")
    peer.say(b"*2\r\n$1\r\nb\r\n$1\r\nc\r\n")
    peer.expect("LRANGE", CONTROL, "-4", "-3")  # after d was appended
    peer.say(b"*2\r\n$1\r\na\r\n$1\r\nb\r\n")
    peer.expect("LRANGE", CONTROL, "-6", "-5")
    peer.say(b"*0\r\n")
    assert asked.result() == ["a", "b", "b", "c"]


# When Redis cannot store it


def hinder(admin: redis.Redis, how: str) -> None:
    """Make Redis refuse to store the log, but not to publish."""
    if how == "full":
        admin.config_set("maxmemory", 1)
    elif how == "other-type":
        admin.set(CONTROL, "of another program")
    else:
        admin.execute_command("ACL", "SETUSER", "default", "-rpush")


@pytest.mark.parametrize(
    ("how", "said"),
    [("full", "maxmemory"), ("other-type", "WRONGTYPE"), ("old-acl", "no permissions")],
)
def test_what_cannot_be_stored_is_published_once_and_an_error_is_logged(
    own_redis: EmbeddedRedis,
    admin: redis.Redis,
    listen: Any,
    caplog: pytest.LogCaptureFixture,
    how: str,
    said: str,
) -> None:
    broker = broker_at(own_redis.url)
    listener = listen(broker)
    listener.subscribe(CONTROL, NEWS)
    hinder(admin, how)
    assert broker.append(CONTROL, b"secret", 60, 10) == 1
    broker.publish([NEWS], b"last", 0)
    listener.wait_for("secret", "last")
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith(f"Redis does not store the log of {CONTROL} (")
    assert said in record.getMessage()
    assert "secret" not in caplog.text


@pytest.mark.parametrize("how", ["replica", "no-publish"])
def test_what_reaches_nobody_is_an_error_without_the_payload(
    own_redis: EmbeddedRedis, admin: redis.Redis, how: str
) -> None:
    broker = broker_at(own_redis.url)
    if how == "replica":
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        admin.config_set("replica-serve-stale-data", "yes")
    else:
        admin.execute_command("ACL", "SETUSER", "default", "resetchannels")
    with pytest.raises(BrokerUnavailable) as error:
        broker.append(CONTROL, b"secret", 60, 10)
    assert "secret" not in str(error.value)


def test_an_error_of_the_publication_in_the_transaction_is_raised(
    own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = [1, True, True, redis.ResponseError("not now")]
    monkeypatch.setattr(redis.client.Pipeline, "execute", lambda self, raise_on_error: replies)
    with pytest.raises(BrokerUnavailable, match="not now"):
        broker_at(own_redis.url).append(CONTROL, b"x", 60, 10)
