from __future__ import annotations

import asyncio
import json
import socket
import threading
from datetime import date
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import redis
from werkzeug.local import LocalProxy

from wsredis.config import Config, configure
from wsredis.embedded import EmbeddedRedis, free_port
from wsredis.exceptions import BrokerUnavailable, ConfigurationError
from wsredis.identity import ANONYMOUS, Identity
from wsredis.publisher import SELF, Publisher

SECONDS = 30.0
pytestmark = pytest.mark.usefixtures("nothing_is_configured")
ID = UUID("8f2c5b8e-6b0e-4d8c-9a53-0d0f3c1f7a11")
ALICE = Identity("alice", ("editors", "admins"), "key-1")


# Where it goes


@pytest.mark.parametrize(
    ("arguments", "channels"),
    [
        ({"broadcast": True}, ["ws:broadcast:news"]),
        ({"users": ["alice"]}, ["ws:user:alice:news"]),
        ({"users": ("alice", "bob")}, ["ws:user:alice:news", "ws:user:bob:news"]),
        ({"groups": {"editors": 1}}, ["ws:group:editors:news"]),
        ({"sessions": iter(["key-1"])}, ["ws:session:key-1:news"]),
        (
            {"broadcast": True, "users": ["a"], "groups": ["b"], "sessions": ["c"]},
            ["ws:broadcast:news", "ws:user:a:news", "ws:group:b:news", "ws:session:c:news"],
        ),
        ({"users": ["alice", "alice"]}, ["ws:user:alice:news"]),
        ({"users": ["a:b"], "facility": "x y"}, ["ws:user:a%3Ab:x%20y"]),
        ({"facility": "", "broadcast": True}, ["ws:broadcast:"]),
        ({"facility": ID, "users": [ID]}, [f"ws:user:{ID}:{ID}"]),
        ({"sessions": [LocalProxy(lambda: "key-1")]}, ["ws:session:key-1:news"]),
        ({"facility": LocalProxy(lambda: "a"), "broadcast": True}, ["ws:broadcast:a"]),
        ({"users": []}, []),
    ],
)
def test_it_publishes_to_the_channels_of_its_audiences(
    arguments: dict[str, Any], channels: list[str]
) -> None:
    assert Publisher(**{"facility": "news", **arguments}).channels == tuple(channels)


@pytest.mark.parametrize("way", ["identity", "request"])
def test_self_is_whoever_sends_the_request(way: str) -> None:
    who: dict[str, Any] = {"identity": ALICE}
    if way == "request":
        who = {"request": SimpleNamespace(identity=ALICE)}
    everywhere = Publisher("news", users=[SELF, "bob"], groups=[SELF], sessions=[SELF], **who)
    assert everywhere.channels == (
        "ws:user:alice:news",
        "ws:user:bob:news",
        "ws:group:editors:news",
        "ws:group:admins:news",
        "ws:session:key-1:news",
    )
    assert Publisher("news", users=["alice", SELF], **who).channels == ("ws:user:alice:news",)


def test_an_identity_goes_before_the_one_of_the_request() -> None:
    request = SimpleNamespace(identity=ALICE)
    publisher = Publisher("news", users=[SELF], request=request, identity=Identity("bob"))
    assert publisher.channels == ("ws:user:bob:news",)


def test_self_who_is_nobody_has_no_channel_and_needs_no_redis() -> None:
    nowhere = Config(redis=f"redis://127.0.0.1:{free_port()}")
    publisher = Publisher("news", users=[SELF], groups=[SELF], identity=ANONYMOUS, config=nowhere)
    assert publisher.channels == ()
    assert publisher.publish("hello") == 0
    assert asyncio.run(publisher.apublish("hello")) == 0
    assert publisher.fetch() is None


def test_without_anybody_self_cannot_be_meant() -> None:
    for argument in ("users", "groups", "sessions"):
        arguments: dict[str, Any] = {argument: [SELF]}
        with pytest.raises(TypeError, match=f"SELF in {argument} needs request= or identity="):
            Publisher("news", **arguments)
        with pytest.raises(TypeError, match="needs request="):
            Publisher("news", request=SimpleNamespace(), **arguments)
    assert repr(SELF) == "SELF"


@pytest.mark.parametrize("value", ["alice", b"alice", True, SELF, None, 5])
@pytest.mark.parametrize("argument", ["users", "groups", "sessions"])
def test_what_is_no_list_of_names_is_refused_with_what_to_write(argument: str, value: Any) -> None:
    arguments = {argument: value}
    with pytest.raises(
        TypeError, match=rf"{argument} must be a list of names: write {argument}=\["
    ):
        Publisher("news", identity=ALICE, **arguments)


@pytest.mark.parametrize("name", ["", None, 5, b"alice", ["alice"], ALICE])
def test_a_name_is_a_string_with_something_in_it(name: Any) -> None:
    with pytest.raises(TypeError, match="users must contain non-empty strings or SELF"):
        Publisher("news", users=["alice", name])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"facility": None}, "facility must be a string"),
        ({"facility": b"news"}, "facility must be a string"),
        ({"broadcast": "yes"}, "broadcast must be True or False"),
        ({"broadcast": None}, "broadcast must be True or False"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Publisher(**arguments)


def test_a_publisher_without_an_audience_is_refused() -> None:
    for arguments in ({}, {"broadcast": False}, {"identity": ALICE}):
        with pytest.raises(TypeError, match=r"needs an audience: write broadcast=True, users="):
            Publisher("news", **arguments)
    for nothing in ((), ("",)):
        with pytest.raises(TypeError, match="needs an audience"):
            Publisher(*nothing)


def test_the_address_of_a_websocket_is_not_a_facility() -> None:
    with pytest.raises(ValueError, match="'/ws/news' includes the prefix: write 'news'"):
        Publisher("/ws/news", broadcast=True)
    assert Publisher("ws/news", True).channels == ("ws:broadcast:ws/news",)
    for prefix in ("/", "/live/"):
        publisher = Publisher("/ws/news", True, config=Config(prefix=prefix))
        assert publisher.channels == ("ws:broadcast:/ws/news",)


def test_an_audience_of_no_names_is_one() -> None:
    for audience in ("users", "groups", "sessions"):
        for names in ([], (), iter(())):
            assert Publisher("news", **{audience: names}).publish("hello") == 0


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "memory"])
def test_a_url_of_redis_is_not_a_facility(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"^facility must be the topic .* option redis$") as error:
        Publisher(f"{scheme}://:hush@host", broadcast=True)
    assert "hush" not in str(error.value)


# Which Redis it is


def test_a_given_config_goes_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSREDIS_KEY_PREFIX", "environment")
    assert Publisher("x", True).channels == ("environment:broadcast:x",)
    configure(key_prefix="configured")
    assert Publisher("x", True).channels == ("configured:broadcast:x",)
    given = Config(key_prefix="given")
    assert Publisher("x", True, config=given).channels == ("given:broadcast:x",)


def test_without_a_prefix_channels_begin_with_the_audience() -> None:
    publisher = Publisher("news", True, users=["alice"], config=Config(key_prefix=""))
    assert publisher.channels == ("broadcast:news", "user:alice:news")


def test_the_environment_leads_to_redis(
    redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSREDIS_REDIS", redis_url)
    monkeypatch.setenv("WSREDIS_EXPIRE", "60")
    Publisher("news", True).publish("hello")
    assert redis_client.get("ws:broadcast:news") == b"hello"


def test_a_redis_that_leads_nowhere_is_unavailable() -> None:
    nowhere = Config(redis=f"redis://127.0.0.1:{free_port()}")
    publisher = Publisher("news", True, users=["alice"], config=nowhere)
    with pytest.raises(BrokerUnavailable):
        publisher.publish("hello")
    with pytest.raises(BrokerUnavailable):
        asyncio.run(publisher.apublish("hello"))
    with pytest.raises(BrokerUnavailable):
        publisher.fetch()


def test_a_redis_that_makes_no_sense_is_a_configuration_error() -> None:
    publisher = Publisher("news", True, config=Config(redis="redis://localhost?colour=blue"))
    with pytest.raises(ConfigurationError, match="colour"):
        publisher.publish("hello")


def test_memory_is_a_broker_too() -> None:
    config = Config(redis="memory://publisher", expire=60)
    assert Publisher("news", True, config=config).publish("hello") == 0
    assert Publisher("news", True, config=config).fetch() == "hello"


# What it publishes


@pytest.mark.parametrize("way", ["publish", "apublish"])
@pytest.mark.parametrize(
    ("message", "payload"),
    [
        ("hello", b"hello"),
        ("", b""),
        ("Zoë 名 😀", "Zoë 名 😀".encode()),
        (b"\x00\xff", b"\xffB\x00\xff"),
        (bytearray(b"ab"), b"\xffBab"),
        ({"name": "Zoë", "n": [1, None]}, '{"name":"Zoë","n":[1,null]}'.encode()),
        (None, b"null"),
        (False, b"false"),
    ],
)
def test_text_and_bytes_and_json_go_out(
    way: str, message: Any, payload: bytes, config: Config, heard: Any
) -> None:
    publisher = Publisher("news", broadcast=True, users=["alice"], config=config)
    if way == "publish":
        assert publisher.publish(message) == 2
    else:
        assert asyncio.run(publisher.apublish(message)) == 2
    assert heard(2) == [("ws:broadcast:news", payload), ("ws:user:alice:news", payload)]


def test_without_the_envelope_bytes_go_out_as_they_are(config: Config, heard: Any) -> None:
    publisher = Publisher("news", True, config=Config.make(config, envelope=False))
    for message in (b"\x00\xff", b"plain"):
        publisher.publish(message, expire=60)
    assert [payload for _, payload in heard(2)] == [b"\x00\xff", b"plain"]
    assert publisher.fetch() == "plain"


def test_a_subclass_chooses_the_encoder() -> None:
    class ISO(Publisher):
        def to_json(self, value: object) -> str:
            return json.dumps(value, default=date.isoformat)

    publisher = ISO("news", True, config=Config(redis="memory://encoder", expire=60))
    publisher.publish({"on": date(2026, 1, 31)})
    assert publisher.fetch() == '{"on": "2026-01-31"}'
    publisher.publish("text")
    assert publisher.fetch() == "text"


@pytest.mark.parametrize("way", ["publish", "apublish"])
@pytest.mark.parametrize(
    ("message", "expire", "error", "text"),
    [
        (object(), None, TypeError, "cannot publish this object, as it is not JSON"),
        (float("nan"), None, TypeError, "cannot publish this float, as"),
        ({"on": date(2026, 1, 31)}, None, TypeError, "a value in it of type date is not JSON"),
        ("\ud800", None, ValueError, "surrogates"),
        ("hello", -1, ValueError, "expire must be whole seconds from 0 to 2147483647, not -1"),
        ("hello", 2**31, ValueError, "expire must be whole seconds from 0 to 2147483647, not 21"),
        ("hello", 1.5, ValueError, "expire must be"),
        ("hello", True, ValueError, "expire must be"),
        ("hello", "60", ValueError, "expire must be"),
    ],
)
def test_what_cannot_be_published_is_an_error_before_anything_goes_out(
    way: str, message: Any, expire: Any, error: type[Exception], text: str
) -> None:
    nowhere = Config(redis=f"redis://127.0.0.1:{free_port()}")
    publisher = Publisher("news", broadcast=True, config=nowhere)

    def publish() -> None:
        if way == "publish":
            publisher.publish(message, expire)
        else:
            asyncio.run(publisher.apublish(message, expire))

    with pytest.raises(error, match=text):
        publish()


def test_it_counts_the_receivers_that_redis_reports(
    config: Config, redis_client: redis.Redis
) -> None:
    publisher = Publisher("news", broadcast=True, users=["alice"], config=config)
    assert publisher.publish("nobody hears it") == 0
    with redis_client.pubsub() as one, redis_client.pubsub() as other:
        for pubsub, channels in ((one, publisher.channels), (other, publisher.channels[:1])):
            pubsub.subscribe(*channels)
            for _ in channels:
                assert pubsub.get_message(timeout=SECONDS)
        assert publisher.publish("two and one") == 3
        assert publisher.publish("kept", expire=60) == 3


@pytest.mark.parametrize(
    ("standard", "asked", "seconds"), [(0, None, None), (60, None, 60), (60, 5, 5), (0, 5, 5)]
)
def test_it_is_kept_for_the_seconds_asked_or_configured(
    standard: int, asked: int | None, seconds: int | None, config: Config, redis_client: redis.Redis
) -> None:
    config = Config.make(config, expire=standard)
    publisher = Publisher("news", broadcast=True, users=["alice"], config=config)
    publisher.publish("hello", asked)
    for channel in publisher.channels:
        if seconds is None:
            assert not redis_client.exists(channel)
        else:
            assert redis_client.get(channel) == b"hello"
            assert seconds - 2 < redis_client.ttl(channel) <= seconds


def test_expire_0_keeps_nothing_whatever_is_configured(
    config: Config, redis_client: redis.Redis
) -> None:
    Publisher("news", True, config=Config.make(config, expire=60)).publish("hello", expire=0)
    assert not redis_client.exists("ws:broadcast:news")


class Wire:
    """A forwarder of bytes to Redis that counts the round trips."""

    def __init__(self, port: int) -> None:
        self.turns = 0
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        near, _ = self._server.accept()
        far = socket.create_connection(("127.0.0.1", self._to))
        asked = threading.Event()

        def answers() -> None:
            while data := far.recv(65536):
                if asked.is_set():
                    asked.clear()
                    self.turns += 1
                near.sendall(data)

        back = threading.Thread(target=answers)
        back.start()
        while data := near.recv(65536):
            asked.set()
            far.sendall(data)
        far.shutdown(socket.SHUT_RDWR)
        back.join()
        near.close()
        far.close()

    def close(self) -> None:
        self._thread.join(SECONDS)
        self._server.close()


@pytest.mark.parametrize("expire", [0, 60])
def test_however_many_channels_there_are_it_takes_one_round_trip(
    expire: int, redis_server: EmbeddedRedis, redis_client: redis.Redis
) -> None:
    wire = Wire(redis_server.port)

    async def publish() -> int:
        # An asyncio program ends its connection when it ends; only one passes the wire.
        config = Config(redis=f"redis://127.0.0.1:{wire.port}/0")
        users = [f"user-{number}" for number in range(20)]
        publisher = Publisher("news", True, users=users, groups=["editors"], config=config)
        await publisher.apublish("the first one connects")
        before = wire.turns
        await publisher.apublish("hello", expire)
        return wire.turns - before

    assert asyncio.run(publish()) == 1
    wire.close()


@pytest.mark.parametrize("expire", [0, 60])
def test_redis_gets_all_channels_in_one_transaction(
    expire: int, config: Config, redis_client: redis.Redis
) -> None:
    publisher = Publisher("news", True, users=["alice", "bob"], config=config)
    publisher.publish("the first one connects")
    redis_client.config_resetstat()
    publisher.publish("hello", expire)
    calls = {name: stats["calls"] for name, stats in redis_client.info("commandstats").items()}
    calls.pop("cmdstat_config|resetstat", None)
    kept = {"cmdstat_set": 3} if expire else {}
    assert calls == {"cmdstat_multi": 1, "cmdstat_publish": 3, "cmdstat_exec": 1, **kept}


def test_one_channel_needs_no_transaction(config: Config, redis_client: redis.Redis) -> None:
    publisher = Publisher("news", True, config=config)
    publisher.publish("the first one connects")
    redis_client.config_resetstat()
    publisher.publish("hello")
    assert "cmdstat_multi" not in redis_client.info("commandstats")


# What it fetches


def test_the_narrowest_kept_message_is_fetched(config: Config) -> None:
    def to(**audience: Any) -> Publisher:
        return Publisher("news", config=config, **audience)

    everywhere = to(broadcast=True, users=["alice"], groups=["editors"], sessions=["key-1"])
    assert everywhere.fetch() is None
    for audience, publisher in (
        ("broadcast", to(broadcast=True)),
        ("group", to(groups=["editors"])),
        ("user", to(users=["alice"])),
        ("session", to(sessions=["key-1"])),
    ):
        publisher.publish(f"for the {audience}", expire=60)
        assert everywhere.fetch() == f"for the {audience}"
    for audience in ("broadcast", "group", "user", "session"):
        assert everywhere.fetch(audience) == f"for the {audience}"


def test_of_several_names_the_first_that_has_one_is_fetched(config: Config) -> None:
    Publisher("news", users=["bob", "carol"], config=config).publish("kept", expire=60)
    Publisher("news", users=["bob"], config=config).publish("of bob", expire=60)
    assert Publisher("news", users=["alice", "bob", "carol"], config=config).fetch() == "of bob"
    assert Publisher("news", users=["carol", "bob"], config=config).fetch("user") == "kept"


@pytest.mark.parametrize(
    ("message", "fetched"), [(b"\x00\xff", b"\x00\xff"), ({"a": 1}, '{"a":1}')]
)
def test_it_comes_back_as_text_or_bytes(message: Any, fetched: Any, config: Config) -> None:
    publisher = Publisher("news", True, config=config)
    publisher.publish(message, expire=60)
    assert publisher.fetch() == fetched


def test_an_audience_that_is_not_published_to_has_nothing(config: Config) -> None:
    Publisher("news", True, config=config).publish("hello", expire=60)
    assert Publisher("news", True, config=config).fetch("user") is None
    assert Publisher("news", users=["alice"], config=config).fetch() is None


@pytest.mark.parametrize("audience", ["", "all", "users", None, 5])
def test_there_are_four_audiences_and_any(audience: Any) -> None:
    with pytest.raises(
        ValueError, match="audience must be one of any, session, user, group, broadcast"
    ):
        Publisher("news", True).fetch(audience)
