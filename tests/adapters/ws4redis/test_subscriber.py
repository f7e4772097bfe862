"""`RedisSubscriber`: on its own with a client of Redis, and subclasses of it in the server."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from ws4redis.connection import Recorder, Recording
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF, RedisMessage
from ws4redis.subscriber import RedisSubscriber

from .conftest import Live
from .talk import SECONDS, hear, refusal
from .test_redis_store import who

Site = Callable[..., None]
EVERYTHING = RedisSubscriber.subscription_channels + RedisSubscriber.publish_channels


class Inbox:
    """A stand-in for a websocket, which stores sent messages."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send(self, message: Any, binary: Any = None) -> None:
        self.messages.append(message)


def handshake(room: str, of: Any = None) -> Any:
    request: Any = RequestFactory().get(f"/ws/{room}")
    request.user = AnonymousUser() if of is None else of.user
    request.session = {} if of is None else of.session
    return request


# On its own


def test_it_subscribes_and_publishes_through_its_connection(redis: Any, room: str) -> None:
    subscriber = RedisSubscriber(redis)
    subscriber.set_pubsub_channels(handshake(room), ["subscribe-broadcast", "publish-broadcast"])
    assert subscriber._publishers == {f"broadcast:{room}"}
    assert subscriber.parse_response()[0] == b"subscribe"
    subscriber.publish_message(RedisMessage("hello"), 10)
    assert select.select([subscriber.get_file_descriptor()], [], [], 30)[0]
    assert RedisMessage(subscriber.parse_response()) == b"hello"
    inbox = Inbox()
    subscriber.send_persited_messages(inbox)
    subscriber.send_persisted_messages(inbox)
    assert inbox.messages == [b"hello", b"hello"]
    subscriber.release()
    subscriber.release()
    assert subscriber.get_file_descriptor() is None


def test_before_it_has_channels_it_has_nothing(redis: Any) -> None:
    subscriber = RedisSubscriber(redis)
    assert subscriber._subscription is None
    assert subscriber.get_file_descriptor() is None
    subscriber.release()


@pytest.mark.parametrize("granted", [[kind] for kind in EVERYTHING] + [EVERYTHING, []])
def test_each_grant_means_its_channel(room: str, granted: list[str]) -> None:
    subscriber = RedisSubscriber(Recording(None))
    subscriber.set_pubsub_channels(handshake(room, who("john", ["staff"], "k1")), granted)
    names = {
        "broadcast": f"broadcast:{room}",
        "user": f"user:john:{room}",
        "group": f"group:staff:{room}",
        "session": f"session:k1:{room}",
    }

    def of(way: str) -> set[str]:
        return {name for kind, name in names.items() if f"{way}-{kind}" in granted}

    assert set(subscriber._subscription.channels) == of("subscribe")
    assert subscriber._publishers == of("publish")


def test_nobody_has_no_channel_of_their_own(room: str) -> None:
    subscriber = RedisSubscriber(Recording(None))
    subscriber.set_pubsub_channels(handshake(room), EVERYTHING)
    assert set(subscriber._subscription.channels) == {f"broadcast:{room}"}
    assert subscriber._publishers == {f"broadcast:{room}"}


# What writes subscriptions down


def test_a_recorder_is_like_a_subscription() -> None:
    recorder = Recorder()
    recorder.subscribe("a", b"b", ["c", ("d",)])
    assert list(recorder.channels) == ["a", "b", "c", "d"]
    assert recorder.subscribed
    assert recorder.parse_response() is None
    recorder.unsubscribe("a", b"b")
    assert list(recorder.channels) == ["c", "d"]
    recorder.unsubscribe()
    assert not recorder.subscribed
    recorder.subscribe("e")
    recorder.reset()
    assert not recorder.channels


def test_patterns_and_handlers_are_refused() -> None:
    with pytest.raises(TypeError, match="by name"):
        Recorder().psubscribe("*")
    with pytest.raises(TypeError, match="handlers"):
        Recorder().subscribe(a=print)


def test_everything_else_is_the_clients(redis: Any, room: str) -> None:
    Recording(redis).set(room, "x", ex=10)
    assert Recording(redis).get(room) == b"x"


# Subclasses in the server


class Teams(RedisSubscriber):
    """A subscriber that adds channels in all possible ways."""

    subscription_channels: ClassVar = [*RedisSubscriber.subscription_channels, "subscribe-team"]
    publish_channels: ClassVar = [*RedisSubscriber.publish_channels, "publish-team"]

    def set_pubsub_channels(self, request: Any, channels: Any) -> None:
        super().set_pubsub_channels(request, channels)
        facility = request.path_info.replace("/ws/", "", 1)
        if "subscribe-team" in channels:
            self._subscription.subscribe(f"{self.get_prefix()}team:red:{facility}")
        if "publish-team" in channels:
            self._publishers.add(f"{self.get_prefix()}team:red:{facility}")
        for key in self._get_message_channels(facility=facility, groups=["everybody"]):
            self._subscription.subscribe(key)


class MoreNames(RedisSubscriber):
    def _get_message_channels(self, **audiences: Any) -> list[str]:
        return [*super()._get_message_channels(**audiences), "common"]


def test_a_subclass_adds_channels(site: Site, live: Live, redis: Any, room: str) -> None:
    site(WS4REDIS_SUBSCRIBER=Teams, WS4REDIS_PREFIX="demo")
    redis.set(f"demo:team:red:{room}", "retained", ex=10)
    with live.open(f"/ws/{room}?subscribe-team&publish-team&echo") as ws:
        assert hear(ws) == "retained"
        redis.publish(f"demo:team:red:{room}", "for the team")
        redis.publish(f"demo:group:everybody:{room}", "for all")
        ws.send("of the team")
        assert [hear(ws) for _ in range(3)] == ["for the team", "for all", "of the team"]
    assert redis.get(f"demo:team:red:{room}") == b"of the team"


def test_a_subclass_may_name_channels_its_own_way(site: Site, live: Live, redis: Any) -> None:
    site(WS4REDIS_SUBSCRIBER=MoreNames)
    with live.open("/ws/room") as ws:
        redis.publish("common", "hello")
        assert hear(ws) == "hello"


def test_subclasses_share_the_one_subscription_of_the_process(
    site: Site, live: Live, redis: Any, room: str
) -> None:
    with live.open(f"/ws/{room}?subscribe-broadcast"):
        before = len(redis.client_list(_type="pubsub"))
    site(WS4REDIS_SUBSCRIBER=Teams)
    with live.open(f"/ws/{room}?subscribe-team"), live.open(f"/ws/{room}?subscribe-team"):
        assert len(redis.client_list(_type="pubsub")) == before


class Silent(RedisSubscriber):
    def send_persisted_messages(self, websocket: Any) -> None:
        websocket.send("welcome")
        websocket.send(b"\xff\xfe", True)


def test_a_subclass_says_what_is_sent_first(site: Site, live: Live, room: str) -> None:
    RedisPublisher(facility=room, broadcast=True).publish_message("retained", 10)
    site(WS4REDIS_SUBSCRIBER=Silent)
    with live.open(f"/ws/{room}?subscribe-broadcast") as ws:
        assert hear(ws) == "welcome"
        assert hear(ws) == b"\xff\xfe"
        RedisPublisher(facility=room, broadcast=True).publish_message("live", 0)
        assert hear(ws) == "live"


class Twice(RedisSubscriber):
    def send_persisted_messages(self, websocket: Any) -> None:
        super().send_persisted_messages(websocket)
        super().send_persisted_messages(websocket)


def test_a_subclass_may_go_on_from_what_is_sent_first(site: Site, live: Live, room: str) -> None:
    RedisPublisher(facility=room, broadcast=True).publish_message("retained", 10)
    site(WS4REDIS_SUBSCRIBER=Twice)
    with live.open(f"/ws/{room}?subscribe-broadcast") as ws:
        assert (hear(ws), hear(ws)) == ("retained", "retained")


class Shouting(RedisSubscriber):
    """A subscriber whose own publish_message may block."""

    threads: ClassVar[set[threading.Thread]] = set()

    def publish_message(self, message: Any, expire: int | None = None) -> Any:
        self.threads.add(threading.current_thread())
        if message == b"fail":
            raise LookupError("no such thing")
        return super().publish_message(RedisMessage(bytes(message).upper()), expire)


@pytest.mark.parametrize("echo", ["&echo", ""])
def test_a_subclass_may_publish_its_own_way(
    site: Site, live: Live, room: str, echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    site(WS4REDIS_SUBSCRIBER=Shouting)
    both = "subscribe-broadcast&publish-broadcast"
    with live.open(f"/ws/{room}?{both}{echo}") as ws, live.open(f"/ws/{room}?{both}") as other:
        for text in ("fail", "one", "two"):
            ws.send(text)
        assert (hear(other), hear(other)) == ("ONE", "TWO")
        other.send("three")
        assert hear(ws) == ("ONE" if echo else "THREE")
    assert "the message is lost" in caplog.text
    assert len(Shouting.threads) == 1


class Slow(RedisSubscriber):
    """A subscriber that publishes only when the test says so."""

    go: ClassVar[threading.Event] = threading.Event()

    def publish_message(self, message: Any, expire: int | None = None) -> Any:
        assert self.go.wait(SECONDS)
        return super().publish_message(message, expire)


def test_a_socket_that_sends_more_than_its_subscriber_publishes_waits(
    site: Site, live: Live, room: str, eventually: Any
) -> None:
    site(WS4REDIS_SUBSCRIBER=Slow)
    Slow.go.clear()
    message = "x" * 100_000
    with live.open(f"/ws/{room}?subscribe-broadcast&publish-broadcast&echo") as ws:
        eventually(lambda: len(live.server.websockets) == 1)
        (connection,) = live.server.websockets
        for _ in range(8):
            ws.send(message)
        eventually(lambda: connection.paused)
        Slow.go.set()
        assert [hear(ws) for _ in range(8)] == [message] * 8
        ws.send("and on")
        assert hear(ws) == "and on"


class Lost(RedisSubscriber):
    def set_pubsub_channels(self, request: Any, channels: Any) -> None:
        raise LookupError("a secret")


def test_a_subclass_that_fails_refuses(site: Site, live: Live, room: str) -> None:
    site(WS4REDIS_SUBSCRIBER=Lost)
    answer = refusal(live, f"/ws/{room}?subscribe-broadcast")
    assert answer.status_code == 500
    assert b"secret" not in answer.body


class Quiet(RedisSubscriber):
    def set_pubsub_channels(self, request: Any, channels: Any) -> None:
        """Settle nothing at all."""


def test_a_subclass_that_settles_nothing_listens_to_nothing(
    site: Site, live: Live, room: str
) -> None:
    site(WS4REDIS_SUBSCRIBER=Quiet)
    with live.open(f"/ws/{room}?subscribe-broadcast&publish-broadcast&echo") as ws:
        ws.send("nobody gets this")
        assert ws.ping().wait(30)


def test_self_is_also_here() -> None:
    from ws4redis import publisher, subscriber

    assert subscriber.SELF is publisher.SELF is SELF
