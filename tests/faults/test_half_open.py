"""Connected clients that do not answer: a laptop whose lid is closed, a program that hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..servers.support import SECONDS, Setup, Site, each, eventually
from .checker import Numbers, check
from .clients import Crowd
from .processes import descriptors, needs_proc

pytestmark = [pytest.mark.servers, needs_proc]

SLEEPER = Path(__file__).with_name("sleeper.py")
PINGS = {"ping_interval": 4, "pong_timeout": 4}  # seconds; also a busy client answers by then


@each("uwsgi-gevent", "gunicorn-gthread")
def test_who_does_not_answer_is_cut_and_counted_and_others_miss_nothing(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    site = start(setup, **PINGS)
    target = f"/ws/{room}?subscribe-broadcast"
    publisher = site.publisher(room, broadcast=True)
    with (
        Numbers(publisher.publish, pause=0.01) as numbers,
        Crowd(site.port, target, 4, begun=numbers.last) as crowd,
        Crowd(site.port, target, 3, begun=numbers.last, back=False) as mute,
        subprocess.Popen(
            [sys.executable, SLEEPER, site.url(room, "subscribe-broadcast")],
            stdout=subprocess.PIPE,
            text=True,
        ) as sleeper,
    ):
        try:
            assert sleeper.stdout
            assert sleeper.stdout.readline() == "open\n"
            crowd.wait_open()
            mute.wait_open()
            numbers.begin()
            crowd.wait_for(20)
            (worker,) = site.workers()
            files = descriptors(worker)
            for client in mute.clients:
                client.silent = True
            sleeper.send_signal(signal.SIGSTOP)
            eventually(lambda: site.stats()["timeouts"] == 4, "they are cut")
            eventually(lambda: descriptors(worker) <= files - 4, "their sockets are closed")
            assert site.stats()["connections"] == len(crowd.clients)
            crowd.wait_for(numbers.wait_confirmed())
            sleeper.send_signal(signal.SIGCONT)
            assert sleeper.stdout.readline() == "lost\n"
            sleeper.wait(SECONDS)
        finally:
            sleeper.kill()
        crowd.wait_for(numbers.end())
        mute.wait(lambda client: client.sessions[-1].code == 1006, "they notice")
        found = check(crowd.clients, numbers)
        assert not found.codes
        assert not any(found.missed)
        for client in mute.clients:
            heard = client.sessions[-1].numbers
            assert heard == list(range(1, len(heard) + 1)), "up to the cut nothing is missing"
