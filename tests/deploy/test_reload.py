"""Reloads: all clients are told to reconnect, and do not do so all at once."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from ..proxies import needs_nginx
from ..servers.support import SECONDS, eventually
from ..servers.wire import TEXT
from .herd import Herd
from .support import RECIPES, Deployment, deployments, live

pytestmark = pytest.mark.servers

TOLD = {1001, 1012}
RELOADING = [name for name in RECIPES if name != "docker"]
TALK = ("subscribe-broadcast", "publish-broadcast", "echo")


def assert_told_and_spread(herd: Herd) -> None:
    lost = herd.lost()
    assert {event["code"] for event in lost} <= TOLD, lost
    # The client's first pause: a quarter of a second at least, half a second at most.
    delays = [event["delay"] for event in lost]
    assert all(250 <= delay <= 500 for delay in delays)
    assert len(set(delays)) == len(delays)


@pytest.mark.parametrize("deployment", deployments(*RELOADING), indirect=True)
def test_a_reload_sends_everybody_away_with_a_word_and_they_come_back(
    deployment: Deployment, room: str
) -> None:
    # Of two kinds of processes the one that holds the websockets, which comes last.
    *_, reload = deployment.commands("reload")
    with Herd(deployment, room) as herd:
        herd.wait_until_all_hear("before")
        deployment.reload(reload)
        assert_told_and_spread(herd)
        herd.wait_until_all_hear("after")
    assert deployment.request("GET", "/")[0] == 200


def test_a_reload_by_sighup_does_so_too(deploy: Callable[..., Deployment], room: str) -> None:
    # The line that the configuration names for the wheel pyuwsgi, which is what the tests have.
    running = deploy("uwsgi", "--binary-path", sys.executable)
    pidfile = running.folder / "run" / "uwsgi.pid"
    with Herd(running, room) as herd:
        running.reload(f"kill -HUP $(cat {pidfile})")
        assert_told_and_spread(herd)
        herd.wait_until_all_hear("after")


def test_a_container_that_is_stopped_tells_everybody(
    deploy: Callable[..., Deployment], room: str
) -> None:
    running = deploy("docker")
    with Herd(running, room) as herd:
        running.restart(0)
        assert_told_and_spread(herd)
        herd.wait_until_all_hear("after")


@contextmanager
def visitor(running: Deployment) -> Iterator[list[object]]:
    """Ask for pages all the time and give what came of it."""
    answers: list[object] = []
    enough = threading.Event()

    def visit() -> None:
        while not enough.is_set():
            try:
                answers.append(running.request("GET", "/")[0])
            except OSError as exc:
                answers.append(exc)
            enough.wait(0.02)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield answers
    finally:
        enough.set()
        thread.join()


@needs_nginx
def test_a_rolling_restart_behind_nginx_refuses_no_page_and_leaves_nobody_behind(
    deploy: Callable[..., Deployment], room: str
) -> None:
    running = deploy("nginx-gunicorn")

    def serves(number: int) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SECONDS)
            client.connect(str(running.folder / "run" / f"{number}.sock"))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b" 200 " in client.recv(1000)
        return False

    with Herd(running, room) as herd, visitor(running) as answers:
        for number in range(len(running.processes)):
            running.restart(number)
            eventually(lambda: serves(number + 1), "the instance serves again")  # noqa: B023
        assert_told_and_spread(herd)
        herd.wait_until_all_hear("after")
    assert set(answers) == {200}


@pytest.mark.parametrize(
    ("deployment", "signum"),
    [
        pytest.param(*parameter.values, signum, id=parameter.id, marks=parameter.marks)
        for name, signum in (("nginx-uwsgi", signal.SIGHUP), ("apache", signal.SIGUSR1))
        for parameter in deployments(name)
    ],
    indirect=["deployment"],
)
def test_a_graceful_reload_of_the_server_in_front_cuts_no_websocket(
    deployment: Deployment, signum: signal.Signals, room: str
) -> None:
    assert deployment.front
    master = deployment.front.process.pid
    old = live({master}) - {master}
    with deployment.open(room, *TALK) as wire:
        deployment.front.signal(signum)
        eventually(lambda: live({master}) - old - {master}, "new workers have started")
        with deployment.open(room, *TALK) as other:
            wire.send_frame(TEXT, b"still here")
            assert wire.receive_text() == "still here"
            assert other.receive_text() == "still here"
    eventually(lambda: not live({master}) & old, "the old workers end with their last websocket")


@pytest.mark.parametrize("deployment", deployments("uwsgi-emperor"), indirect=True)
def test_a_reload_of_the_vassal_in_front_cuts_websockets_which_come_back(
    deployment: Deployment, room: str
) -> None:
    with Herd(deployment, room) as herd:
        deployment.reload(f"echo c > {deployment.folder}/run/web.fifo")
        assert {event["code"] for event in herd.lost()} == {1006}
        herd.wait_until_all_hear("after")
