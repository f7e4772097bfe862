"""A Redis user with the rights in docs/operating.md, and clients that request other keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from wsredis import BrokerUnavailable, Config, Publisher, disconnect
from wsredis.brokers import store_for
from wsredis.embedded import EmbeddedRedis
from wsredis.tickets import issue_ticket

from .support import Setup, Site, each, eventually
from .wire import BINARY, TEXT, Wire

pytestmark = pytest.mark.servers

OPERATING = Path(__file__).parent.parent.parent / "docs" / "operating.md"

EVERYTHING = "&".join(
    f"{way}-{audience}"
    for way in ("subscribe", "publish")
    for audience in ("broadcast", "user", "group", "session")
)

NAMES = [
    "*",
    "%3F",
    "[a-z]*",
    "%2A%0D%0AKEYS%20*%0D%0A",
    "ws:control",
    "x%20*",
    "..x",
    "%00",
    "%5C*",
]
"""What would be a pattern, a second command or another key if it were more than a name."""

WORDS = [b"KEYS *", b"\r\n*1\r\n$8\r\nFLUSHALL\r\n", b"PSUBSCRIBE *", b"\xffB*", b"EVAL 'x' 0"]


def rule() -> list[str]:
    """Return the words of ACL SETUSER that the documentation gives, with a real password."""
    found = re.search(r"^ACL SETUSER wsredis (on .*)$", OPERATING.read_text(), re.M)
    assert found
    return found[1].replace(">PASSWORD", ">hush").split()


RULE_OF_0_1 = (
    "on >hush resetkeys resetchannels -@all ~ws:* &ws:* +hello +auth +select +ping +client|setinfo"
    " +client|tracking +client|caching +subscribe +unsubscribe +publish +mget +get +set +del +rpush"
    " +ltrim +lrange +expire +multi +exec"
)
"""The line of the documentation of 0.1. It stays as it is: sites have it in their `redis.conf`."""

OPTIONAL = [
    (),
    ("+client|setinfo",),  # before Redis 7.2
    ("+client|tracking",),
    ("+client|caching",),
    ("+client|setinfo", "+client|tracking", "+client|caching"),
]


def rule_without_prefix() -> list[str]:
    """Return the same with the names that the documentation gives for sites without a prefix."""
    found = re.search(r"replace `~ws:\* &ws:\*` by:\n\n```\n(.*)\n```", OPERATING.read_text())
    assert found
    words = [word for word in rule() if word not in ("~ws:*", "&ws:*")]
    return [*words, *found[1].split()]


@each("uwsgi-gevent", "gunicorn-gthread")
def test_the_documented_redis_user_suffices_and_clients_stay_inside_the_prefix(
    start: Callable[..., Site], own_redis: EmbeddedRedis, setup: Setup, room: str
) -> None:
    with Redis(port=own_redis.port) as admin:
        admin.execute_command("ACL SETUSER", "wsredis", *rule())
        url = own_redis.url.replace("//", "//wsredis:hush@")
        site = start(setup, redis=url, expire=60)
        admin.execute_command("CONFIG RESETSTAT")
        with site.wire(f"/ws/{room}?subscribe-broadcast&publish-broadcast&echo") as steady:
            for name in NAMES:
                who = {"x_user": name, "x_groups": f"{name},staff", "x_session": name}
                with site.wire(f"/ws/{name}?{EVERYTHING}&echo", **who) as wire:
                    for word in WORDS:
                        wire.send_frame(BINARY if word[0] > 0x7F else TEXT, word)
                        assert {wire.receive()[1] for _ in range(5)} == {word}
                    # Five of this socket, the room, the control channel.
                    eventually(lambda: len(admin.pubsub_channels()) == 7, "the last one has left")
                    assert all(name.startswith(b"ws:") for name in admin.pubsub_channels())
            assert admin.pubsub_numpat() == 0
            steady.send_frame(TEXT, b"mine")
            assert steady.receive_text() == "mine"
            site.broadcast(room, "from a view")
            assert steady.receive_text() == "from a view"
            assert disconnect(user="alice", config=Config(redis=url)) == 1
        eventually(lambda: admin.pubsub_channels() == [b"ws:control"], "channels are given up")
        said = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
        mine = {"config|resetstat", "pubsub|channels", "pubsub|numpat", "info"}
        allowed = {word[1:] for word in rule() if word[0] == "+"}
        assert said - mine <= allowed
        assert {"subscribe", "publish", "getrange", "set", "rpush"} <= said
        assert admin.acl_log() == []
        assert len(admin.keys("ws:*")) == len(admin.keys()) > len(NAMES)


@pytest.mark.parametrize("without", OPTIONAL, ids=lambda words: " ".join(words) or "whole")
def test_a_redis_user_with_the_permissions_of_0_1_has_all_features(
    start: Callable[..., Site], own_redis: EmbeddedRedis, without: tuple[str, ...], room: str
) -> None:
    with Redis(port=own_redis.port) as admin:
        words = [word for word in RULE_OF_0_1.split() if word not in without]
        admin.execute_command("ACL SETUSER", "wsredis", *words)
        url = own_redis.url.replace("//", "//wsredis:hush@")
        config = Config(redis=f"{url}?db=1", secret="x" * 32, expire=60)
        site = start("uwsgi-threads", redis=config.redis, expire=60, redis_deadline=2)
        who = {"x_user": "alice", "x_groups": "editors", "x_session": "key"}
        everybody = Publisher(room, config=config, broadcast=True, users=["alice"])
        assert everybody.publish("retained") == 0
        assert asyncio.run(everybody.apublish(b"\xff", expire=60)) == 0
        assert everybody.fetch() == b"\xff"
        with site.wire(f"/ws/{room}?{EVERYTHING}&echo", **who) as wire:
            assert [wire.receive() for _ in range(2)] == [(0x80 | BINARY, b"\xff")] * 2
            for number in range(3):  # handshakes at a channel that has a subscriber
                where = f"/ws/{room}n{number}?subscribe-broadcast"
                with site.wire(where) as first, site.wire(where) as second:
                    Publisher(f"{room}n{number}", config=config, broadcast=True).publish("x")
                    assert first.receive_text() == second.receive_text() == "x"
            wire.send_frame(TEXT, b"mine")
            assert [wire.receive_text() for _ in range(4)] == ["mine"] * 4
            admin.client_kill_filter(_type="pubsub")  # the process comes back by itself
            assert wire.close_code() == 1012
        ticket = issue_ticket("alice", config=config)
        store = store_for(config)
        store.put("ws:ticket:test", b"value", 60)
        assert (store.take("ws:ticket:test"), store.take("ws:ticket:test")) == (b"value", None)
        assert ticket

        def back() -> Wire | None:
            try:
                return site.wire(f"/ws/{room}?subscribe-broadcast", **who)
            except AssertionError:  # 503
                return None

        with eventually(back, "Redis is back") as wire:
            assert wire.receive()[1] == b"mine"
            assert site.stats()["broker_connected"] == 1
            assert disconnect(user="alice", config=config) == 1
            assert wire.close_code() == 4401
        refused = {entry["object"] for entry in admin.acl_log()}
        assert refused <= {
            "config|get",
            "getrange",
            "exists",
            "info",
            *(word[1:] for word in without),
        }


def test_the_redis_user_of_a_site_cannot_reach_another_prefix(own_redis: EmbeddedRedis) -> None:
    with Redis(port=own_redis.port) as admin:
        admin.execute_command("ACL SETUSER", "wsredis", *rule())
    url = own_redis.url.replace("//", "//wsredis:hush@")
    other = Config(redis=url, key_prefix="other")
    for whom in ({"broadcast": True}, {"users": ["alice"]}):
        assert Publisher("news", config=Config(redis=url), **whom).publish("x") == 0
        with pytest.raises(BrokerUnavailable, match=r"(?i)no permissions|NOPERM"):
            Publisher("news", config=other, **whom).publish("x")
    with pytest.raises(BrokerUnavailable, match=r"(?i)no permissions|NOPERM"):
        disconnect(user="alice", config=other)


def test_a_site_without_a_prefix_has_a_user_too(
    start: Callable[..., Site], own_redis: EmbeddedRedis, room: str
) -> None:
    with Redis(port=own_redis.port) as admin:
        admin.execute_command("ACL SETUSER", "wsredis", *rule_without_prefix())
        url = own_redis.url.replace("//", "//wsredis:hush@")
        site = start("pywsgi", redis=url, key_prefix="", expire=60)
        config = Config(redis=url, key_prefix="", secret="x" * 32)
        who = {"x_user": "alice", "x_groups": "editors", "x_session": "key"}
        with site.wire(f"/ws/{room}?{EVERYTHING}&echo", **who) as wire:
            wire.send_frame(TEXT, b"mine")
            assert [wire.receive_text() for _ in range(4)] == ["mine"] * 4
            assert disconnect(user="alice", config=config) == 1
            assert wire.close_code() == 4401
        assert issue_ticket("alice", config=config)
        assert admin.acl_log() == []


@each("uwsgi-gevent", "gunicorn-gthread")
def test_a_wrong_redis_password_is_not_logged(
    start: Callable[..., Site], own_redis: EmbeddedRedis, setup: Setup, room: str
) -> None:
    site = start(setup, redis=own_redis.url.replace("//", "//wsredis:hush@"))
    with site.wire() as wire:
        answer = wire.refused(f"/ws/{room}?subscribe-broadcast")
    assert answer.status == 503
    eventually(lambda: site.lines("WRONGPASS|invalid username-password"), "it is told why")
    assert "hush" not in site.log() + answer.body


@pytest.mark.parametrize("setup", ["uwsgi-gevent", "gunicorn-gthread"])
@pytest.mark.parametrize("on_gap", ["keep", "close"])
def test_who_would_hear_nothing_any_more_is_told_so(
    start: Callable[..., Site], own_redis: EmbeddedRedis, setup: str, on_gap: str, room: str
) -> None:
    with Redis(port=own_redis.port) as admin:
        names = [f"&ws:broadcast:{room}", "&ws:control"]
        free = ["on", ">hush", "~*", "+@all", "resetchannels"]
        admin.execute_command("ACL SETUSER", "wsredis", *free, *names, f"&ws:broadcast:{room}n2")
        url = own_redis.url.replace("//", "//wsredis:hush@")
        site = start(setup, redis=url, on_gap=on_gap)
        with (
            site.wire(f"/ws/{room}?subscribe-broadcast") as heard,
            site.wire(f"/ws/{room}n2?subscribe-broadcast") as deaf,
        ):
            # Redis ends the links of whoever has a channel that is forbidden now.
            admin.execute_command("ACL SETUSER", "wsredis", *free, *names)
            assert deaf.close_code() in {"keep": [1011], "close": [1011, 1012]}[on_gap]
            if on_gap == "close":
                assert heard.close_code() == 1012
            else:
                assert site.lines("ERROR .*Redis refuses to subscribe")
                admin.publish(f"ws:broadcast:{room}", "still here")
                assert heard.receive_text() == "still here"
            with site.wire(f"/ws/{room}?subscribe-broadcast") as again:
                admin.publish(f"ws:broadcast:{room}", "and here")
                assert again.receive_text() == "and here"
