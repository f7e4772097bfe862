"""Which event may be sent in which state: here, in both kinds of loops, and on uvicorn.

The states are those of the ASGI websocket protocol 2.4, with the extension
``websocket.http.response``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

from ..gate import Gate, page
from ..servers import hosted as app_module
from ..servers.hosted import hosted
from ..servers.support import SECONDS, UVICORN, Site, eventually
from .support import KINDS, set_kind

EVENTS = ("accept", "send", "close", "start", "body", "unknown")

STATES: dict[str, tuple[str, int, dict[str, int]]] = {
    "connecting": ("", 500, {"accept": 1000, "close": 403, "start": 500}),
    "refusing": ("start", 500, {"body": 402}),
    "refusing in pieces": ("start,more", 500, {"body": 402}),
    "open": ("accept", 1000, {"send": 1000, "close": 4000}),
    "closed": ("accept,close", 4000, {}),
    "denied": ("close", 403, {}),
    "refused": ("start,body", 402, {}),
}
"""States: the events before them, what the client gets if the application returns then, and the
events that may be sent then, each with what the client gets if the application returns after it."""


def uvicorns(state: str, event: str, end: int) -> tuple[int | None, str]:
    """Return what the client gets from uvicorn where we send it this, and the exception."""
    begun = state.startswith("refusing") or (state, event) == ("connecting", "start")
    theirs = None if begun and end == 500 else 1006 if end == 1000 else end  # None: no response
    return theirs, "AssertionError" if (state, event) == ("refused", "body") else "RuntimeError"


class Host:
    """A server that runs the application `hosted`."""

    def __init__(self, kind: str, port: int, seen: Callable[[str], list[Any]]) -> None:
        self.kind = kind
        self.port = port
        self.seen = seen

    def run(self, words: str, room: str, *, leaves: bool = False) -> tuple[Any, list[Any]]:
        """Let an application take some steps; return how it ended and what it has seen."""
        url = f"ws://127.0.0.1:{self.port}/ws/steps/{room}?{words}"
        end: Any = None
        try:
            with connect(url, open_timeout=SECONDS, proxy=None) as ws:
                if leaves:
                    ws.close(3333, "gone")
                with suppress(ConnectionClosed):
                    while True:
                        ws.recv(timeout=SECONDS)
                end = ws.close_code
        except InvalidStatus as exc:
            end = exc.response.status_code
        except InvalidMessage:  # no response
            pass
        return end, self.wait(room)

    def wait(self, room: str) -> list[Any]:
        """Return what an application has seen, once it has returned."""

        def look() -> list[Any]:
            found = self.seen(room)
            return found[:-1] if "end" in found else []

        return eventually(look, "the application has returned")


@pytest.fixture(scope="module")
def uvicorn(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(UVICORN, tmp_path_factory.mktemp("site"), redis_server.url, app="hosted.py")
    site.start()
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture(params=[*KINDS, "uvicorn"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    if request.param == "uvicorn":
        site = request.getfixturevalue("uvicorn")
        yield Host("uvicorn", site.port, lambda word: json.loads(site.get(f"/seen/{word}")[1]))
        return
    gate = Gate(set_kind(request.param, monkeypatch), page, asgi=hosted)
    yield Host(request.param, gate.port, lambda word: app_module.seen.get(word, []))
    gate.stop()


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_an_event_in_a_state(host: Host, room: str, state: str, event: str) -> None:
    before, end, allowed = STATES[state]
    expected: int | None = allowed.get(event, end)
    error = "RuntimeError"
    if host.kind == "uvicorn":
        expected, error = uvicorns(state, event, allowed.get(event, end))
    words = [*filter(None, before.split(",")), event]
    got, seen = host.run(",".join(["receive", *words]), room)
    last = event if event in allowed else f"{event}: {error}"
    assert seen == ["websocket.connect", "receive", *words[:-1], last]
    assert got == expected


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("close,receive,receive", 1006),  # never accepted
        ("accept,close,receive,receive", 4000),
        ("accept,receive,receive", 3333),  # the client closes
    ],
)
def test_the_disconnect_event_comes_again(host: Host, room: str, words: str, code: int) -> None:
    """uvicorn has 1006 or 1005 the second time, from the end of TCP."""
    _, seen = host.run(f"receive,{words}", room, leaves=code == 3333)
    events = [event for event in seen if isinstance(event, dict)]
    assert [event["type"] for event in events] == ["websocket.disconnect"] * 2
    assert events[0]["code"] == code
    if host.kind == "uvicorn":
        events[1]["code"] = code
    assert events[1]["code"] == code


@pytest.mark.parametrize("event", ["send", "close", "unknown"])
def test_nothing_can_be_sent_after_the_client_has_gone(host: Host, room: str, event: str) -> None:
    _, seen = host.run(f"receive,accept,receive,{event}", room, leaves=True)
    assert seen[-3] == {"type": "websocket.disconnect", "code": 3333, "reason": "gone"}
    if host.kind != "uvicorn" or event == "send":  # uvicorn accepts a close, or raises in time
        assert seen[-1] == f"{event}: OSError"


@pytest.mark.parametrize("answer", ["accept", "close", "start"])
def test_a_client_that_goes_before_the_answer(host: Host, room: str, answer: str) -> None:
    words = f"receive,receive,{answer}"
    with socket.create_connection(("127.0.0.1", host.port)) as client:
        client.sendall(
            f"GET /ws/steps/{room}?{words} HTTP/1.1\r\nHost: 127.0.0.1:{host.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        eventually(lambda: host.seen(room), "it waits for the second event")
    seen = host.wait(room)
    assert seen[2]["code"] == 1006
    assert seen[-1] == f"{answer}: OSError"
