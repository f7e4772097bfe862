"""The system clock is set a year ahead and two years back, without an effect on websockets.

Only the clock of the server's processes is changed: `clock.c` is preloaded.
"""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from wsredis.embedded import EmbeddedRedis

from ..servers.support import Setup, Site, each, eventually
from .checker import Numbers, check
from .clients import Client, Crowd

COMPILER = shlex.split(os.environ.get("CC", "cc"))
SOURCE = Path(__file__).with_name("clock.c")
YEAR = 365 * 86400

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(sys.platform != "linux", reason="there is no LD_PRELOAD"),
    pytest.mark.skipif(not shutil.which(COMPILER[0]), reason="there is no C compiler"),
]


class Clock:
    """The clock of the processes that are started with its environment."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ahead"
        self.set(0)
        library = folder / "clock.so"
        subprocess.run([*COMPILER, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self.environ = {"LD_PRELOAD": str(library), "FAKE_CLOCK": str(self._file)}

    def set(self, ahead: int) -> None:
        """Let it jump to so many seconds before the machine's own."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", ahead))


@each("uwsgi-gevent", "gunicorn-gthread")
def test_when_the_clock_jumps_nobody_misses_anything_and_nothing_is_lost(
    start: Callable[..., Site],
    own_redis: EmbeddedRedis,
    admin: redis.Redis,
    setup: Setup,
    room: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(tmp_path)
    with monkeypatch.context() as patch:
        for name, value in clock.environ.items():
            patch.setenv(name, value)
        config = {"redis_deadline": 3, "ping_interval": 3, "pong_timeout": 3, "close_timeout": 3}
        site = start(setup, redis=own_redis.url, **config)

    def asked() -> int:
        """Return how often the site has asked a silent Redis whether it is there."""
        commands: Any = admin.info("commandstats")
        return commands.get("cmdstat_ping", {"calls": 0})["calls"]

    numbers = Numbers(site.publisher(room, broadcast=True).publish)
    clients: list[Client] = []
    with ExitStack() as stack:
        for ahead in (0, YEAR, -YEAR):
            clock.set(ahead)
            # Nothing is said meanwhile: what measures silence by this clock would give up now.
            before = asked() if clients else -2
            eventually(lambda n=before: asked() >= n + 2, "silence is noticed, twice")
            crowd = Crowd(site.port, f"/ws/{room}?subscribe-broadcast", 3, begun=numbers.last)
            stack.enter_context(crowd).wait_open()
            clients.extend(crowd.clients)
            year = time.gmtime(time.time() + ahead).tm_year
            eventually(lambda y=year: site.lines(f"^{y}-.* open "), "its clock has jumped")
            last = numbers.next()
            eventually(lambda n=last: {c.last for c in clients} == {n}, "everybody hears it")
        found = check(clients, numbers)
    assert not found.codes
    assert not any(found.missed)
    stats = site.stats()
    assert (stats["gaps"], stats["timeouts"], stats["slow_consumers"]) == (0, 0, 0)
