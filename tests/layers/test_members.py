"""Consumers of this process as members of groups."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from wsredis import Config
from wsredis.config import sources
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable
from wsredis.hub.steps import STEP
from wsredis.layers import RedisChannelLayer
from wsredis.layers import redis as redis_layer
from wsredis.layers.groups import GroupFeed
from wsredis.layers.members import copier

from ..servers.support import eventually

MakeLayer = Callable[..., Any]


class Recorder:
    """A kind of members that notes what they get."""

    def __init__(self, steps: list[int] | None = None) -> None:
        self.got: list[tuple[Any, Any]] = []
        self.steps: list[int] = []
        self.fails = False

    def deliver(self, members: Any, copy: Callable[[], Any]) -> None:
        if self.fails:
            raise LookupError("a fault")
        self.steps.append(len(members))
        self.got += [(member, copy()) for member in members]


class Person:
    """A member."""

    def __init__(self, kind: Recorder, name: str = "alice") -> None:
        self.kind = kind
        self.name = name
        self.groups: set[str] = set()
        self.max_groups = 3
        self.ended = False
        self.gaps = 0

    def on_gap(self) -> None:
        self.gaps += 1


def texts(kind: Recorder) -> list[Any]:
    return [(member.name, event["text"]) for member, event in kind.got]


def test_members_get_the_events_of_their_groups(our_layer: MakeLayer) -> None:
    layer, kind, other = our_layer(), Recorder(), Recorder()
    alice, bob, carol = Person(kind), Person(kind, "bob"), Person(other, "carol")
    for member in (alice, bob, carol):
        layer.join("all", member)
        layer.join("all", member)
    layer.join("some", bob)
    layer.group_send("all", {"type": "say", "text": "one"})
    eventually(lambda: len(kind.got) == 2 and len(other.got) == 1, "all have got it")
    assert sorted(texts(kind)) == [("alice", "one"), ("bob", "one")]
    assert bob.groups == {"all", "some"}
    layer.leave("all", bob)
    layer.leave("all", bob)
    layer.group_send("all", {"type": "say", "text": "two"})
    layer.group_send("some", {"type": "say", "text": "three"})
    eventually(lambda: len(kind.got) == 4 and len(other.got) == 2, "each has got its own")
    assert sorted(texts(kind)[2:]) == [("alice", "two"), ("bob", "three")]
    assert bob.groups == {"some"}
    with pytest.raises(TypeError, match="is not a valid group name"):
        layer.join("not valid!", alice)


def test_each_gets_a_copy(our_layer: MakeLayer) -> None:
    layer, kind = our_layer(), Recorder()
    layer.join("all", Person(kind))
    layer.join("all", Person(kind, "bob"))
    layer.group_send("all", {"type": "say", "list": [1]})
    eventually(lambda: len(kind.got) == 2, "both have got it")
    (_, first), (_, second) = kind.got
    first["list"].append(2)
    assert second == {"type": "say", "list": [1]}


def test_a_channel_of_a_member(our_layer: MakeLayer) -> None:
    layer, kind = our_layer(), Recorder()
    alice = Person(kind)
    name = layer.open(alice).result()
    layer.send(name, {"type": "say", "text": "for you"})
    eventually(lambda: kind.got, "it has got it")
    layer.group_add("all", name)
    assert alice.groups == {"all"}
    layer.group_send("all", {"type": "say", "text": "for all"})
    eventually(lambda: len(kind.got) == 2, "it has got it")
    layer.group_discard("all", name)
    assert alice.groups == set()
    layer.end_channel(name)
    layer.end_channel(name)
    layer.leave("all", alice)
    assert texts(kind) == [("alice", "for you"), ("alice", "for all")]


def test_no_more_messages_count_for_a_channel_than_wait(layers: MakeLayer) -> None:
    layer, kind = layers(capacity=2), Recorder()
    name = layer.open(Person(kind)).result()
    for number in range(10):
        layer.send(name, {"type": "say", "text": str(number)})
        eventually(lambda count=number + 1: len(kind.got) == count, "it has got it")


def test_another_process_adds_a_member_by_its_channel(layers: MakeLayer) -> None:
    here, there, kind = layers(), layers(), Recorder()
    alice = Person(kind)
    name = here.open(alice).result()
    there.group_add("all", name)
    eventually(lambda: alice.groups == {"all"}, "it was added")
    there.group_discard("all", name)
    eventually(lambda: not alice.groups, "it was discarded")
    here.end_channel(name)
    there.group_add("all", name)
    there.group_send("all", {"type": "say", "text": "late"})
    here.group_send("all", {"type": "say", "text": "late"})
    assert kind.got == []


def test_nothing_is_subscribed_to_when_all_have_left(
    layers: MakeLayer, redis_client: redis.Redis
) -> None:
    layer, kind = layers(), Recorder()
    people = [Person(kind, str(number)) for number in range(3)]
    for member in people:
        layer.join("all", member)
    assert redis_client.pubsub_channels("asgi*") == [b"asgi__group__all"]
    for member in people:
        layer.leave("all", member)
    eventually(lambda: redis_client.pubsub_channels("asgi*") == [], "nobody is subscribed")
    layer.join("all", people[0])
    assert redis_client.pubsub_channels("asgi*") == [b"asgi__group__all"]


def test_joining_at_once_subscribes_once(layers: MakeLayer) -> None:
    layer, kind = layers(), Recorder()
    people = [Person(kind, str(number)) for number in range(20)]
    threads = [threading.Thread(target=layer.join, args=["all", member]) for member in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    layer.group_send("all", {"type": "say", "text": "x"})
    eventually(lambda: len(kind.got) == 20, "all have got it")
    assert len({member.name for member, _ in kind.got}) == 20


def test_many_members_are_served_in_steps(layers: MakeLayer) -> None:
    layer, kind = layers(), Recorder()
    count = 2 * STEP + 1
    for number in range(count):
        layer.join("all", Person(kind, str(number)))
    for text in ("one", "two"):
        layer.group_send("all", {"type": "say", "text": text})
    eventually(lambda: len(kind.got) == 2 * count, "all have got both")
    assert kind.steps == [STEP, STEP, 1] * 2
    assert [event["text"] for _, event in kind.got] == ["one"] * count + ["two"] * count


def test_events_that_wait_are_bounded(
    layers: MakeLayer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    layer, kind = layers(capacity=2), Recorder()
    for number in range(STEP + 1):
        layer.join("all", Person(kind, str(number)))
    (feed,) = layer._feeds.values()

    def take() -> None:
        for number in range(5):
            feed._take(b"asgi__group__all", layer._codec.encode({"type": "say", "text": number}))

    feed.process.loop.run(take)
    eventually(lambda: len(kind.got) == 3 * (STEP + 1), "the first ones were delivered")
    assert layer.dropped == 2
    assert "asgi__group__all: 2 events wait already" in caplog.text


def test_a_fault_or_a_message_that_cannot_be_read_ends_nothing(
    layers: MakeLayer, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    layer, kind = layers(), Recorder()
    alice = Person(kind)
    layer.join("all", alice)
    name = layer.open(alice).result()
    redis_client.publish("asgi__group__all", b"\xc1")
    redis_client.publish(name, b"\x00\xc1")
    eventually(lambda: layer.dropped == 2, "they were dropped")
    kind.fails = True
    layer.group_send("all", {"type": "say", "text": "x"})
    eventually(lambda: "an event of asgi__group__all could not be" in caplog.text, "it is logged")
    kind.fails = False
    layer.group_send("all", {"type": "say", "text": "y"})
    eventually(lambda: texts(kind) == [("alice", "y")], "the next one is delivered")


def test_a_gap_is_told_to_each_member(own_site: EmbeddedRedis) -> None:
    layer, kind = RedisChannelLayer(), Recorder()
    alice, bob = Person(kind), Person(kind, "bob")
    layer.join("all", alice)
    layer.open(bob)
    with redis.Redis.from_url(own_site.url) as client:
        client.client_kill_filter(_type="pubsub")
    eventually(lambda: alice.gaps and bob.gaps, "both know")
    layer.group_send("all", {"type": "say", "text": "after"})
    eventually(lambda: texts(kind) == [("alice", "after")], "it has got it")
    layer.close()


def test_when_the_hub_is_closed_each_member_is_told(own_site: EmbeddedRedis) -> None:
    layer, kind = RedisChannelLayer(), Recorder()
    alice = Person(kind)
    layer.join("all", alice)
    (feed,) = layer._feeds.values()
    feed.process.close()
    assert alice.gaps == 1
    bob = Person(kind, "bob")
    layer.join("all", bob)
    layer.group_send("all", {"type": "say", "text": "again"})
    eventually(lambda: texts(kind) == [("bob", "again")], "the new one has got it")


def test_without_redis_joining_says_so(own_site: EmbeddedRedis) -> None:
    layer, kind = RedisChannelLayer(), Recorder()
    alice = Person(kind)
    layer.join("some", alice)
    own_site.stop()
    with pytest.raises(BrokerUnavailable):
        layer.join("all", alice)
    with pytest.raises(BrokerUnavailable):
        layer.open(alice)
    assert alice.groups == {"some"}
    assert [*layer._feeds] == ["asgi__group__some"]


def test_the_groups_of_a_member_are_bounded(our_layer: MakeLayer) -> None:
    layer, alice = our_layer(), Person(Recorder())
    for name in ("a", "b", "c", "c"):
        layer.join(name, alice)
    with pytest.raises(ValueError, match="more than 3 groups"):
        layer.join("d", alice)
    layer.leave("a", alice)
    layer.join("d", alice)
    assert alice.groups == {"b", "c", "d"}


def test_a_group_that_ends_while_a_member_joins_is_begun_again(
    layers: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, kind = layers(), Recorder()
    ended = layer._feed("asgi__group__all")
    ended.closed = True
    find = layer._feed
    feeds = iter([ended])
    monkeypatch.setattr(layer, "_feed", lambda name: next(feeds, None) or find(name))
    layer.join("all", Person(kind))
    layer.group_send("all", {"type": "say", "text": "x"})
    eventually(lambda: texts(kind) == [("alice", "x")], "it has got it")


def test_a_group_whose_last_member_leaves_while_it_joins_is_not_subscribed(
    layers: MakeLayer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, alice = layers(), Person(Recorder())
    feed = layer._feed("asgi__group__all")
    hub = feed.process.hub
    subscribe = hub.subscribe

    def leaves_meanwhile(*args: Any, **kwargs: Any) -> None:
        subscribe(*args, **kwargs)
        feed.discard(alice)

    monkeypatch.setattr(hub, "subscribe", leaves_meanwhile)
    layer.join("all", alice)
    assert feed.closed
    eventually(lambda: redis_client.pubsub_channels("asgi*") == [], "nobody is subscribed")


def test_a_group_that_was_begun_again_stays(
    layers: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, kind = layers(), Recorder()
    alice, bob = Person(kind), Person(kind, "bob")
    layer.join("all", alice)
    (old,) = layer._feeds.values()
    discard = old.discard

    def joins_meanwhile(member: Any) -> bool:
        is_last = discard(member)
        layer.join("all", bob)
        return bool(is_last)

    monkeypatch.setattr(old, "discard", joins_meanwhile)
    layer.leave("all", alice)
    assert [*layer._feeds.values()] != [old]
    layer.group_send("all", {"type": "say", "text": "x"})
    eventually(lambda: texts(kind) == [("bob", "x")], "it has got it")


def test_a_member_that_ends_while_it_joins_is_in_no_group(our_layer: MakeLayer) -> None:
    """Another process, or a view, has added it by its channel."""
    layer, kind = our_layer(), Recorder()
    alice, bob = Person(kind), Person(kind, "bob")
    layer.join("all", bob)
    alice.ended = True
    layer.join("all", alice)
    assert alice.groups == set()
    layer.group_send("all", {"type": "say", "text": "x"})
    eventually(lambda: texts(kind), "the event is delivered")
    assert texts(kind) == [("bob", "x")]


def test_a_channel_that_has_ended_joins_no_group(layers: MakeLayer) -> None:
    layer = layers()
    own = layer._channels[layer.new_channel().result()]
    calls: list[Any] = []
    own.controls = 1
    own.ended = True
    layer._control._change(own, lambda *args: calls.append(args), "group")
    assert (calls, own.controls) == ([], 0)


@pytest.mark.parametrize("is_member", [True, False])
def test_the_groups_of_a_channel_are_bounded(
    own_site: EmbeddedRedis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_member: bool,
) -> None:
    config = Config(redis=own_site.url, max_handshake_channels=3)
    monkeypatch.setattr(sources, "_current", config)
    here, there = RedisChannelLayer(), RedisChannelLayer()
    alice = Person(Recorder())
    name = (here.open(alice) if is_member else here.new_channel()).result()
    for group in ("a", "b", "c", "c"):
        here.group_add(group, name)
    with pytest.raises(ValueError, match="cannot be a member of more than 3 groups"):
        here.group_add("d", name)
    there.group_add("e", name)
    eventually(lambda: here.dropped == 1, "it was not added")
    text = "the group e cannot be changed: a consumer cannot be a member"
    eventually(lambda: text in caplog.text, "it is logged")  # behind the counter
    here.group_discard("a", name)
    here.group_add("d", name)
    here.close()


def test_threads_that_begin_a_group_at_once_share_it(
    layers: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layers()
    begun: list[GroupFeed] = []

    def begin(*args: Any) -> GroupFeed:
        """Make the group, after another thread has made it."""
        begun.append(GroupFeed(*args))
        layer._feeds.setdefault("asgi__group__all", begun[0])
        return GroupFeed(*args)

    monkeypatch.setattr(redis_layer, "GroupFeed", begin)
    assert layer._feed("asgi__group__all") is begun[0]


def test_an_event_may_be_nested_as_deep_as_json() -> None:
    values: list[Any] = []
    for _ in range(5000):  # more than the recursion limit
        values = [{"values": values}]
    copy = copier({"type": "news", "values": values})
    one, two = copy(), copy()
    depth = 0
    inner, other = one["values"], two["values"]
    while inner:
        depth += 1
        assert inner is not other
        assert inner[0] is not other[0]
        inner, other = inner[0]["values"], other[0]["values"]
    assert depth == 5000
    assert inner is not other
