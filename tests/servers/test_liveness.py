"""The browser client notices a frozen server and a dead network, without any configuration."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import playwright
import pytest

from ..faults.proxy import Proxy
from ..processes import kill_group, start_talking
from .support import HOST, SETUPS, Setup, Site, each

pytestmark = pytest.mark.servers

NODE = Path(playwright.__file__).parent / "driver/node"
CLIENT = Path(__file__).parent / "liveness.mjs"
QUICKLY = {"ping_interval": 1, "pong_timeout": 1}
"""The client notices within two of these intervals."""


@contextmanager
def client(uri: str) -> Iterator[Callable[[str], None]]:
    """Run a client in Node; yield a function that waits for a line of its output."""
    process = start_talking([str(NODE), str(CLIENT), uri])
    assert process.stdout is not None

    def wait(line: str) -> None:
        lines = []
        while (said := process.stdout.readline()) != f"{line}\n":
            lines.append(said)
            assert said, lines

    try:
        yield wait
        _, errors = process.communicate(timeout=30)
        assert not errors
    finally:
        kill_group(process)


def freeze(site: Site, signum: signal.Signals) -> None:
    """Stop or continue all processes of a server."""
    assert site.process is not None
    os.killpg(site.process.pid, signum)


@each()
def test_a_frozen_server_is_noticed_and_the_client_returns(
    start: Callable[..., Site], setup: Setup, room: str
) -> None:
    site = start(setup, **QUICKLY)
    with client(site.url(room, "subscribe-broadcast")) as wait:
        wait("open")
        site.broadcast(room, "before")
        wait("message before")
        freeze(site, signal.SIGSTOP)
        try:
            wait("lost no data from the server")
        finally:
            freeze(site, signal.SIGCONT)
        wait("open")
        site.broadcast(room, "after")
        wait("message after")


def test_a_dead_network_is_noticed_and_the_client_returns(
    start: Callable[..., Site], room: str
) -> None:
    site = start(SETUPS["pywsgi"], **QUICKLY)
    proxy = Proxy(site.port)
    try:
        with client(f"ws://{HOST}:{proxy.port}/ws/{room}?subscribe-broadcast") as wait:
            wait("open")
            proxy.hole()
            wait("lost no data from the server")
            proxy.heal()
            wait("open")
            site.broadcast(room, "after")
            wait("message after")
    finally:
        proxy.close()
