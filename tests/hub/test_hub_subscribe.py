"""Open websockets that subscribe to more channels, or to fewer."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event
from websockets.frames import Opcode

from wsredis.brokers.redis.broker import RedisBroker
from wsredis.brokers.redis.client import RedisClient
from wsredis.config import Config
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable, HandshakeError
from wsredis.hub import dispatch
from wsredis.hub.channel import BATCH_SIZE
from wsredis.identity import ANONYMOUS, Identity
from wsredis.message import Message
from wsredis.protocol.frames import FrameEncoding
from wsredis.transports.stream import State
from wsredis.transports.websocket import WebSocket

from ..place import CHANNEL, Client, Place, Recorder, until

SPORT, WEATHER = "ws:broadcast:sport", "ws:broadcast:weather"
CONTROL, END = "ws:control", "ws:broadcast:end"


class Confirmation:
    """A broker that confirms subscriptions when the test says so."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.asked: list[tuple[str, ...]] = []
        self._gates: list[Event] = []
        self._subscribe = place.hub._feed.subscribe
        self.failing: BaseException | None = None
        place.hub._feed.subscribe = self._slowly

    def _slowly(self, channels: Any, most: int) -> Any:
        retained = self._subscribe(channels)
        if not {*channels} - {CONTROL}:  # of one without channels
            return retained
        gate = Event()
        self._gates.append(gate)
        self.asked.append(tuple(channels))
        gate.wait()
        if self.failing is not None:
            raise self.failing
        return retained

    def give(self, number: int = -1, error: BaseException | None = None) -> None:
        """Confirm the last subscription, or another one, or let it fail."""
        self.failing = error
        self.place.run(self._gates[number].set)

    def begin(self, connection: WebSocket, *channels: str, **options: Any) -> Any:
        """Return a greenlet that subscribes and waits for the confirmation."""
        before = len(self.asked)

        def subscribe() -> None:
            self.place.hub.subscribe(connection, channels, **options)

        greenlet = self.place.run(gevent.spawn, subscribe)
        until(lambda: len(self.asked) > before)
        return greenlet

    def finish(self, greenlet: Any) -> None:
        """Confirm, and wait until that has had its effect; raise what it raises."""
        self.give()
        self.place.run(greenlet.get)


@pytest.fixture
def confirmation(place: Place) -> Confirmation:
    """Hold up what a hub subscribes to from now on; nobody has subscribed yet."""
    return Confirmation(place)


def joined(confirmation: Confirmation, *channels: str) -> tuple[Client, WebSocket, Recorder]:
    """Return an open websocket with some channels."""
    place = confirmation.place
    if not channels:
        return place.connect()
    before, made = len(confirmation.asked), list[tuple[Client, WebSocket, Recorder]]()
    thread = threading.Thread(target=lambda: made.append(place.connect(*channels)))
    thread.start()
    until(lambda: len(confirmation.asked) > before)
    confirmation.give()
    thread.join(30)
    return made[0]


def recent(place: Place, connection: WebSocket, channel: str) -> list[Message]:
    return place.hub._channels[channel].joining[connection]


def texts(client: Client, count: int) -> list[str]:
    return [client.read()[1].decode() for _ in range(count)]


def nothing_is_left(place: Place, *channels: str) -> bool:
    """Tell whether nobody is here who is subscribed to other channels than these."""

    def look() -> bool:
        hub = place.hub
        known = set(hub._channels) == set(channels)
        joining = any(channel.joining for channel in hub._channels.values())
        return known and not joining and hub._feed.channels - {CONTROL} == set(channels)

    return bool(place.run(look))


# Joining


def test_an_open_websocket_gets_what_is_retained_and_then_what_comes(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    place.publish("retained", SPORT, expire=60)
    place.run(place.hub.subscribe, connection, [SPORT, WEATHER])
    assert connection.channels == (CHANNEL, SPORT, WEATHER)
    for number, name in enumerate((SPORT, WEATHER, CHANNEL, SPORT)):
        place.publish(f"{number}", name)
    assert texts(client, 5) == ["retained", "0", "1", "2", "3"]
    client.sock.close()
    until(lambda: nothing_is_left(place))
    assert connection.sent == 5


def test_the_first_channel_of_a_process_may_be_that_of_an_open_websocket(place: Place) -> None:
    client, connection, _ = place.connect(identity=Identity("alice"))
    assert place.hub._feed.channels == {CONTROL}
    place.run(place.hub.subscribe, connection, [CHANNEL])
    assert place.hub._feed.channels == {CONTROL, CHANNEL}
    place.publish("hello")
    assert texts(client, 1) == ["hello"]


def test_what_is_published_while_the_broker_confirms_comes_once_and_after_what_was_retained(
    place: Place, confirmation: Confirmation
) -> None:
    place.publish("retained sport", SPORT, expire=60)
    place.publish("retained weather", WEATHER, expire=60)
    client, connection, _ = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT, WEATHER)
    place.publish("one", WEATHER)
    place.publish("two", SPORT, expire=60)
    place.publish("three", WEATHER)
    place.publish("meanwhile", CHANNEL)
    assert texts(client, 1) == ["meanwhile"]  # the others wait
    assert len(recent(place, connection, SPORT)) == 3
    confirmation.finish(greenlet)
    place.publish("four", SPORT)
    place.publish("five", WEATHER)
    assert texts(client, 7) == [
        "retained sport", "retained weather", "one", "two", "three", "four", "five"
    ]  # fmt: skip
    client.sock.close()
    until(lambda: nothing_is_left(place))
    assert connection.sent == 8


def test_what_came_meanwhile_and_was_retained_by_then_comes_once(
    place: Place, confirmation: Confirmation
) -> None:
    """As with Redis, which is asked for the retained message after it has begun to send."""
    client, connection, _ = joined(confirmation, CHANNEL)
    place.publish("old", SPORT, expire=60)
    place.publish("rain", WEATHER, expire=60)
    retained: list[Message] = []
    subscribe = confirmation._subscribe

    def ask_later(channels: Any) -> Any:
        subscribe(channels)
        return retained

    confirmation._subscribe = ask_later
    greenlet = confirmation.begin(connection, SPORT, WEATHER)
    place.publish("new", SPORT, expire=60)
    until(lambda: recent(place, connection, SPORT))
    retained += place.broker.fetch([SPORT, WEATHER])
    confirmation.finish(greenlet)
    place.publish("end", CHANNEL)
    assert texts(client, 3) == ["rain", "new", "end"]


def test_who_does_not_want_what_is_retained_gets_only_what_comes(
    place: Place, confirmation: Confirmation
) -> None:
    client, connection, _ = joined(confirmation)
    place.publish("retained", SPORT, expire=60)
    greenlet = confirmation.begin(connection, SPORT, retained=False)
    place.publish("live", SPORT)
    confirmation.finish(greenlet)
    assert texts(client, 1) == ["live"]


def test_others_of_the_channel_do_not_wait_for_who_is_joining(
    place: Place, confirmation: Confirmation
) -> None:
    other, _, _ = joined(confirmation, SPORT)
    client, connection, _ = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT)
    place.publish("goal", SPORT)
    assert texts(other, 1) == ["goal"]
    place.publish("news")
    assert texts(client, 1) == ["news"]
    confirmation.finish(greenlet)
    assert texts(client, 1) == ["goal"]


def test_ones_own_is_skipped_while_one_joins(place: Place, confirmation: Confirmation) -> None:
    other, _, _ = joined(confirmation, SPORT)
    client, connection, _ = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT, WEATHER)

    def publish() -> None:
        for text, echo in (("mine", False), ("echoed", True), ("same", False), ("same", True)):
            connection.publish([SPORT], text, echo=echo)
        connection.publish([WEATHER, SPORT], "mine to both", echo=False)

    place.run(publish)
    assert texts(other, 5) == ["mine", "echoed", "same", "same", "mine to both"]
    place.publish("mine", SPORT)  # says somebody else
    assert texts(other, 1) == ["mine"]
    confirmation.finish(greenlet)
    place.publish("end")
    assert texts(client, 4) == ["echoed", "same", "mine", "end"]
    assert not any(channel.echoes for channel in place.hub._channels.values())
    client.sock.close()
    until(lambda: nothing_is_left(place, SPORT))
    assert connection.sent == 4


def test_ones_own_that_comes_back_after_one_has_joined_is_skipped(
    place: Place, confirmation: Confirmation, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection, _ = joined(confirmation, CHANNEL)
    publish, on_their_way = place.hub._feed.publish, list[Any]()
    monkeypatch.setattr(
        place.hub._feed, "publish", lambda *arguments: on_their_way.append(arguments)
    )
    greenlet = confirmation.begin(connection, SPORT)
    place.run(lambda: connection.publish([SPORT], "mine", echo=False))
    confirmation.finish(greenlet)
    place.run(lambda: publish(*on_their_way[0]))
    place.publish("end", SPORT)
    assert texts(client, 1) == ["end"]


def test_channels_that_one_has_already_are_left_out(
    place: Place, confirmation: Confirmation
) -> None:
    place.publish("news", expire=60)
    place.publish("goal", SPORT, expire=60)
    client, connection, _ = joined(confirmation, CHANNEL)
    assert texts(client, 1) == ["news"]
    greenlet = confirmation.begin(connection, CHANNEL, SPORT, CHANNEL, SPORT)
    assert confirmation.asked[-1] == (SPORT,)
    confirmation.finish(greenlet)
    assert connection.channels == (CHANNEL, SPORT)
    before = len(confirmation.asked)
    place.run(place.hub.subscribe, connection, [CHANNEL, SPORT])
    place.run(place.hub.subscribe, connection, [])
    assert len(confirmation.asked) == before
    place.publish("end")
    assert texts(client, 2) == ["goal", "end"]


def test_one_may_join_two_things_at_a_time(place: Place, confirmation: Confirmation) -> None:
    client, connection, _ = joined(confirmation, CHANNEL)
    first = confirmation.begin(connection, SPORT)
    second = confirmation.begin(connection, WEATHER)
    place.publish("goal", SPORT)
    place.publish("rain", WEATHER)
    until(lambda: recent(place, connection, WEATHER))
    confirmation.give(-1)
    place.run(second.get)
    assert texts(client, 1) == ["rain"]
    confirmation.give(-2)
    place.run(first.get)
    assert texts(client, 1) == ["goal"]
    assert connection.channels == (CHANNEL, SPORT, WEATHER)


def test_who_joins_many_gets_nothing_that_is_on_its_way_to_them_and_all_that_comes(
    place: Place,
) -> None:
    crowd = [place.connect(SPORT)[0] for _ in range(BATCH_SIZE * 3)]
    client, connection, _ = place.connect(CHANNEL)
    place.publish("retained", SPORT, expire=60)
    for one in crowd:
        assert texts(one, 1) == ["retained"]

    def join_between() -> None:
        already = place.hub.stats.delivered
        place.broker.publish([SPORT], b"one", 0)
        while place.hub.stats.delivered == already:
            gevent.sleep(0)
        assert place.hub._channels[SPORT].waiting
        place.hub.subscribe(connection, [SPORT])
        place.broker.publish([SPORT], b"two", 0)

    place.run(join_between)
    assert texts(client, 2) == ["retained", "two"]
    assert all(texts(one, 2) == ["one", "two"] for one in crowd)


def test_what_came_while_one_joined_does_not_overtake_what_waits_for_many(
    place: Place, confirmation: Confirmation, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection, _ = joined(confirmation, CHANNEL)
    monkeypatch.setattr(place.hub._feed, "subscribe", confirmation._subscribe)  # who are quick
    for _ in range(BATCH_SIZE * 2):
        place.connect(CHANNEL)
    monkeypatch.undo()
    batches = place.hub._channels[CHANNEL]._batches
    place.run(lambda: batches.append(batches.pop(0)))  # its own comes last
    greenlet = confirmation.begin(connection, SPORT)
    monkeypatch.setattr(dispatch, "NEXT_TURN", 0.2)

    def join_between() -> None:
        place.broker.publish([CHANNEL], b"to all", 0)
        place.broker.publish([SPORT], b"goal", 0)
        while not recent(place, connection, SPORT):
            gevent.sleep(0)
        confirmation._gates[-1].set()
        greenlet.get()
        assert place.hub._channels[CHANNEL].waiting

    place.run(join_between)
    assert texts(client, 2) == ["to all", "goal"]


# Ending, and leaving, while one joins


def close_handshake(place: Place, client: Client, connection: WebSocket) -> None:
    place.run(connection.close, 4000)
    assert client.close_code() == 4000
    client.send(Opcode.CLOSE, (4000).to_bytes(2))
    client.sock.close()


ENDS: dict[str, Callable[[Place, Client, WebSocket], Any]] = {
    "the client goes": lambda place, client, connection: client.sock.close(),
    "abort": lambda place, client, connection: place.run(connection.abort),
    "close": close_handshake,
}


@pytest.mark.parametrize("retained", [True, False], ids=["retained", "nothing-retained"])
@pytest.mark.parametrize("end", ENDS)
def test_a_websocket_that_ends_while_it_joins_leaves_nothing_behind(
    place: Place, confirmation: Confirmation, end: str, retained: bool
) -> None:
    if retained:
        place.publish("retained", SPORT, expire=60)
    client, connection, endpoint = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT, WEATHER)
    place.publish("goal", SPORT)
    until(lambda: recent(place, connection, SPORT))
    ENDS[end](place, client, connection)
    until(lambda: connection.state is State.CLOSED)
    assert nothing_is_left(place)
    confirmation.finish(greenlet)
    assert nothing_is_left(place)
    assert connection.send_buffer_size == 0
    assert len(endpoint.codes) == 1
    assert place.numbers()["connections"] == place.hub.limits.count == 0
    place.publish("nobody hears it", SPORT)
    place.connect()  # a turn of the loop later
    assert nothing_is_left(place)


def test_a_websocket_that_begins_to_close_while_it_joins_gets_nothing_more(
    place: Place, confirmation: Confirmation
) -> None:
    place.publish("retained", SPORT, expire=60)
    client, connection, _ = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT)
    place.publish("goal", SPORT)
    until(lambda: recent(place, connection, SPORT))
    place.run(connection.close, 4000)
    assert nothing_is_left(place)
    confirmation.finish(greenlet)
    assert nothing_is_left(place)
    assert client.read()[0] == Opcode.CLOSE
    client.send(Opcode.CLOSE, (4000).to_bytes(2))
    with pytest.raises(EOFError):
        client.read()


def test_one_that_ends_when_it_is_sent_what_is_retained_leaves_nothing_behind(
    place: Place, confirmation: Confirmation
) -> None:
    place.publish("retained", SPORT, expire=60)
    client, connection, endpoint = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT)
    place.publish("goal", SPORT)
    until(lambda: recent(place, connection, SPORT))
    place.run(connection._reader.stop)  # only writing shows that it has gone
    client.sock.close()
    confirmation.finish(greenlet)
    until(lambda: endpoint.codes == [1006])
    assert nothing_is_left(place)


def test_one_that_has_ended_subscribes_to_nothing(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    client.sock.close()
    until(lambda: connection.state is State.CLOSED)
    place.run(place.hub.subscribe, connection, [SPORT])
    assert nothing_is_left(place)
    assert connection.channels == (CHANNEL,)  # as the log line says


def test_one_that_was_not_admitted_subscribes_to_nothing(place: Place) -> None:
    connection = place.websocket(Recorder(), ANONYMOUS)
    place.run(place.hub.subscribe, connection, [SPORT])
    assert nothing_is_left(place)
    assert connection.channels == ()


def test_who_leaves_while_it_joins_gets_nothing_and_leaves_nothing_behind(
    place: Place, confirmation: Confirmation
) -> None:
    place.publish("retained", SPORT, expire=60)
    client, connection, _ = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT)
    place.publish("goal", SPORT)
    until(lambda: recent(place, connection, SPORT))
    place.run(place.hub.unsubscribe, connection, [SPORT])
    assert connection.channels == (CHANNEL,)
    assert nothing_is_left(place, CHANNEL)
    confirmation.finish(greenlet)
    assert nothing_is_left(place, CHANNEL)
    assert connection.channels == (CHANNEL,)
    place.publish("another goal", SPORT)
    place.publish("end")
    assert texts(client, 1) == ["end"]


def test_who_leaves_one_of_two_while_it_joins_gets_only_the_other(
    place: Place, confirmation: Confirmation
) -> None:
    place.publish("retained sport", SPORT, expire=60)
    place.publish("retained weather", WEATHER, expire=60)
    client, connection, _ = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT, WEATHER)
    for number in range(4):
        place.publish(f"{number}", (SPORT, WEATHER)[number % 2])
    until(lambda: len(recent(place, connection, SPORT)) == 4)
    place.run(place.hub.unsubscribe, connection, [SPORT])
    confirmation.finish(greenlet)
    assert nothing_is_left(place, CHANNEL, WEATHER)
    place.publish("goal", SPORT)
    place.publish("rain", WEATHER)
    assert texts(client, 4) == ["retained weather", "1", "3", "rain"]
    client.sock.close()
    until(lambda: nothing_is_left(place))
    assert connection.sent == 4


def test_who_leaves_while_it_joins_and_comes_back_gets_what_comes_since_then_once_and_in_order(
    place: Place, confirmation: Confirmation
) -> None:
    client, connection, _ = joined(confirmation, CHANNEL)
    first = confirmation.begin(connection, SPORT)
    place.publish("before", SPORT, expire=60)
    until(lambda: recent(place, connection, SPORT))
    place.run(place.hub.unsubscribe, connection, [SPORT])
    second = confirmation.begin(connection, SPORT)
    place.publish("one", SPORT)
    until(lambda: recent(place, connection, SPORT))
    confirmation.give(-2)
    place.run(first.get)
    place.publish("two", SPORT)
    until(lambda: len(recent(place, connection, SPORT)) == 2)
    confirmation.finish(second)
    place.publish("three", SPORT)
    assert texts(client, 4) == ["before", "one", "two", "three"]
    client.sock.close()
    until(lambda: nothing_is_left(place))
    assert connection.sent == 4


def test_a_subscription_that_fails_does_not_take_a_later_one_along(
    place: Place, confirmation: Confirmation
) -> None:
    client, connection, _ = joined(confirmation, CHANNEL)
    first = confirmation.begin(connection, SPORT, WEATHER)
    place.run(place.hub.unsubscribe, connection, [SPORT])
    second = confirmation.begin(connection, SPORT)
    confirmation.give(-2, BrokerUnavailable("for a moment"))
    with pytest.raises(BrokerUnavailable):
        place.run(first.get)
    assert connection.channels == (CHANNEL, SPORT)
    confirmation.finish(second)
    assert nothing_is_left(place, CHANNEL, SPORT)
    place.publish("goal", SPORT)
    assert texts(client, 1) == ["goal"]


def test_a_gap_while_one_joins_closes_it_and_leaves_nothing_behind(
    place: Place, confirmation: Confirmation
) -> None:
    client, connection, _ = joined(confirmation)
    greenlet = confirmation.begin(connection, SPORT)
    place.run(place.hub._feed.stats.count_gap)
    assert client.close_code() == 1012
    confirmation.finish(greenlet)
    assert nothing_is_left(place)


# Leaving


def test_who_has_left_a_channel_gets_nothing_more_of_it(place: Place) -> None:
    other, _, _ = place.connect(SPORT)
    client, connection, _ = place.connect(CHANNEL, SPORT, WEATHER)
    place.publish("one", SPORT)
    assert texts(client, 1) == texts(other, 1) == ["one"]
    place.run(place.hub.unsubscribe, connection, [SPORT, WEATHER, "ws:broadcast:unknown"])
    assert connection.channels == (CHANNEL,)
    assert nothing_is_left(place, CHANNEL, SPORT)
    place.publish("two", SPORT)
    place.publish("end")
    assert texts(client, 1) == ["end"]
    assert texts(other, 1) == ["two"]
    client.sock.close()
    until(lambda: nothing_is_left(place, SPORT))
    assert connection.sent == 2


def test_who_leaves_a_channel_of_many_does_not_get_what_still_waits_there(place: Place) -> None:
    crowd = [place.connect(SPORT)[0] for _ in range(BATCH_SIZE * 2)]
    client, connection, _ = place.connect(SPORT, CHANNEL)

    def leave_between() -> None:
        place.broker.publish([SPORT], b"goal", 0)
        while place.hub.stats.delivered == 0:
            gevent.sleep(0)
        assert place.hub._channels[SPORT].waiting
        place.hub.unsubscribe(connection, [SPORT])

    place.run(leave_between)
    place.publish("end")
    assert texts(client, 1) == ["end"]
    assert all(texts(one, 1) == ["goal"] for one in crowd)
    client.sock.close()
    until(lambda: nothing_is_left(place, SPORT))
    assert connection.sent == 1


def test_who_comes_back_gets_what_is_retained_anew(place: Place) -> None:
    client, connection, _ = place.connect(SPORT)
    place.publish("one", SPORT, expire=60)
    place.run(place.hub.unsubscribe, connection, [SPORT])
    place.run(place.hub.subscribe, connection, [SPORT])
    place.publish("two", SPORT)
    assert texts(client, 3) == ["one", "one", "two"]


# A broker that is unavailable


def test_where_the_broker_is_unavailable_nothing_is_subscribed(
    place: Place, confirmation: Confirmation
) -> None:
    client, connection, _ = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT, WEATHER)
    place.publish("goal", SPORT, expire=60)
    until(lambda: recent(place, connection, SPORT))
    confirmation.give(error=BrokerUnavailable("not now"))
    with pytest.raises(BrokerUnavailable):
        place.run(greenlet.get)
    assert connection.channels == (CHANNEL,)
    assert connection.state is State.OPEN
    assert nothing_is_left(place, CHANNEL)
    place.publish("end")
    assert texts(client, 1) == ["end"]
    greenlet = confirmation.begin(connection, SPORT)  # and later it may be
    confirmation.finish(greenlet)
    assert texts(client, 1) == ["goal"]


def test_a_subscription_that_is_interrupted_leaves_nothing_behind(
    place: Place, confirmation: Confirmation
) -> None:
    _client, connection, _ = joined(confirmation, CHANNEL)
    greenlet = confirmation.begin(connection, SPORT)
    place.run(greenlet.kill)
    assert connection.channels == (CHANNEL,)
    assert nothing_is_left(place, CHANNEL)


def test_without_a_broker_nobody_joins_who_has_no_channels(
    place: Place, confirmation: Confirmation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(channels: Any, most: int) -> Any:
        raise BrokerUnavailable("not now")

    monkeypatch.setattr(place.hub._feed, "subscribe", fail)
    with pytest.raises(HandshakeError) as refused:
        place.connect()
    assert refused.value.status == 503
    assert place.numbers()["connections"] == place.hub.limits.count == 0


def test_what_one_has_left_before_the_feed_began_with_it_is_not_wanted_for_ever(
    places: Callable[..., Place], own_redis: EmbeddedRedis
) -> None:
    broker = RedisBroker(RedisClient(Config(redis=own_redis.url)))
    place = places(broker=broker, on_gap="keep")
    _client, connection, _ = place.connect(CHANNEL)
    feed: Any = place.hub._feed
    own_redis.freeze()
    feed._tried.clear()
    link, feed._link = feed._link, None  # as while a new one is made
    greenlet = place.run(gevent.spawn, place.hub.subscribe, connection, [SPORT])
    until(lambda: place.hub._channels.keys() == {CHANNEL, SPORT})
    place.run(place.hub.unsubscribe, connection, [SPORT])
    feed._link = link
    place.run(feed._tried.set)
    own_redis.thaw()
    place.run(greenlet.get)
    assert feed._channels.keys() == {CONTROL, CHANNEL}


def test_what_one_has_left_before_the_feed_failed_is_not_wanted_for_ever(place: Place) -> None:
    _client, connection, _ = place.connect(CHANNEL)
    feed: Any = place.hub._feed
    subscribe = feed.subscribe

    def fail(channels: Any, most: int) -> None:
        place.hub.unsubscribe(connection, [SPORT])
        subscribe(channels)
        raise BrokerUnavailable("no answer")

    feed.subscribe = fail
    with pytest.raises(BrokerUnavailable):
        place.run(place.hub.subscribe, connection, [SPORT])
    assert nothing_is_left(place, CHANNEL)


def test_only_what_may_come_back_to_its_sender_is_expected_to(
    place: Place, confirmation: Confirmation
) -> None:
    _, member, _ = joined(confirmation, CHANNEL)
    _, stranger, _ = joined(confirmation)
    greenlet = confirmation.begin(stranger, SPORT)

    def publish() -> list[int]:
        feed: Any = place.hub._feed
        feed.publish = lambda *args: None
        numbers = []
        for connected, channel in ((True, CHANNEL), (True, SPORT), (False, SPORT)):
            feed.stats.connected = connected
            place.hub.publish(stranger, [channel], b"mine", False, 0)
            numbers.append(len(place.hub._channels[channel].echoes))
        feed.stats.connected = True
        return numbers

    assert place.run(publish) == [0, 1, 1]
    confirmation.finish(greenlet)
    assert member.is_open


def test_one_that_is_closing_subscribes_to_nothing(place: Place) -> None:
    client, connection, _ = place.connect(CHANNEL)
    place.run(connection.close, 4000)
    place.run(place.hub.subscribe, connection, [SPORT])
    assert nothing_is_left(place)
    assert client.close_code() == 4000


def test_without_redis_an_open_websocket_subscribes_to_nothing_and_goes_on(
    places: Callable[..., Place], own_redis: EmbeddedRedis
) -> None:
    config = Config(redis=own_redis.url)
    place = places(broker=RedisBroker(RedisClient(config)), on_gap="keep")
    client, connection, _ = place.connect(CHANNEL)
    own_redis.kill()
    until(lambda: not place.numbers()["broker_connected"])
    with pytest.raises(BrokerUnavailable):
        place.run(place.hub.subscribe, connection, [SPORT])
    assert connection.channels == (CHANNEL,)
    assert list(place.hub._channels) == [CHANNEL]
    assert place.hub._feed._channels.keys() == {CHANNEL, CONTROL}
    own_redis.start()
    until(lambda: place.numbers()["broker_connected"])
    place.run(place.hub.subscribe, connection, [SPORT])
    place.publish("goal", SPORT)
    place.publish("end")
    assert texts(client, 2) == ["goal", "end"]


def test_where_what_is_retained_cannot_be_encoded_nothing_is_subscribed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> bytes:
        raise MemoryError

    client, connection, _ = place.connect(CHANNEL)
    place.publish("retained", SPORT, expire=60)
    with monkeypatch.context() as patch:
        patch.setattr(FrameEncoding, "encode", full)
        with pytest.raises(MemoryError):
            place.run(place.hub.subscribe, connection, [SPORT, WEATHER])
    assert connection.channels == (CHANNEL,)
    assert nothing_is_left(place, CHANNEL)
    place.publish("end")
    assert texts(client, 1) == ["end"]


# Slow readers


def stuck(place: Place, *channels: str) -> tuple[Client, WebSocket]:
    """Return a client that does not read, for which bytes wait already."""
    client, connection, _ = place.connect(*channels, buffer=4096)

    def fill() -> None:
        while not connection.send_buffer_size:
            connection.send("filling " + "." * 1000)

    place.run(fill)
    return client, connection


def after_filling(client: Client) -> bytes:
    while (frame := client.read()[1]).startswith(b"filling"):
        pass
    return frame


def test_a_slow_reader_gets_a_retained_message_that_is_larger_than_its_send_buffer(
    places: Callable[..., Place],
) -> None:
    place = places(max_send_buffer=10_000)
    large = "retained " + "x" * 300_000
    place.publish(large, SPORT, expire=60)
    client, connection = stuck(place, CHANNEL)
    place.run(place.hub.subscribe, connection, [SPORT])
    assert connection.state is State.OPEN
    assert connection.send_buffer_size > 300_000
    assert after_filling(client) == large.encode()
    until(lambda: connection.send_buffer is None)
    place.publish("live", SPORT)
    assert texts(client, 1) == ["live"]
    assert place.numbers()["slow_consumers"] == 0


def test_a_reader_that_is_not_slow_gets_a_large_retained_message_at_its_own_pace(
    places: Callable[..., Place],
) -> None:
    place = places(max_send_buffer=10_000)
    large = "x" * 300_000
    place.publish(large, SPORT, expire=60)
    client, connection, _ = place.connect(CHANNEL, buffer=4096)
    place.run(place.hub.subscribe, connection, [SPORT])
    assert connection.state is State.OPEN
    assert connection.send_buffer_size  # it is in the middle of it, which does not count
    place.publish("live " + "y" * 8000, SPORT)
    assert texts(client, 2) == [large, "live " + "y" * 8000]
    until(lambda: connection.send_buffer is None)
    assert place.numbers()["slow_consumers"] == 0


@pytest.mark.parametrize("overflow", ["close", "drop-oldest", "keep-latest"])
def test_what_comes_after_a_large_retained_message_is_held_to_the_limit(
    places: Callable[..., Place], overflow: str
) -> None:
    place = places(max_send_buffer=10_000, overflow=overflow)
    place.publish("retained " + "x" * 300_000, SPORT, expire=60)
    client, connection = stuck(place, CHANNEL)
    place.run(place.hub.subscribe, connection, [SPORT])
    place.publish("live", SPORT)
    until(lambda: place.numbers()["slow_consumers"] + place.numbers()["messages_dropped"])
    if overflow == "close":
        assert client.close_code() == 1013
        return
    assert after_filling(client) == b"live"
    assert connection.state is State.OPEN
    until(lambda: connection.send_buffer is None)
    place.publish("end", SPORT)
    assert texts(client, 1) == ["end"]


# Whatever happens


class Member:
    """A client that joins and leaves channels, and the frames it has received.

    They include markers that it sends to itself: when it begins to join, and when it leaves.
    """

    def __init__(self, place: Place) -> None:
        self.client, self.connection, _ = place.connect(END)

    def check(self, last: dict[str, int]) -> int:
        """Check that each channel has come without a hole from joining to leaving.

        Args:
            last: the number of the last message of each channel.

        Returns:
            How many messages came.
        """
        now: dict[str, int | None] = {}  # what has come of those that it is subscribed to
        first_at_most: dict[str, int] = {}
        count = 0
        while True:
            word, name, number = self.client.read()[1].decode().split()
            if word == "end":
                break
            if word == "join":
                assert name not in now
                now[name], first_at_most[name] = None, max(1, int(number))  # what is retained
            elif word == "leave":
                del now[name]
            else:
                before = now[name]  # fails for a channel that it has left
                if before is None:
                    assert int(number) <= first_at_most[name]
                else:
                    assert int(number) == before + 1
                now[name] = int(number)
                count += 1
        for name, number in now.items():
            assert number == last[name]
        return count


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_each_period_of_a_subscription_has_no_hole_whatever_happens(
    places: Callable[..., Place], kind: str, request: pytest.FixtureRequest
) -> None:
    broker = None
    if kind == "redis":
        config = request.getfixturevalue("config")
        broker = RedisBroker(RedisClient(config))
    place = places(broker=broker)
    names = ["ws:broadcast:a", "ws:broadcast:b", "ws:broadcast:c"]
    crowd = [place.connect(names[0])[0] for _ in range(BATCH_SIZE + 10)]
    chance = random.Random(7)
    last = dict.fromkeys(names, 0)
    members = [Member(place) for _ in range(8)]
    over: list[bool] = []

    def publish() -> None:
        while not over:
            for name in chance.choices(names, k=chance.randint(1, 5)):
                last[name] += 1
                payload = b"%b %b %d" % (b"message", name.encode(), last[name])
                place.hub._feed.publish([name], payload, 60, lambda published: None)
            gevent.sleep(chance.random() / 500)

    def wander(member: Member) -> None:
        connection = member.connection
        for _ in range(40):
            name = chance.choice(names)
            if name in connection.channels:
                place.hub.unsubscribe(connection, [name])
                connection.send(f"leave {name} 0")
            else:
                wanted = {name, chance.choice(names)}.difference(connection.channels)
                for each in wanted:
                    connection.send(f"join {each} {last[each]}")
                place.hub.subscribe(connection, sorted(wanted))
            gevent.sleep(chance.random() / 500)

    def act() -> None:
        publishing = gevent.spawn(publish)
        gevent.joinall([gevent.spawn(wander, member) for member in members], raise_error=True)
        over.append(True)
        publishing.get()

    place.run(act)
    place.publish("end - 0", END)
    assert min(member.check(last) for member in members) > 0
    for client in crowd:  # to whom it never mattered what others did
        numbers = [int(text.split()[2]) for text in texts(client, last[names[0]])]
        assert numbers == list(range(1, last[names[0]] + 1))
    for member in members:
        member.client.sock.close()
    until(lambda: place.numbers()["connections"] == len(crowd))
    assert list(place.hub._channels) == names[:1]
