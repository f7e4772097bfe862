"""What a server logs where something is wrong: in the site's code, in options, with clients."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import BIN, HOST, SECONDS, Setup, Site, _uwsgi, each, eventually

pytestmark = pytest.mark.servers

Start = Callable[..., Site]
BROADCAST = "subscribe-broadcast"
TALK = ("subscribe-broadcast", "publish-broadcast", "echo")
HELD = r"^WARNING wsredis.watchdog "


# Code that holds the loop


@each("uwsgi-gevent", "gunicorn-gevent", "gunicorn-gthread", "werkzeug")
def test_an_endpoint_that_holds_the_loop_is_named_once(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, app="holding.py")
    with site.connect(room, *TALK) as ws:
        for number in ("1", "2"):
            ws.send(number)
            assert ws.recv(timeout=SECONDS) == number
    (line,) = eventually(lambda: site.lines(HELD), "a warning")
    match = re.search(r"The endpoint held the loop for at least (\d+) ms: .*Slow\.received", line)
    assert match is not None
    assert int(match[1]) >= 200


@each("uwsgi-gevent", "gunicorn-gevent", "gunicorn-gthread", "werkzeug")
def test_code_of_a_handshake_that_holds_the_loop_is_named(
    start: Start, setup: Setup, room: str
) -> None:
    """On a threaded server it holds a thread only; code that waits holds nothing."""
    site = start(setup, app="holding.py")
    for how in ("waits", "blocks", "blocks"):
        with site.connect(room, "subscribe-broadcast", how):
            pass
    with site.connect(room, *TALK) as ws:  # something that is logged later
        ws.send("1")
        assert ws.recv(timeout=SECONDS) == "1"
    eventually(lambda: site.lines("The endpoint held the loop"), "a warning")
    lines = site.lines("A handshake held the loop")
    if setup.name in ("gunicorn-gthread", "werkzeug"):
        assert not lines
        return
    (line,) = lines
    match = re.search(r"for (\d+) ms, in identity=\w+\.identify \(\S+holding\.py:\d+\) or", line)
    assert match is not None
    assert int(match[1]) >= 300
    assert re.search(r" or allowed_channels=\w+\.<lambda> \(", line)
    assert re.search(r" or endpoint=\w+\.Slow\. Meanwhile", line)


# uWSGI's router


def test_a_router_that_forwards_no_frames_is_reported_at_the_start(
    start: Start, tmp_path: Path
) -> None:
    router = ("--http", "{host}:{port}", "--gevent", "10")
    (line,) = start(Setup("uwsgi-deaf", _uwsgi(*router))).lines("without http-websockets")
    assert line.endswith("Add --http-websockets (in a file: http-websockets = true).")
    off = tmp_path / "off.ini"
    off.write_text("[uwsgi]\nhttp-websockets = false\n")
    lazy = ("--lazy-apps", "--processes", "2", "--ini", str(off))
    site = start(Setup("uwsgi-off", _uwsgi(*router, *lazy), workers=2))
    assert len(site.workers()) == 2
    assert len(site.lines("without http-websockets")) == 1
    for options in (("--http-websockets",), ("--http-raw-body",)):
        site = start(Setup("uwsgi-hearing", _uwsgi(*router, *options)))
        assert not site.lines("without http-websockets")


# An ASGI server


def test_an_asgi_server_is_told_which_servers_to_use(tmp_path: Path, redis_url: str) -> None:
    command = (str(BIN / "uvicorn"), "--host", HOST, "--port", "{port}", "--app-dir", "{here}")
    setup = Setup("uvicorn", (*command, "--lifespan", "off", "bare:application"))
    site = Site(setup, tmp_path, redis_url)
    try:
        site.start()
        assert site.get("/")[0] == 500
        assert site.lines("which is a WSGI application: start it with uWSGI, gunicorn")
    finally:
        site.stop()


# Refusals


def test_refusals_are_warnings_once_a_minute_for_each_reason(start: Start, room: str) -> None:
    site = start("pywsgi")
    for number in range(3):
        with site.wire() as wire:
            target = f"/ws/{room}?{BROADCAST}&ticket=a-secret"
            wire.refused(target, origin=f"http://evil{number}.example", x_user="alice")
    with site.wire() as wire:
        wire.refused("/ws/readonly?publish-broadcast", x_user="alice")
    eventually(
        lambda: len(site.lines(f"INFO wsredis.middleware refused 403 client={HOST}")) == 4, ""
    )
    origin, policy = site.lines("WARNING wsredis.handshake refused a websocket with 403")
    assert f"client={HOST} user=- asked for /ws/{room}?{BROADCAST}: Origin http://evil0" in origin
    assert "Add the origin to `origins`" in origin
    assert "user=alice asked for /ws/readonly?publish-broadcast: Not granted to alice" in policy
    assert "a-secret" not in "".join((origin, policy))
