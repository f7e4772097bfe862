"""What sockets send and receive: retained, binary, echoed, heartbeats."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from ws4redis.publisher import RedisPublisher

from .conftest import Live
from .talk import BOTH, broadcast, hear, in_silence, refusal

Site = Callable[..., None]


def test_what_was_published_last_comes_first(live: Live, room: str) -> None:
    RedisPublisher(facility=room, broadcast=True).publish_message("retained", 10)
    with live.open(f"/ws/{room}?subscribe-broadcast") as ws:
        assert hear(ws) == "retained"
        in_silence(live, room, ws)


def test_a_websockets_own_message_is_retained_too(
    site: Site, live: Live, redis: Any, room: str
) -> None:
    site(WS4REDIS_EXPIRE=50)
    with live.open(f"/ws/{room}?{BOTH}&echo") as ws:
        ws.send("hello")
        assert hear(ws) == "hello"
    assert redis.get(f"broadcast:{room}") == b"hello"
    assert redis.ttl(f"broadcast:{room}") in (49, 50)
    assert RedisPublisher().fetch_message(None, room, "broadcast") == b"hello"


@pytest.mark.parametrize("expire", [0, None])
def test_without_expire_a_websockets_message_is_not_retained(
    site: Site, live: Live, redis: Any, room: str, expire: int | None
) -> None:
    site(WS4REDIS_EXPIRE=expire)
    with live.open(f"/ws/{room}?{BOTH}&echo") as ws:
        ws.send("hello")
        assert hear(ws) == "hello"
    assert redis.get(f"broadcast:{room}") is None


def test_binary_stays_binary_and_text_text(live: Live, redis: Any, room: str) -> None:
    with live.open(f"/ws/{room}?{BOTH}&echo") as ws:
        for data in (b"\xffB\x00", b"\xfe", "text", "", "é" * 1000):
            ws.send(data)
            assert hear(ws) == data
            raw = data.encode() if isinstance(data, str) else data
            assert redis.get(f"broadcast:{room}") == raw
        ws.send(b"plain")
        assert hear(ws) == "plain"
        redis.publish(f"broadcast:{room}", b"\xff\xfe")
        assert hear(ws) == b"\xff\xfe"


def test_a_burst_is_delivered_whole_and_in_order(live: Live, room: str) -> None:
    with live.open(f"/ws/{room}?subscribe-broadcast") as ws:
        for number in range(20):
            broadcast(room, str(number))
        assert [hear(ws) for _ in range(20)] == [str(number) for number in range(20)]


def test_frames_in_one_segment_are_all_published(live: Live, room: str) -> None:
    with (
        live.open(f"/ws/{room}?publish-broadcast") as ws,
        live.open(f"/ws/{room}?subscribe-broadcast") as other,
    ):
        sent = [str(number) for number in range(9)]
        ws.socket.sendall(b"".join(b"\x81\x81\0\0\0\0" + text.encode() for text in sent))
        assert [hear(other) for _ in sent] == sent


def test_without_echo_a_socket_gets_the_same_words_of_others_only(live: Live, room: str) -> None:
    with live.open(f"/ws/{room}?{BOTH}") as john, live.open(f"/ws/{room}?{BOTH}") as mary:
        john.send("hello")
        assert hear(mary) == "hello"
        mary.send("hello")
        assert hear(john) == "hello"
        broadcast(room, "hello")
        assert (hear(john), hear(mary)) == ("hello", "hello")
        in_silence(live, room, john, mary)


def test_the_heartbeat_is_sent_and_swallowed(site: Site, live: Live, room: str) -> None:
    site(WS4REDIS_HEARTBEAT="--heartbeat--")
    with live.open(f"/ws/{room}?{BOTH}&echo") as ws:
        ws.send("--heartbeat--")
        ws.send(b"--heartbeat--")  # raw in Redis, this would come back as text
        ws.send("hello")
        heard = [hear(ws)]
        while heard[-1] != "--heartbeat--":
            heard.append(hear(ws))
        assert heard == ["hello", "--heartbeat--"]


def test_the_heartbeat_goes_out_every_four_seconds() -> None:
    from ws4redis.configuration import current_config

    assert current_config().heartbeat_interval == 4


def test_many_sockets_share_one_subscription_of_redis(live: Live, redis: Any, room: str) -> None:
    def subscribers() -> int:
        return len(redis.client_list(_type="pubsub"))

    with ExitStack() as stack:
        stack.enter_context(live.open(f"/ws/{room}?subscribe-broadcast"))
        before = subscribers()
        for number in range(10):
            stack.enter_context(live.open(f"/ws/{room}{number}?subscribe-broadcast"))
        assert subscribers() == before


def test_an_unavailable_redis_is_a_503_before_the_upgrade(
    site: Site, live: Live, room: str
) -> None:
    site(WS4REDIS_CONNECTION={"host": "127.0.0.1", "port": 1})
    assert refusal(live, f"/ws/{room}?subscribe-broadcast").status_code == 503
