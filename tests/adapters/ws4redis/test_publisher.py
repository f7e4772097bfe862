"""Publishing and fetching over a real Redis."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from ws4redis import publisher as module
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import RedisMessage, RedisStore

from .test_redis_store import who


class Ear:
    """A plain Redis client that is subscribed to some channels."""

    def __init__(self, redis: Any, *channels: str) -> None:
        self.pubsub = redis.pubsub()
        self.pubsub.subscribe(*channels)
        for _ in channels:
            assert self.pubsub.get_message(timeout=30)["type"] == "subscribe"

    def heard(self) -> tuple[str, bytes]:
        message = self.pubsub.get_message(timeout=30)
        return message["channel"].decode(), message["data"]


@pytest.mark.parametrize(
    "message", [RedisMessage("Hello"), "Hello", b"Hello", bytearray(b"Hello"), memoryview(b"Hello")]
)
@pytest.mark.parametrize("method", ["publish_message", "pipeline_publish_message"])
def test_it_publishes_the_raw_payload_and_keeps_it(
    redis: Any, room: str, method: str, message: Any
) -> None:
    channel = f"user:john:{room}"
    ear = Ear(redis, channel)
    sent = getattr(RedisPublisher(facility=room, users=["john", "mary"]), method)(message)
    assert sent == {channel: 1, f"user:mary:{room}": 0}
    assert ear.heard() == (channel, b"Hello")
    assert redis.get(channel) == redis.get(f"user:mary:{room}") == b"Hello"
    assert 3590 < redis.ttl(channel) <= 3600


def test_binary_travels_raw_too(redis: Any, room: str) -> None:
    ear = Ear(redis, f"broadcast:{room}")
    RedisPublisher(facility=room, broadcast=True).publish_message(b"\xffB\x00\xfe")
    assert ear.heard()[1] == redis.get(f"broadcast:{room}") == b"\xffB\x00\xfe"


@pytest.mark.parametrize(
    ("setting", "expire", "ttl"),
    [(3600, 10, 10), (3600, 0, -2), (0, None, -2), (None, None, -2), (None, 10, 10), (50, -1, -2)],
)
def test_expire_says_how_long_it_is_retained(
    site: Any, redis: Any, room: str, setting: Any, expire: Any, ttl: int
) -> None:
    site(WS4REDIS_EXPIRE=setting)
    RedisPublisher(facility=room, broadcast=True).publish_message("x", expire)
    assert abs(redis.ttl(f"broadcast:{room}") - ttl) <= 1


@pytest.mark.parametrize("expire", ["10", 1.5, True])
def test_an_expire_of_another_type_is_a_clear_error(room: str, expire: Any) -> None:
    with pytest.raises(TypeError, match="expire must be whole seconds"):
        RedisPublisher(facility=room, broadcast=True).publish_message("x", expire=expire)


def test_a_subclass_or_an_object_may_have_an_expire_of_its_own(redis: Any, room: str) -> None:
    class Publisher(RedisPublisher):
        _expire = 20

    publisher = Publisher(facility=room, broadcast=True)
    publisher.publish_message("x")
    assert redis.ttl(f"broadcast:{room}") in (19, 20)
    publisher._expire = 0
    publisher.publish_message("y")
    assert redis.get(f"broadcast:{room}") == b"x"


def test_a_heartbeat_is_not_published(site: Any, redis: Any, room: str) -> None:
    site(WS4REDIS_HEARTBEAT="--heartbeat--")
    publisher = RedisPublisher(facility=room, broadcast=True)
    assert publisher.publish_message("--heartbeat--") == {}
    assert redis.get(f"broadcast:{room}") is None
    with pytest.raises(ValueError, match="the message is None"):
        publisher.publish_message(RedisMessage("--heartbeat--"))


@pytest.mark.parametrize("message", [7, {"a": 1}, ["message"]])
def test_another_message_is_a_clear_error(room: str, message: Any) -> None:
    with pytest.raises(TypeError, match="json"):
        RedisPublisher(facility=room, broadcast=True).publish_message(message)


def test_publishing_to_nobody_is_quiet() -> None:
    assert RedisPublisher().publish_message("x") == {}


@pytest.mark.parametrize("transaction", [True, False])
def test_all_channels_get_it_in_one_round_trip(room: str, transaction: bool) -> None:
    publisher = RedisPublisher(facility=room, users=["a", "b", "c"])
    connection = publisher._connection = mock.MagicMock()
    pipe = connection.pipeline.return_value.__enter__.return_value
    pipe.execute.return_value = [True, 0] * 3
    publisher.pipeline_publish_message("x", transaction=transaction)
    connection.pipeline.assert_called_once_with(transaction=transaction)
    pipe.execute.assert_called_once_with()


def test_the_connection_is_a_redis_client(redis: Any, room: str) -> None:
    redis.set(f"broadcast:{room}", b"x")
    assert RedisPublisher()._connection.get(f"broadcast:{room}") == b"x"
    assert module.redis_connection_pool is RedisPublisher()._connection.connection_pool
    with pytest.raises(AttributeError):
        _ = module.no_such_name


def test_a_store_takes_any_client(redis: Any, room: str) -> None:
    store = RedisStore(redis)
    store._publishers.add(f"broadcast:{room}")
    store.publish_message("x")
    assert redis.get(f"broadcast:{room}") == b"x"


# Fetching


def test_the_narrowest_channel_that_has_one_comes_first(redis: Any, room: str) -> None:
    request = who("john", ["chatters", "staff"], "k1")
    fetch = RedisPublisher().fetch_message
    order = ["session:k1", "user:john", "group:chatters", "group:staff", "broadcast"]
    for name in order:
        redis.set(f"{name}:{room}", name)
    for name in order:
        assert fetch(request, room) == fetch(request, room, "any") == name.encode()
        redis.delete(f"{name}:{room}")
    assert fetch(request, room) is None


@pytest.mark.parametrize(
    ("audience", "channel"),
    [
        ("session", "session:k1"), ("user", "user:john"), ("group", "group:staff"),
        ("broadcast", "broadcast"),
    ],
)  # fmt: skip
def test_one_audience_can_be_asked_for(redis: Any, room: str, audience: str, channel: str) -> None:
    request = who("john", ["staff"], "k1")
    for name in ("session:k1", "user:john", "group:staff", "broadcast"):
        redis.set(f"{name}:{room}", name)
    message = RedisPublisher().fetch_message(request, room, audience)
    assert message == channel.encode()
    assert isinstance(message, bytes)


@pytest.mark.parametrize(
    "request_",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(user=None, session=None),
        SimpleNamespace(user=AnonymousUser(), session={}),
        RequestFactory().get("/chat/"),
    ],
)
def test_a_request_may_lack_user_and_session(redis: Any, room: str, request_: Any) -> None:
    fetch = RedisPublisher().fetch_message
    for audience in ("any", "session", "user", "group", "broadcast"):
        assert fetch(request_, room, audience) is None
    redis.set(f"broadcast:{room}", b"x")
    assert fetch(request_, room) == b"x"


def test_an_unknown_audience_is_a_clear_error(room: str) -> None:
    with pytest.raises(ValueError, match="audience must be any, session"):
        RedisPublisher().fetch_message(None, room, "everybody")


def test_what_was_published_with_a_colon_is_found(room: str) -> None:
    RedisPublisher(facility=f"eu:{room}", groups=["staff:eu"]).publish_message("x")
    request = who("john", ["staff:eu"])
    assert RedisPublisher().fetch_message(request, f"eu:{room}", "group") == b"x"
