"""Revocations: which websockets they close, how they are encoded, and `disconnect`."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any
from uuid import UUID

import gevent
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.local import LocalProxy

from wsredis import disconnect
from wsredis.config import Config
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import BrokerUnavailable
from wsredis.identity import ANONYMOUS, Identity
from wsredis.identity.revocation import (
    LOG_LENGTH,
    LOG_SECONDS,
    Revocation,
    control_channel,
    read_revocation,
)
from wsredis.message import Message, decode
from wsredis.naming import Audience, channel_name
from wsredis.protocol.frames import CloseCode
from wsredis.tickets import MAX_SECONDS

ALICE = Identity("alice", ("editors", "staff"), "s3ss10n")
CONTROL = "revocations:control"


# Whom a revocation means


@pytest.mark.parametrize(
    ("revocation", "meant"),
    [
        (Revocation(user="alice"), True),
        (Revocation(user="Alice"), False),
        (Revocation(session="s3ss10n"), True),
        (Revocation(session="alice"), False),
        (Revocation(group="staff"), True),
        (Revocation(group="admins"), False),
        (Revocation(user="alice", group="editors"), True),
        (Revocation(user="alice", group="admins"), False),
        (Revocation(user="bob", group="editors"), False),
        (Revocation(user="alice", session="s3ss10n", group="staff"), True),
        (Revocation(user="alice", session="other", group="staff"), False),
    ],
    ids=repr,
)
def test_all_that_is_given_must_fit(revocation: Revocation, meant: bool) -> None:
    assert revocation.matches(ALICE) is meant
    assert not revocation.matches(ANONYMOUS)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, TypeError),
        ({"code": 4000}, TypeError),
        ({"user": ""}, TypeError),
        ({"user": 5}, TypeError),
        ({"group": ["editors"]}, TypeError),
        ({"session": b"key"}, TypeError),
        ({"user": "alice", "group": ""}, TypeError),
        *[
            ({"user": "alice", "code": code}, ValueError)
            for code in (0, 999, 1001, 1005, 1006, 1007, 1015, 2999, 5000, "4401", 4401.0, True)
        ],
        ({"user": "alice", "reason": "x" * 124}, ValueError),
        ({"user": "alice", "reason": "ä" * 62}, ValueError),
        ({"user": "alice", "reason": "\ud800"}, ValueError),
        ({"user": "alice", "reason": b"bytes"}, ValueError),
    ],
    ids=repr,
)
def test_what_cannot_be_carried_out_is_no_revocation(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    config = Config(redis="memory://senseless")
    with pytest.raises(error):
        disconnect(**arguments, config=config)
    with pytest.raises(error):
        Revocation(**arguments)


@pytest.mark.parametrize("code", [1000, 1008, CloseCode.SERVICE_RESTART, 1013, 3000, 4403, 4999])
def test_codes_that_a_server_may_choose_are_taken(code: int) -> None:
    assert Revocation(user="alice", code=code, reason="ä" * 61).code == code


# How a revocation travels

NAMES = st.none() | st.text(min_size=1, max_size=20)


@given(
    names=st.tuples(NAMES, NAMES, NAMES).filter(any),
    code=st.sampled_from([1000, 1008, 3000, 4401, 4999]),
    reason=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    at=st.floats(0, 2**33),
)
def test_a_revocation_arrives_as_it_was_given(
    names: tuple[str | None, ...], code: int, reason: str, at: float
) -> None:
    revocation = Revocation(*names, code, reason, at)
    for envelope in (True, False):
        assert read_revocation(decode(CONTROL, revocation.encode(), envelope)) == revocation


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"hello",
        b"5",
        b"null",
        b"[]",
        b"{}",
        b'[{"user":"alice"}]',
        b'{"user":5}',
        b'{"user":"alice","code":1005}',
        b'{"user":"alice","code":"4401"}',
        b'{"user":"alice","at":"now"}',
        b'{"user":"alice","wizard":true}',
        b'{"user":"alice","at":NaN}',
        b'{"user":"alice","at":1e400}',
        b'{"user":"alice","at":1' + b"0" * 400 + b"}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_revocation_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        read_revocation(Message(CONTROL, payload))


@given(
    prefix=st.sampled_from(["", "ws", "control", "wsredis", "broadcast"]),
    audience=st.sampled_from(Audience),
    facility=st.sampled_from(["", "control", "wsredis", ":control", "control:"]) | st.text(),
    name=st.sampled_from(["control", "wsredis", ":"]) | st.text(min_size=1),
)
def test_no_client_can_name_the_channel_of_the_revocations(
    prefix: str, audience: Audience, facility: str, name: str
) -> None:
    if audience is Audience.BROADCAST:
        name = ""
    assert channel_name(prefix, audience, facility, name) != control_channel(prefix)


def test_sites_with_prefixes_of_their_own_have_revocations_of_their_own() -> None:
    assert control_channel("one") != control_channel("two")


# disconnect


@pytest.fixture
def config(config: Config) -> Config:
    """Give a prefix of its own: revocations are kept, and other tests have users of these names."""
    return Config.make(config, key_prefix="revocations")


@pytest.fixture
def logged(redis_client: redis.Redis) -> Any:
    """Give a function that returns the revocations that Redis keeps."""
    return lambda: [json.loads(each) for each in redis_client.lrange(CONTROL, 0, -1)]


def test_a_revocation_is_published_and_kept_for_a_while(
    config: Config, heard: Any, logged: Any, redis_client: redis.Redis
) -> None:
    # The one who hears it is the only receiver.
    assert disconnect(user="alice", code=4000, reason="bye", config=config) == 1
    ((channel, payload),) = heard(1)
    assert channel == CONTROL
    revocation = json.loads(payload)
    assert abs(revocation.pop("at") - time.time()) < 60
    assert revocation == {
        "user": "alice", "group": None, "session": None, "code": 4000, "reason": "bye"
    }  # fmt: skip
    assert [{**each, "at": 0} for each in logged()] == [{**revocation, "at": 0}]
    assert 0 < redis_client.ttl(CONTROL) <= LOG_SECONDS


def test_the_names_are_not_mixed_up(config: Config, logged: Any) -> None:
    disconnect(user="a user", config=config)
    disconnect(group="a group", config=config)
    disconnect(session="a session", config=config)
    assert [(each["user"], each["group"], each["session"]) for each in logged()] == [
        ("a user", None, None),
        (None, "a group", None),
        (None, None, "a session"),
    ]


def test_a_name_may_be_a_uuid_or_lazy(config: Config, logged: Any) -> None:
    name = UUID("8f2c5b8e-6b0e-4d8c-9a53-0d0f3c1f7a11")
    lazy: Any = LocalProxy(lambda: "editors")
    disconnect(user=name, session=name, group=lazy, config=config)
    (order,) = logged()
    assert (order["user"], order["session"], order["group"]) == (str(name), str(name), "editors")


def test_only_so_many_revocations_are_kept(
    config: Config, logged: Any, redis_client: redis.Redis
) -> None:
    old = [Revocation(user=f"user{number}").encode() for number in range(LOG_LENGTH)]
    redis_client.rpush(CONTROL, *old)
    for number in range(LOG_LENGTH, LOG_LENGTH + 5):
        disconnect(user=f"user{number}", config=config)
    assert [each["user"] for each in logged()] == [f"user{n}" for n in range(5, LOG_LENGTH + 5)]


def test_the_log_has_room_for_a_hundred_a_second_while_a_ticket_is_valid() -> None:
    assert LOG_LENGTH >= 100 * MAX_SECONDS
    assert LOG_SECONDS > MAX_SECONDS


def test_revocations_given_at_once_are_all_kept(config: Config, logged: Any) -> None:
    names = [f"user{number}" for number in range(24)]
    start = threading.Barrier(len(names))

    def give(name: str) -> None:
        start.wait()
        disconnect(user=name, config=config)

    threads = [threading.Thread(target=give, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each["user"] for each in logged()) == sorted(names)


def test_it_works_in_greenlets_and_beside_asyncio(config: Config, logged: Any) -> None:
    greenlets = [gevent.spawn(disconnect, user=name, config=config) for name in "abc"]
    gevent.joinall(greenlets, raise_error=True)

    async def main() -> None:
        await asyncio.to_thread(disconnect, user="d", config=config)

    asyncio.run(main())
    assert sorted(each["user"] for each in logged()) == list("abcd")


def test_without_a_prefix_a_key_of_another_program_is_left_alone(
    config: Config, redis_client: redis.Redis
) -> None:
    redis_client.set("control", "mine")
    disconnect(user="alice", config=Config.make(config, key_prefix=""))
    assert redis_client.get("control") == b"mine"
    assert redis_client.llen("wsredis:control") == 1
    redis_client.delete("control", "wsredis:control")


def test_the_configuration_of_the_process_is_the_default(
    nothing_is_configured: None, monkeypatch: pytest.MonkeyPatch, redis_url: str, logged: Any
) -> None:
    monkeypatch.setenv("WSREDIS_REDIS", redis_url)
    monkeypatch.setenv("WSREDIS_KEY_PREFIX", "revocations")
    disconnect(user="alice")
    assert [each["user"] for each in logged()] == ["alice"]


def test_a_redis_that_is_unavailable_says_so(own_redis: EmbeddedRedis) -> None:
    config = Config(redis=own_redis.url)
    own_redis.stop()
    with pytest.raises(BrokerUnavailable):
        disconnect(user="alice", config=config)
