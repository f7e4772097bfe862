"""Any ASGI websocket application on a WSGI server: the edges of the protocol, on each server.

Where uvicorn does the same, the test runs there too.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from .support import SECONDS, SETUPS, Setup, Site, closed, each, eventually, in_matrix, new_room

pytestmark = pytest.mark.servers

SECRET = "the session store has a secret problem"

UVICORN = Setup(
    "uvicorn",
    (sys.executable, "-m", "uvicorn", "--app-dir", "{here}", "--port", "{port}", "hosted:hosted"),
)

NAMES = [name for name in SETUPS if name not in ("uwsgi-workers", "wsgiref-plain")]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[*in_matrix(name, NAMES), pytest.mark.xdist_group(f"h-{name}")])
        for name in NAMES
    ],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    config = {"handshake_timeout": 2, "shutdown_timeout": 3}
    site = Site(SETUPS[request.param], folder, redis_server.url, app="hosted.py", config=config)
    site.start()
    try:
        yield site
    finally:
        site.stop()


def seen(site: Site, word: str) -> list[Any]:
    """Return what the application has seen, once it has returned."""

    def look() -> list[Any]:
        found: list[Any] = json.loads(site.get(f"/seen/{word}")[1])
        return found if "end" in found else []

    return eventually(look, "the application has returned")


def refused(site: Site, path: str, **options: Any) -> Any:
    with pytest.raises(InvalidStatus) as info, site.connect(path, **options):
        pass
    return info.value.response


def test_messages_go_both_ways(site: Site) -> None:
    word = new_room()
    with site.connect(f"echo/{word}") as ws:
        for message in ("hello", b"\x00\xff", "", "x" * 100_000, "é\U0001f600"):
            ws.send(message)
            assert ws.recv(timeout=SECONDS) == message
        ws.close(3333, "done")
    assert seen(site, word)[-2:] == [
        {"type": "websocket.disconnect", "code": 3333, "reason": "done"},
        "end",
    ]


def test_the_scope(site: Site) -> None:
    url = f"ws://127.0.0.1:{site.port}/ws/scoped/caf%C3%A9%20x?a=1&b=%C3%A9"
    headers = {"X-Some": "one", "Cookie": "a=b; c=d", "Origin": f"http://127.0.0.1:{site.port}"}
    offers = [Subprotocol("one"), Subprotocol("two")]
    with connect(url, additional_headers=headers, subprotocols=offers) as ws:
        scope = json.loads(ws.recv(timeout=SECONDS))
    assert scope["type"] == "websocket"
    assert scope["path"] == "/ws/scoped/café x"
    assert scope["root_path"] == ""
    assert scope["query_string"] == repr(b"a=1&b=%C3%A9")
    assert scope["raw_path"] in (
        repr(b"/ws/scoped/caf%C3%A9%20x"),
        repr(b"/ws/scoped/caf%c3%a9%20x"),
    )
    assert scope["scheme"] == "ws"
    assert scope["subprotocols"] == ["one", "two"]
    assert scope["state"] == {"started": "yes"}
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert scope["http_version"] == "1.1"
    host, port = scope["client"]
    assert host == "127.0.0.1"
    assert isinstance(port, int)
    assert [repr(b"x-some"), repr(b"one")] in scope["headers"]
    assert [repr(b"cookie"), repr(b"a=b; c=d")] in scope["headers"]


def test_it_accepts_with_subprotocol_and_headers(site: Site) -> None:
    with site.connect("answers", subprotocols=["one", "two"]) as ws:
        assert ws.subprotocol == "two"
        assert ws.response is not None
        assert ws.response.headers["X-Answered"] == "by the application"


@pytest.fixture(scope="module")
def uvicorn(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(UVICORN, tmp_path_factory.mktemp("site"), redis_server.url, app="hosted.py")
    site.start()
    try:
        yield site
    finally:
        site.stop()


@pytest.mark.xdist_group("h-uvicorn")
@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("denies", 403),
        ("raises", 500),
        ("sends_early", 500),
        ("returns", 500),
        ("responds", 402),
        ("raises_later", None),  # 1011 here
        ("returns_later", None),  # 1000 here
        ("closes", 4002),
        ("sends_after_the_client", 1000),
        ("echo", 1000),
    ],
)
def test_what_uvicorn_does(uvicorn: Site, path: str, result: int | None) -> None:
    """The application is not written for wsredis; the other tests expect the same of us."""
    word = new_room()
    if isinstance(result, int) and 400 <= result < 600:
        assert refused(uvicorn, f"{path}/{word}", subprotocols=["one"]).status_code == result
    else:
        with uvicorn.connect(f"{path}/{word}", subprotocols=["one"]) as ws:
            if path.endswith("later"):
                ws.send("now")
            if path in ("closes", "raises_later", "returns_later"):
                assert closed(ws) == result
    events = seen(uvicorn, word)
    assert events[0] == "websocket.connect"
    if path == "closes":
        assert events[-2:] == ["RuntimeError", "end"]
    if path == "sends_after_the_client":
        assert events[-2:] == ["OSError", "end"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("denies", 403),
        ("raises", 500),
        ("sends_early", 500),
        ("returns", 500),
        ("not_offered", 500),
        ("bad_header", 500),
        ("silent", 503),
        ("unknown", 500),
    ],
)
def test_it_refuses(site: Site, path: str, status: int) -> None:
    word = new_room()
    site.mark()
    response = refused(site, f"{path}/{word}", subprotocols=["one"])
    assert response.status_code == status
    assert SECRET.encode() not in response.body
    if path == "unknown":
        assert "KeyError" in site.news()
        return
    events = seen(site, word)
    assert events[0] == "websocket.connect"
    if path in ("denies", "silent"):
        assert events[1]["code"] == 1006


def test_another_origin_is_refused_before_the_application_runs(site: Site) -> None:
    word = new_room()
    with site.wire() as wire:
        assert wire.refused(f"/ws/echo/{word}", origin="http://example.com").status == 403
    with site.connect(f"echo/{word}-here"):
        pass
    assert "websocket.connect" in seen(site, f"{word}-here")
    assert json.loads(site.get(f"/seen/{word}")[1]) == []


def test_it_refuses_with_a_response_of_its_own(site: Site) -> None:
    response = refused(site, "responds")
    assert response.status_code == 402
    assert response.body == b'{"pay": true}'
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-quota"] == "3"


@pytest.mark.parametrize(
    ("path", "code"), [("raises_later", 1011), ("exits_later", 1011), ("returns_later", 1000)]
)
def test_it_ends_while_open(site: Site, path: str, code: int) -> None:
    with site.connect(path) as ws:
        ws.send("now")
        assert closed(ws) == code
    with site.connect("echo") as ws:
        ws.send("others go on")
        assert ws.recv(timeout=SECONDS) == "others go on"


def test_it_closes(site: Site) -> None:
    word = new_room()
    with site.connect(f"closes/{word}") as ws:
        assert closed(ws) == 4002
        assert ws.close_reason == "why"
    events = seen(site, word)
    assert events[1] == {"type": "websocket.disconnect", "code": 4002, "reason": "why"}
    assert events[2] == events[1]
    assert events[-2:] == ["RuntimeError", "end"]


def test_sending_after_the_client_raises_an_oserror(site: Site) -> None:
    word = new_room()
    site.mark()
    with site.connect(f"sends_after_the_client/{word}"):
        pass
    assert seen(site, word)[-2:] == ["OSError", "end"]
    assert "Traceback" not in site.news()


def test_send_waits_for_a_slow_reader(site: Site) -> None:
    with site.connect("pours", compression=None) as ws:
        for number in range(160):
            assert ws.recv(timeout=SECONDS) == bytes([number]) * 65_536
        for number in range(5):
            assert ws.recv(timeout=SECONDS) == bytes([number]) * 2_000_000
        assert ws.recv(timeout=SECONDS) == "all sent"


def test_a_client_that_pours_is_not_read(site: Site) -> None:
    """More than the kernel's buffers and the queue arrives, and nothing is lost."""
    with site.connect("sleeps", compression=None) as ws:
        sent = threading.Event()

        def pour() -> None:
            for _ in range(150):
                ws.send(b"x" * 80_000)
            ws.send("size?")
            sent.set()

        thread = threading.Thread(target=pour)
        thread.start()
        assert not sent.wait(1)
        site.get("/wake")
        assert ws.recv(timeout=30) == str(150 * 80_000)
        thread.join()


def test_a_silent_connect_holds_no_thread(site: Site) -> None:
    wires = [site.wire() for _ in range(12)]
    try:
        for wire in wires:
            wire.send(wire.request("/ws/silent"))
        assert site.get("/page")[0] == 200
    finally:
        for wire in wires:
            wire.socket.close()


@each("uwsgi-gevent", "uwsgi-threads", "gunicorn-gevent", "gunicorn-gthread", "pywsgi")
def test_every_application_comes_to_its_end(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    """`says_goodbye` takes half a second after its disconnect event; then the lifespan ends."""
    site = start(setup, app="hosted.py", shutdown_timeout=5)
    with site.connect(f"says_goodbye/{room}") as ws, site.connect("echo") as other:
        other.send("open")
        assert other.recv(timeout=SECONDS) == "open"
        site.signal(signal.SIGTERM)
        assert closed(ws) == 1012
        assert closed(other) == 1012
    site.wait()
    lines = site.log().splitlines()
    assert lines.index("goodbye: 1012") < lines.index("lifespan: shut down")


@each("uwsgi-gevent", "gunicorn-gthread", "gunicorn-gevent")
def test_an_application_that_does_not_end_is_cancelled(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    site = start(setup, app="hosted.py", shutdown_timeout=0.5)
    with site.connect(f"stays/{room}") as ws:
        site.signal(signal.SIGTERM)
        assert closed(ws) == 1012
    site.wait()
    assert "still ran at the end of the process" in site.log()
