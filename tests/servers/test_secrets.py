"""Secrets of clients, and text that they try to inject into logs and responses."""

from __future__ import annotations

import pytest

from wsredis.protocol.closing import APPLICATION_ERROR

from .support import Site, eventually
from .wire import BINARY, CLOSE, CONT, TEXT, frame

pytestmark = pytest.mark.servers

TALK = "subscribe-broadcast&subscribe-session&publish-broadcast&echo"

FORGED = "forged line"
"""What no line of a log may begin with."""

LINES = f"%0D%0A{FORGED.replace(' ', '%20')}%0A{FORGED.replace(' ', '%20')}%E2%80%A8{FORGED}"

HUSH = {
    "cookie": "session=hush-cookie",
    "authorization": "Bearer hush-token",
    "sec_websocket_protocol": "chat.v1, wsredis.ticket, hush-ticket",
    "x_session": "hush-session",
    "x_user": "alice\x85forged line",
}


def test_logs_contain_no_secret_and_no_line_written_by_a_client(server: Site, room: str) -> None:
    own = f"http://127.0.0.1:{server.port}"
    path = f"/ws/{room}{LINES.replace(' ', '%20')}"
    with server.wire(f"{path}?{TALK}", origin=own, **HUSH) as wire:
        wire.send_frame(TEXT, b"hush-text\r\nforged line")
        wire.send_frame(BINARY, b"hush-binary\r\nforged line")
        wire.send(frame(TEXT, b"hush-", fin=False) + frame(CONT, b"fragment"))
        assert [wire.receive()[1][:5] for _ in range(3)] == [b"hush-"] * 3
        wire.send_frame(CLOSE, b"\x0f\xa0hush-reason\r\nforged line")
        assert wire.close_code() == 4000
    with server.wire(f"{path}?{TALK}", origin=own, **HUSH) as wire:
        wire.send_frame(TEXT, b"hush-bad-text\r\nforged line\xff")
        assert wire.close_code() == 1007
    for changes in (
        {"origin": "http://foreign.example"},  # which the answer quotes
        {"sec_websocket_key": "hush-key"},
        {"x_fail": "1"},
        {"sec_websocket_extensions": "hush extension"},
    ):
        with server.wire() as wire:
            answer = wire.refused(f"{path}?{TALK}", **{"origin": own, **HUSH, **changes})
            assert answer.status in (400, 403)
            assert "hush" not in answer.body
            assert "\n" not in answer.body.rstrip("\n")
    eventually(lambda: len(server.lines(f"close .*{room}")) == 2, "both ends are in the log")
    news = server.news()
    assert "hush" not in news
    assert not [line for line in news.splitlines() if line.startswith(FORGED)]
    assert news.count(f"session:***:{room}%0D%0A") == 4


@pytest.mark.parametrize(
    "offer",
    [
        "chat.v9\r\n X-Evil: 1",
        "chat.v9\nX-Evil: 1",
        "chat.v9\rX-Evil: 1",
        "chat.v9%0D%0AX-Evil: 1",
        "chat.v9\x85X-Evil: 1",
        'chat.v9", X-Evil: 1',
    ],
    ids=repr,
)
def test_an_offered_subprotocol_cannot_inject_a_header(server: Site, room: str, offer: str) -> None:
    with server.wire() as wire:
        wire.send(wire.request(f"/ws/{room}?{TALK}", sec_websocket_protocol=offer))
        try:
            answer = wire.answer()
        except EOFError:  # as uWSGI does where a line ends in nothing but CR
            return
        assert answer.status in (101, 400)
        assert "x-evil" not in answer.headers
        assert "sec-websocket-protocol" not in answer.headers
        assert "X-Evil" not in answer.body


def test_a_close_frame_does_not_contain_the_error(server: Site, room: str) -> None:
    with server.wire(f"/text/{room}?subscribe-broadcast") as wire:
        wire.send_frame(TEXT, b"hush-text")
        first, payload = wire.receive()
        code, reason = APPLICATION_ERROR.code.to_bytes(2), APPLICATION_ERROR.reason.encode()
        assert (first, payload) == (0x80 | CLOSE, code + reason)
        wire.send_frame(CLOSE, payload)
    eventually(lambda: server.lines(f"close .*{room} code=1011"), "its end is in the log")
    assert "the session store has a secret problem" in server.news()
    assert "hush" not in server.news()


def test_a_misspelt_query_key_is_escaped_and_shortened(server: Site, room: str) -> None:
    with server.wire() as wire:
        answer = wire.refused(f"/ws/{room}?subscribe-%0D%0AX-Evil:%201%3Cscript%3E" + "x" * 500)
    assert answer.status == 400
    assert "x-evil" not in answer.headers
    assert "%0D%0A" in answer.body
    assert len(answer.body) < 300
