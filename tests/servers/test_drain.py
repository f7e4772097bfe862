"""Heartbeats, pings, reloads and the end of a server: tests that need a separate server."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from websockets.exceptions import InvalidStatus

from .support import SECONDS, SETUPS, Setup, Site, closed, each, eventually
from .wire import PING, PONG, TEXT

pytestmark = pytest.mark.servers

Start = Callable[..., Site]
BROADCAST = "subscribe-broadcast"
TALK = ("subscribe-broadcast", "publish-broadcast", "echo")
RELOADING = [name for name, setup in SETUPS.items() if setup.reload]


def wait_until_idle(site: Site, websockets: int) -> None:
    """Let the requests end from which the websockets came.

    A uWSGI worker without gevent that is asked to end at once while it has a request does so, and
    calls nobody. A graceful reload waits for its requests.
    """
    if site.setup.name.startswith("uwsgi"):
        eventually(lambda: len(site.lines("HTTP/1.1 101")) == websockets, "the requests have ended")


@each(*[name for name in SETUPS if name != "uwsgi-router"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_everybody_hears_1012_before_the_server_ends_by_itself(
    start: Start, setup: Setup, signum: signal.Signals, room: str
) -> None:
    site = start(setup)
    with (
        site.connect(room, *TALK) as talking,
        site.connect(room, BROADCAST) as listening,
        site.wire(f"/ws/{room}?{BROADCAST}") as raw,
    ):
        talking.send("still here")
        assert listening.recv(timeout=SECONDS) == "still here"
        wait_until_idle(site, 3)
        site.signal(signum)
        assert closed(talking) == 1012
        assert closed(listening) == 1012
        assert raw.close_code() == 1012
        site.wait()
    assert len(site.lines(f"close .*{room} code=1012")) == 3


@each("uwsgi-router")
def test_a_router_dies_before_its_workers_and_still_leaves_no_process(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup)
    with site.connect(room, BROADCAST) as ws:
        site.signal(signal.SIGTERM)
        assert closed(ws) in (1012, None)
        site.wait()
    assert len(site.lines(f"close .*{room}")) == 1


@each(*[name for name in SETUPS if name != "uwsgi-router"])
def test_a_client_that_does_not_answer_holds_up_the_end_only_for_a_moment(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup, close_timeout=0.5)
    with site.wire(f"/ws/{room}?{BROADCAST}") as mute, site.connect(room, BROADCAST) as polite:
        wait_until_idle(site, 2)
        site.signal(signal.SIGTERM)
        assert closed(polite) == 1012
        site.wait()
        assert mute.close_code() == 1012
    assert len(site.lines(f"close .*{room} code=1012")) == 2


@each(*RELOADING)
def test_after_a_reload_the_old_clients_have_heard_1012_and_new_workers_serve(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(setup)
    before = site.workers()
    with site.connect(room, BROADCAST) as one, site.connect(room, BROADCAST) as other:
        site.reload()
        assert closed(one) == 1012
        assert closed(other) == 1012
    eventually(lambda: not before & site.pids(), "the old workers have ended")

    def again() -> bool:
        try:
            with site.connect(room, *TALK) as ws:
                ws.send("back")
                return ws.recv(timeout=SECONDS) == "back"
        except (OSError, EOFError, InvalidStatus):
            return False

    eventually(again, "new workers serve")
    assert not before & site.workers()
    site.stop()
    assert not site.pids()


@each()
def test_heartbeats_and_pings_arrive_and_who_answers_nothing_is_cut(
    start: Start, setup: Setup, room: str
) -> None:
    site = start(
        setup, heartbeat="thump", heartbeat_interval=0.3, ping_interval=3, pong_timeout=2.5
    )
    target = f"/ws/{room}?{BROADCAST}"
    # With a queue of usual size it would not read, and so not answer, while all the thumps wait.
    attentive = site.connect(room, *TALK, max_queue=None)
    with site.wire(target) as mute, site.wire(target) as lively, attentive as ws:
        assert ws.recv(timeout=SECONDS) == "thump"
        ws.send("thump")
        ws.send("word")

        def hear() -> tuple[int, bytes]:
            """Take a frame, and answer if it is a ping."""
            first, payload = lively.receive()
            if first == 0x80 | PING:
                lively.send_frame(PONG, payload)
            return first, payload

        heard = set()
        while heard != {(0x80 | TEXT, b"thump"), (0x80 | TEXT, b"word"), (0x80 | PING, b"")}:
            heard.add(hear())
        while not site.lines(f"close .*{room} code=1006"):
            hear()  # at the latest the next thump; it goes on answering
        assert mute.close_code() == 1006
        # Long enough for whoever did not answer to be cut too.
        for _ in range(2):
            while hear()[0] != 0x80 | PING:
                pass
        site.broadcast(room, "end")
        while (got := ws.recv(timeout=SECONDS)) != "end":
            assert got in ("thump", "word")
        assert len(site.lines(f"close .*{room}")) == 1
        assert site.stats()["timeouts"] >= 1
