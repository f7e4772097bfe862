"""What users of other libraries have reported: options of servers and Redis, and each works.

Recycled workers send 1012 and the next handshake is answered; options of buffering, connections
that are kept alive and wrappers change nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis
from websockets.exceptions import InvalidStatus

from wsredis.embedded import EmbeddedRedis

from .support import (
    ROUTER,
    SECONDS,
    SETUPS,
    Setup,
    Site,
    _gunicorn,
    _uwsgi,
    closed,
    each,
    eventually,
)
from .wire import TEXT

pytestmark = pytest.mark.servers

Start = Callable[..., Site]
TALK = ("subscribe-broadcast", "publish-broadcast", "echo")


def talks(site: Site, room: str) -> bool:
    """Return whether a new websocket gets its own message back; False while none is accepted."""
    try:
        with site.connect(room, *TALK) as ws:
            ws.send("hello")
            return ws.recv(timeout=SECONDS) == "hello"
    except (OSError, EOFError, InvalidStatus):
        return False


# Workers that are replaced


# A worker that is still loading the site does not end when it is asked to.
MERCY = ("--worker-reload-mercy", "5")
REQUESTS = 20
"""After how many a worker is replaced; the first ones are those of the test before it looks."""

UWSGI_SOON = ("--max-requests", str(REQUESTS), "--min-worker-lifetime", "0", *MERCY)
RECYCLING = {
    **dict.fromkeys(("uwsgi-gevent", "uwsgi-threads", "uwsgi-workers"), UWSGI_SOON),
    "gunicorn-gevent": ("--max-requests", str(REQUESTS)),
    "gunicorn-gthread": ("--max-requests", str(REQUESTS)),
}


@each(*RECYCLING)
def test_a_worker_that_has_served_its_requests_says_1012(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, options=RECYCLING[setup.name])
    with site.connect(room, *TALK) as ws:
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "hello"
        for number in range(REQUESTS * setup.workers + REQUESTS):
            try:
                site.get(f"/page/{number}")
            except OSError:  # a new worker is not there yet
                break
        assert closed(ws) == 1012
    eventually(lambda: talks(site, room), "a new worker serves")


TOUCHES = ["touch-reload", "touch-workers-reload", "touch-chain-reload"]


@pytest.mark.parametrize(
    "option",
    [pytest.param(name, marks=[pytest.mark.matrix] * (name != TOUCHES[0])) for name in TOUCHES],
)
def test_touching_a_file_reloads_with_1012(
    start: Start, option: str, room: str, tmp_path: Path
) -> None:
    file = tmp_path / "touched"
    file.touch()
    lazy = ["--lazy-apps"] if option == "touch-chain-reload" else []
    site = start("uwsgi-workers", options=[f"--{option}", str(file), *lazy, *MERCY])
    before = site.workers()
    with site.connect(room, *TALK) as ws:
        stamp = file.stat().st_mtime + 10
        os.utime(file, (stamp, stamp))
        assert closed(ws) == 1012
    eventually(lambda: not before & site.pids(), "all old workers have ended")
    eventually(lambda: talks(site, room), "new workers serve")


@each("gunicorn-gevent", "gunicorn-gthread")
def test_gunicorn_with_preload_serves_and_reloads(start: Start, setup: Setup, room: str) -> None:
    site = start(setup, options=["--preload"])
    assert talks(site, room)
    before = site.workers()
    with site.connect(room, *TALK) as ws:
        site.signal(signal.SIGHUP)
        assert closed(ws) == 1012
    eventually(lambda: not before & site.pids(), "the old worker has ended")
    eventually(lambda: talks(site, room), "a new worker serves")


@each("gunicorn-gevent", "gunicorn-gthread")
def test_gunicorn_gets_one_worker_more_and_one_less(start: Start, setup: Setup, room: str) -> None:
    site = start(setup)
    processes = len(site.pids())
    with site.connect(room, *TALK) as ws:
        site.signal(signal.SIGTTIN)
        eventually(lambda: len(site.pids()) == processes + 1, "there is one worker more")
        ws.send("still here")
        assert ws.recv(timeout=SECONDS) == "still here"
        site.signal(signal.SIGTTOU)  # the oldest worker ends
        assert closed(ws) == 1012
    eventually(lambda: len(site.pids()) == processes, "there is one worker less")
    eventually(lambda: talks(site, room), "the other worker serves")


# Options of buffering and of connections


UWSGI_OPTIONS = {
    "together": ("--post-buffering", "4096", "--offload-threads", "2", "--reuse-port"),
    "post-buffering": ("--post-buffering", "4096"),
    "offload-threads": ("--offload-threads", "2"),
    "reuse-port": ("--reuse-port",),
}


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(name, marks=[pytest.mark.matrix] * (name != "together"))
        for name in UWSGI_OPTIONS
    ],
)
@each("uwsgi-gevent", "uwsgi-router", "uwsgi-threads")
def test_uwsgi_with_an_option_serves_pages_and_websockets(
    start: Start, setup: Setup, option: str, room: str
) -> None:
    site = start(setup, options=UWSGI_OPTIONS[option])
    site.request("POST", f"/publish/{room}", "x" * 10_000)
    assert talks(site, room)


@pytest.mark.parametrize(
    "setup", [pytest.param("gunicorn-gthread", marks=pytest.mark.matrix), "gunicorn-gevent"]
)
def test_gunicorn_with_reuse_port_serves_websockets(start: Start, setup: str, room: str) -> None:
    site = start(setup, options=["--reuse-port"])
    assert talks(site, room)


KEPT_ALIVE = {
    "uwsgi-keepalive": Setup(
        "uwsgi-keepalive",
        _uwsgi(*ROUTER, "--http-keepalive", "--http-timeout", "30", "--gevent", "10"),
    ),
    "gunicorn-gthread": Setup(
        "gunicorn-gthread", _gunicorn("-k", "gthread", "--threads", "8", "--keep-alive", "1")
    ),
    "gunicorn-gevent": Setup("gunicorn-gevent", _gunicorn("-k", "gevent", "--keep-alive", "1")),
    "uwsgi-http11": Setup(
        "uwsgi-http11", _uwsgi("--http11-socket", "{host}:{port}", "--threads", "8")
    ),
    "pywsgi": SETUPS["pywsgi"],
}


LEFT_TO_MATRIX = ("gunicorn-gevent", "uwsgi-http11")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.matrix] * (name in LEFT_TO_MATRIX))
        for name in KEPT_ALIVE
    ],
)
def test_a_page_may_come_first_on_the_connection_and_silence_ends_nothing(
    start: Start, name: str, room: str
) -> None:
    site = start(KEPT_ALIVE[name])
    with site.wire() as wire:
        none = dict.fromkeys(("upgrade", "sec_websocket_key", "sec_websocket_version"))
        wire.send(wire.request("/page", connection="keep-alive", **none))
        assert wire.answer().body == "page /page"
        wire.upgrade(f"/ws/{room}?{'&'.join(TALK)}")
        # The server has had its chance to end an idle connection when this returns.
        wire.socket.settimeout(2.5)
        with pytest.raises(TimeoutError):
            wire.receive()
        wire.socket.settimeout(SECONDS)
        wire.send_frame(TEXT, b"still here")
        assert wire.receive_text() == "still here"


# Where the site is mounted, and what is around it


@each("uwsgi-gevent", "uwsgi-threads")
def test_a_site_may_be_mounted_by_uwsgi(start: Start, setup: Setup, room: str) -> None:
    words = [word for word in setup.command if word not in ("--wsgi-file", "{app}")]
    mount = ("--mount", "/shop={app}", "--manage-script-name")
    site = start(Setup("uwsgi-mount", (*words, *mount)))
    assert site.get("/shop/page") == (200, "page /page")
    with site.wire(f"/shop/ws/{room}?{'&'.join(TALK)}") as wire:
        wire.send_frame(TEXT, b"hello")
        assert wire.receive_text() == "hello"


@each(*[name for name in SETUPS if name not in ("uwsgi-workers", "wsgiref-plain")])
def test_a_wrapper_of_the_input_and_of_start_response_changes_nothing(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, app="monitored.py", options=_find_here(setup))
    assert site.request("POST", f"/publish/{room}", "x" * 100).headers["X-Monitored"] == "yes"
    assert talks(site, room)


def _find_here(setup: Setup) -> list[str]:
    """Return options with which uWSGI finds the module that an application imports."""
    return ["--pythonpath", str(Path(__file__).parent)] if setup.name.startswith("uwsgi") else []


# Redis


def test_redis_may_close_idle_connections(start: Start, room: str) -> None:
    with EmbeddedRedis(args=("--timeout", "1")) as redis:
        site = start("gunicorn-gthread", redis=redis.url)
        with site.connect(room, *TALK) as ws, Redis.from_url(redis.url) as client:

            def has_publisher_connection() -> bool:
                """Return whether Redis still has a connection of a publisher."""
                return any(
                    int(info["sub"]) == 0 and info["id"] != me for info in client.client_list()
                )

            me = str(client.client_id())
            for text in ("one", "two"):
                site.request("POST", f"/publish/{room}", text)
                assert ws.recv(timeout=SECONDS) == text
                eventually(
                    lambda: not has_publisher_connection(),
                    "Redis has closed the connections of publishers",
                )
            ws.send("three")
            assert ws.recv(timeout=SECONDS) == "three"
            assert site.stats()["gaps"] == site.stats()["reconnects"] == 0


def test_a_password_may_have_characters_of_urls(start: Start, room: str) -> None:
    password = "p@:/#%?& ss"
    with EmbeddedRedis(args=("--requirepass", password)) as redis:
        url = redis.url.replace("//", f"//:{quote(password, safe='')}@")
        site = start("uwsgi-gevent", redis=url)
        assert talks(site, room)
        with site.connect(room, *TALK) as ws:
            assert site.broadcast(room, "from elsewhere") == 1
            assert ws.recv(timeout=SECONDS) == "from elsewhere"
        assert "p@:" not in site.log()
