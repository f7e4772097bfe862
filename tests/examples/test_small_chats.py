"""The chats in Bottle, Pyramid and Falcon: only logged-in users have access."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wsredis.embedded import EmbeddedRedis

from ..servers.wire import TEXT
from .support import SERVERS, Chat

pytestmark = pytest.mark.servers

ADDRESS = "/ws/chat?subscribe-broadcast&publish-broadcast&echo"

Start = Callable[[str], Chat]


@pytest.fixture(params=SERVERS)
def start(
    request: pytest.FixtureRequest, redis_server: EmbeddedRedis, tmp_path: Path
) -> Iterator[Start]:
    """Give a function that starts an example; it ends with the test."""
    chats: list[Chat] = []

    def begin(example: str) -> Chat:
        chats.append(Chat(request.param, example, tmp_path, redis_server.url))
        chats[-1].start()
        return chats[-1]

    yield begin
    for chat in chats:
        chat.stop()
        assert "Traceback" not in chat.log()


def assert_two_can_talk(chat: Chat, *ways: dict[str, Any]) -> None:
    """Let two come in and one hear the other."""
    alice, bob = (chat.wire(ADDRESS, **way) for way in ways)
    with alice, bob:
        alice.send_frame(TEXT, b"hello bob")
        assert bob.receive_text() == "hello bob"
        assert alice.receive_text() == "hello bob"


def assert_refused(chat: Chat, words: str, **way: Any) -> None:
    with chat.wire() as wire:
        answer = wire.refused(ADDRESS, **way)
        assert answer.status == 403
        assert words in answer.body


def test_bottle_with_a_session_of_beaker(start: Start) -> None:
    chat = start("bottle_chat")
    assert "Log in" in chat.page()
    alice, bob = chat.log_in("alice"), chat.log_in("bob")
    assert 'id="messages"' in chat.page(alice)
    ways = [{"cookie": cookie, "origin": chat.origin} for cookie in (alice, bob)]
    assert_two_can_talk(chat, *ways)
    assert_refused(chat, "Log in first")
    assert_refused(
        chat, "Log in first", cookie="beaker.session.id=0123456789abcdef", origin=chat.origin
    )
    assert_refused(chat, "Origin", cookie=alice)


def test_pyramid_with_tickets(start: Start) -> None:
    chat = start("pyramid_chat")
    assert "Log in" in chat.page()
    alice, bob = chat.log_in("alice"), chat.log_in("bob")
    assert 'data-ticket="/ticket"' in chat.page(alice)
    assert chat.request("POST", "/ticket").status == 403

    def way(cookie: str) -> dict[str, str]:
        answer: Any = chat.request("POST", "/ticket", headers={"Cookie": cookie})
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        return {"sec_websocket_protocol": f"wsredis.ticket, {answer.text}"}

    first = way(alice)
    assert_two_can_talk(chat, first, way(bob))
    assert_refused(chat, "has already been used", **first)
    assert_refused(chat, "malformed", sec_websocket_protocol="wsredis.ticket, abc")
    assert_refused(chat, "Log in first", cookie=alice, origin=chat.origin)
    ticket = first["sec_websocket_protocol"].split()[1]
    assert ticket not in chat.log()


def test_falcon_with_a_token(start: Start) -> None:
    chat = start("falcon_chat")
    assert "Log in" in chat.page()
    alice, bob = chat.log_in("alice"), chat.log_in("bob")
    assert 'id="messages"' in chat.page(alice)
    token = bob.partition("=")[2]
    browser = {"cookie": alice, "origin": chat.origin}
    assert_two_can_talk(chat, browser, {"authorization": f"Bearer {token}"})
    assert_refused(chat, "not accepted", authorization=f"Bearer {token}x")
    assert_refused(chat, "Log in first")
    assert_refused(chat, "origin", cookie=alice, origin="http://evil.example")
    assert token not in chat.log()
