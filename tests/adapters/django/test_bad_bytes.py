"""Bytes that no browser sends, with Django's runserver, whose socket is of a special kind."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wsredis.adapters.django import Publisher

from ...servers.test_bad_frames import BAD_FRAMES
from ...servers.wire import TEXT, Answer, Wire
from ..support import Server, environment, eventually, running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("runserver-bytes")]

PROJECT = Path(__file__).parent / "project"
RUNSERVER = [sys.executable, "manage.py", "runserver", "127.0.0.1:{port}", "--noreload"]
ASK = "subscribe-broadcast"


@pytest.fixture(scope="module")
def runserver(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one for all tests, and then read its log."""
    folder = tmp_path_factory.mktemp("runserver")
    options = {"WSREDIS_REDIS": redis_url, "WSREDIS_MAX_FRAGMENTS": "128", "CHATSITE_DEBUG": "1"}
    with running(RUNSERVER, folder / "log", environment(PROJECT, folder, **options), PROJECT) as it:
        yield it
    assert "Traceback" not in it.log.read_text()


def port_of(server: Server) -> int:
    return int(server.host.rpartition(":")[2])


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_an_invalid_frame_closes_only_its_own_websocket(
    runserver: Server, room: str, name: str
) -> None:
    data, code = BAD_FRAMES[name]
    with Wire(port_of(runserver)) as wire, Wire(port_of(runserver)) as other:
        wire.upgrade(f"/ws/{room}?{ASK}")
        other.upgrade(f"/ws/{room}?{ASK}")
        wire.send(data)
        assert wire.close_code() == code
        Publisher(room, broadcast=True).publish("after")
        assert other.receive_text() == "after"


BAD_REQUESTS: dict[str, tuple[int, dict[str, Any]]] = {
    "another origin": (403, {"origin": "http://evil.example"}),
    "no origin at all": (403, {"origin": "null"}),
    "the own origin with an end": (403, {"origin": "http://127.0.0.1:{port}.evil.example"}),
    "two origins": (403, {"origin": "http://127.0.0.1:{port}, http://evil.example"}),
    "cookies without an origin": (403, {"cookie": "sessionid=1"}),
    "an old version": (426, {"sec_websocket_version": "8"}),
    "a short key": (400, {"sec_websocket_key": "short"}),
    "no upgrade": (400, {"upgrade": None}),
    "a body": (400, {"content_length": "5"}),
    "a body that is announced twice": (
        400,
        {"more": (("Content-Length", "0"), ("Content-Length", "5"))},
    ),
    "a doubled key": (
        400,
        {"more": (("Sec-WebSocket-Key", base64.b64encode(bytes(16)).decode()),)},
    ),
    "another method": (400, {"method": "POST", "content_length": "0"}),
    "an old http": (400, {"version": "HTTP/1.0"}),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_handshake_is_refused(runserver: Server, room: str, name: str) -> None:
    status, changes = BAD_REQUESTS[name]
    port = port_of(runserver)
    if "origin" in changes:
        changes = {**changes, "origin": changes["origin"].format(port=port)}
    with Wire(port) as wire:
        answer: Answer = wire.refused(f"/ws/{room}?{ASK}", **changes)
    assert answer.status == status
    assert 0 < len(answer.body) < 300
    assert "Traceback" not in answer.body


def test_an_absolute_url_in_the_request_line_is_taken_apart(runserver: Server, room: str) -> None:
    target = f"http://{runserver.host}/ws/{room}?{ASK}"
    with Wire(port_of(runserver)) as wire:
        wire.upgrade(target, origin=f"http://{runserver.host}")
        Publisher(room, broadcast=True).publish("hello")
        assert wire.receive_text() == "hello"
    with Wire(port_of(runserver)) as wire:
        assert wire.refused(target, origin="http://evil.example").status == 403


def test_no_text_of_a_client_begins_a_line_of_the_log(runserver: Server, room: str) -> None:
    with Wire(port_of(runserver)) as wire:
        wire.upgrade(f"/ws/{room}%0D%0Aforged?{ASK}", authorization="Bearer hush-token")
        wire.send_frame(TEXT, b"hush-text")  # which nobody has granted
        assert wire.close_code() == 1008
    eventually(lambda: f"{room}%0D%0Aforged" in runserver.log.read_text(), "it is in the log")
    text = runserver.log.read_text()
    assert "hush" not in text
    assert not [line for line in text.splitlines() if line.startswith("forged")]
