"""The site of a soak run: Redis, and uWSGI with two workers that report their censuses."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import redis

from wsredis.embedded import EmbeddedRedis, free_port

from .member import CONSUMERS
from .wire import TEXT, frame, handshake

__all__ = ["OPTIONS", "WORKERS", "Server"]

HERE = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
WORKERS = 2
START_SECONDS = 30.0

OPTIONS: dict[str, Any] = {
    "key_prefix": "soak",
    "max_send_buffer": 2**16,
    "ping_interval": 5.0,
    "pong_timeout": 5.0,
    "close_timeout": 2.0,
    "handler_threads": 3,
}
"""Options that differ from the defaults: limits are lower, so that they are reached."""

BAD = re.compile(r"Traceback|Exception ignored|SystemError|Segmentation|DAMN")
"""Text that must not be in a log."""

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def _die_with_us() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Server:
    """The site, which runs until the end of a `with` block.

    Args:
        folder: the folder for its log.
        leaks: the intentional leaks, see leaks.py.
        overflow: the option ``overflow``.
    """

    def __init__(self, folder: Path, leaks: str = "", overflow: str = "close") -> None:
        self._folder = folder
        self._environ = {
            "SOAK_LEAKS": leaks,
            "SOAK_OPTIONS": json.dumps({**OPTIONS, "overflow": overflow}),
        }
        self.log = folder / "uwsgi.log"
        self.broker = EmbeddedRedis()

    def __enter__(self) -> Self:
        self.broker.start()
        try:
            self.redis = redis.Redis(port=self.broker.port)
            self.port, *self._pages = (free_port() for _ in range(1 + WORKERS))
            self._process = self._start()
        except BaseException:
            self.broker.stop()
            raise
        try:
            self.wait_for_workers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.redis.close()
        self.broker.stop()

    def _start(self) -> subprocess.Popen[bytes]:
        """Start uWSGI with a socket for all workers, and one for the page of each worker."""
        sockets = [self.port, *self._pages]
        maps = [",".join(str(n + 1) for n in range(WORKERS)), *range(1, WORKERS + 1)]
        words = [str(Path(sys.executable).with_name("uwsgi")), "--binary-path", sys.executable]
        words += ["--master", "--die-on-term", "--need-app", "--no-orphans", "--disable-logging"]
        words += ["--processes", str(WORKERS), "--gevent", "100", "--listen", "100"]
        words += ["--master-fifo", str(self._folder / "fifo"), "--socket-sndbuf", "32768"]
        for number, (port, workers) in enumerate(zip(sockets, maps, strict=True)):
            words += ["--http-socket", f"{HOST}:{port}", "--map-socket", f"{number}:{workers}"]
        words += ["--pythonpath", str(HERE), "--wsgi-file", str(HERE / "app.py")]
        environ = {**os.environ, **self._environ}
        environ["WSREDIS_REDIS"] = self.broker.url
        with self.log.open("wb") as log:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
                preexec_fn=_die_with_us,
            )

    def wait_for_workers(self, but: frozenset[int] = frozenset()) -> None:
        """Wait until every worker answers, and none of them has one of the given process ids."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if not but & {worker["pid"] for worker in self.listening()}:
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"uWSGI does not answer:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def census(self) -> list[dict[str, Any]]:
        """Request the census of each worker."""
        return [self._ask(port, "/census") for port in self._pages]

    def listening(self) -> list[dict[str, Any]]:
        """Request the subscriptions of each worker: a part of the census, without a collection."""
        return [self._ask(port, "/listening") for port in self._pages]

    def _ask(self, port: int, page: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
        try:
            connection.request("GET", page)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def subscriptions(self) -> dict[str, int]:
        """Return the channels in Redis, and how many connections subscribe to each."""
        names: Any = self.redis.pubsub_channels()
        pairs: Any = self.redis.pubsub_numsub(*names) if names else []
        return {name.decode(): count for name, count in pairs}

    def warm(self) -> None:
        """Let each worker serve a consumer of each kind once, so that nothing is made later.

        Each text is sent twice, as a site with the leak ``event`` drops an event here and there.
        """
        for port in self._pages:
            for kind in CONSUMERS:
                with socket.create_connection((HOST, port), START_SECONDS) as sock:
                    sock.sendall(handshake(port, f"/{kind}/warm", {}, False))
                    _read_until(sock, b"\r\n\r\n")
                    sock.sendall(2 * frame(TEXT, b"warm"))
                    _read_until(sock, b"warm")

    def cut(self) -> int:
        """Break every subscriber's link to Redis and return how many there were."""
        killed: Any = self.redis.client_kill_filter(_type="pubsub")
        return int(killed)

    def reload(self) -> None:
        """Start to replace the workers; return at once."""
        with (self._folder / "fifo").open("wb", buffering=0) as fifo:
            fifo.write(b"r")

    def complaints(self) -> list[str]:
        """Return lines of the log that should not be there."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if BAD.search(line)]


def _read_until(sock: socket.socket, end: bytes) -> None:
    """Read what a socket gets until it contains some bytes."""
    received = b""
    while end not in received:
        if not (data := sock.recv(4096)):
            raise RuntimeError(f"a consumer does not answer: {received!r}")
        received += data
