"""Any ASGI websocket application on a WSGI server: the edges of the protocol, on each server.

The same tests run on uvicorn; where it does something else, they say what.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidHandshake, InvalidHeaderFormat, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from .support import (
    SECONDS,
    SETUPS,
    UVICORN,
    Setup,
    Site,
    closed,
    each,
    eventually,
    in_matrix,
    new_room,
)

pytestmark = pytest.mark.servers

SECRET = "the session store has a secret problem"

NAMES = [name for name in SETUPS if name not in ("uwsgi-workers", "wsgiref-plain")]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[*in_matrix(name, NAMES), pytest.mark.xdist_group(f"h-{name}")])
        for name in [*NAMES, "uvicorn"]
    ],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    config = {"handshake_timeout": 2, "shutdown_timeout": 3}
    setup = SETUPS.get(request.param, UVICORN)
    site = Site(setup, folder, redis_server.url, app="hosted.py", config=config)
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


EDGES: list[tuple[str, Any, Any]] = [
    ("denies", 403, 403),
    ("raises", 500, 500),
    ("sends_early", 500, 500),
    ("returns", 500, 500),
    ("unknown", 500, 500),
    ("responds", 402, 402),
    ("not_offered", 500, InvalidHeaderFormat),
    ("bad_header", 500, 500),
    ("silent", 503, TimeoutError),  # of the client
    ("closes", 4002, 4002),
    ("closes_plainly", 1000, 1005),  # its code is None
    ("returns_later", 1000, 1006),
    ("raises_later", 1011, 1006),
    ("exits_later", 1011, 1006),
    ("cancels_itself", 1011, 1006),
    ("accepts_again", 1011, 1006),
    ("sends_nothing", 1011, 1006),
]
"""Behaviours of an application, and what the client gets for them: here, and from uvicorn.

It is the status of a refusal, a close code (1006 if there is no close frame), or an exception.
"""


@pytest.mark.parametrize(("path", "ours", "uvicorns"), EDGES, ids=[edge[0] for edge in EDGES])
def test_an_edge(site: Site, path: str, ours: Any, uvicorns: Any) -> None:
    word = new_room()
    site.mark()
    expected = uvicorns if site.setup is UVICORN else ours
    got: Any = None
    body = b""
    try:
        patience = 1 if expected is TimeoutError else SECONDS
        with site.connect(f"{path}/{word}", subprotocols=["one"], open_timeout=patience) as ws:
            if path.endswith("later"):
                ws.send("now")
            closed(ws)
            got = ws.close_code
    except InvalidStatus as exc:
        got, body = exc.response.status_code, exc.response.body
    except (InvalidHandshake, TimeoutError) as exc:
        got = type(exc)
    assert got == expected
    assert SECRET.encode() not in body
    if path == "unknown":
        assert "KeyError" in site.news()
    else:
        events = seen(site, word)
        assert events[0] == "websocket.connect"
        if path in ("denies", "silent"):
            assert events[1]["code"] == 1006
    if site.setup is not UVICORN:
        with site.connect("echo") as ws:
            ws.send("others go on")
            assert ws.recv(timeout=SECONDS) == "others go on"


def test_another_origin_is_refused_before_the_application_runs(site: Site) -> None:
    """uvicorn leaves the origin to the application."""
    if site.setup is UVICORN:
        return
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


def test_it_closes(site: Site) -> None:
    word = new_room()
    with site.connect(f"closes/{word}") as ws:
        assert closed(ws) == 4002
        assert ws.close_reason == "why"
    events = seen(site, word)
    assert events[1] == {"type": "websocket.disconnect", "code": 4002, "reason": "why"}
    if site.setup is not UVICORN:  # there the end of TCP is another event, perhaps before the send
        assert events[2] == events[1]
        assert events[-2:] == ["RuntimeError", "end"]


def test_sending_after_the_client_raises_an_oserror(site: Site) -> None:
    word = new_room()
    site.mark()
    with site.connect(f"sends_after_the_client/{word}"):
        pass
    assert seen(site, word)[-2:] == ["OSError", "end"]
    with site.connect("echo") as ws:
        ws.send("anything before this is logged")
        ws.recv(timeout=SECONDS)
    assert f"{word}' failed" not in site.news()


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


@each("uwsgi-gevent", "gunicorn-gthread", "gunicorn-gevent", always=("gunicorn-gevent",))
def test_an_application_that_holds_the_asyncio_loop_is_named(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    """In gunicorn's gevent worker, which is monkey-patched, it only blocks its greenlet."""
    site = start(setup, app="hosted.py")
    with site.connect(f"blocks/{room}") as ws:
        ws.send("block")
        assert ws.recv(timeout=SECONDS) == "done"
    (line,) = eventually(lambda: site.lines("held the asyncio loop for at least"), "a warning")
    assert f"the task 'websocket /ws/blocks/{room}' (" in line
    stack = [line for line in site.lines(r"in blocks$") if "hosted.py" in line]
    assert len(stack) == (0 if setup.name == "gunicorn-gevent" else 1)


@each("uwsgi-gevent", "gunicorn-gthread", always=("gunicorn-gthread",))
def test_a_client_that_reads_no_more_is_ended(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    """`send` waits for it, but not longer than ``pong_timeout``."""
    site = start(setup, app="hosted.py", ping_interval=0.5, pong_timeout=0.5)
    wire = site.wire(f"/ws/pours/{room}", receive_buffer=4096)
    try:
        assert seen(site, room)[-2:] == ["OSError", "end"]
    finally:
        wire.socket.close()


def ends(*names: str) -> pytest.MarkDecorator:
    """Hand set-ups, and uvicorn, to a test that starts its own server, with ways to end it."""
    params = []
    for param in [*each(*names).args[1], pytest.param(UVICORN, id="uvicorn")]:
        setup = param.values[0]
        params.append(pytest.param(setup, "TERM", marks=param.marks, id=f"{setup}-TERM"))
        interrupted = [*param.marks, pytest.mark.matrix]
        params.append(pytest.param(setup, "INT", marks=interrupted, id=f"{setup}-INT"))
        if setup.reload:
            params.append(pytest.param(setup, "reload", marks=param.marks, id=f"{setup}-reload"))
    return pytest.mark.parametrize(("setup", "how"), params)


@ends("uwsgi-gevent", "uwsgi-threads", "gunicorn-gevent", "gunicorn-gthread", "pywsgi")
def test_every_application_comes_to_its_end(
    start: Callable[..., Site], setup: Setup, how: str, room: str
) -> None:
    """`says_goodbye` takes half a second after its disconnect event; then the lifespan ends."""
    site = start(setup, app="hosted.py", shutdown_timeout=5)
    with site.connect(f"says_goodbye/{room}") as ws, site.connect("echo") as other:
        other.send("open")
        assert other.recv(timeout=SECONDS) == "open"
        if setup.name.startswith("uwsgi"):  # see `wait_until_idle` in test_drain.py
            eventually(lambda: len(site.lines("GET /ws/")) == 2, "the requests have ended")
        if how == "reload":
            site.reload()
        else:
            site.signal(signal.Signals[f"SIG{how}"])
        assert closed(ws) == 1012
        assert closed(other) == 1012
    if how == "reload":
        eventually(lambda: site.lines("lifespan: shut down"), "the worker has ended")
    else:
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
