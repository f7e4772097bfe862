"""The processes of the benchmark: their start, their end, and their cost.

Each leads its own session, by which its children are found, and ends with the driver.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

STOP_SECONDS = 5.0
START_SECONDS = 20.0
REPORT_SECONDS = 30.0
OPEN_SECONDS = 90.0
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def choose_cpus(workers: int) -> tuple[set[int], set[int]]:
    """Return the CPUs for the server, and for the clients, Redis and this driver.

    A server gets one CPU, even if it has several threads, so all are measured alike. A server with
    several workers gets one for each, if as many are left for the others.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1:
        return set(cpus), set(cpus)
    own = workers if len(cpus) >= 2 * workers else 1
    return set(cpus[:own]), set(cpus[own:])


class Process:
    """A command and its child processes, which run until the end of a `with` block."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cpus: set[int],
        log: IO[bytes],
        folder: Path | None = None,
        env: dict[str, str] | None = None,
        pipes: bool = False,
    ) -> None:
        self.name = Path(command[0]).name

        def prepare() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            os.sched_setaffinity(0, cpus)

        self._popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else log,
            stderr=log,
            bufsize=0,
            start_new_session=True,
            preexec_fn=prepare,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        else:
            self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        # While a process of the session is alive, the id of its leader is not reused.
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()

    def pids(self) -> list[int]:
        """Return the ids of the running processes of this session."""
        return [pid for pid, stat in _processes() if int(stat[3]) == self._popen.pid]

    def wait_for_port(self, port: int) -> None:
        """Wait until the server listens on a port."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._popen.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not listen on its port: see its log")

    def cpu_seconds(self) -> float:
        """Return the user and system time that all processes have used so far."""
        return sum(_cpu_seconds(pid) for pid in self.pids())

    def pss(self) -> int:
        """Return the memory of all processes in bytes; shared pages are divided (PSS)."""
        return sum(_pss(pid) for pid in self.pids())


class Load(Process):
    """The load client and its websockets, which are open when the constructor returns.

    Args:
        program: the path of the load client.
        port: the port of the server.
        targets: for each client the request target and, after tabs, additional header lines.
        at_once: the maximum number of concurrent handshakes.
        manner: `websocket` or `socketio`.
        **options: the options of `Process`.

    Raises:
        RuntimeError: not all websockets could be opened.
    """

    def __init__(
        self,
        program: Path,
        port: int,
        targets: Sequence[str],
        *,
        at_once: int,
        manner: str = "websocket",
        **options: Any,
    ) -> None:
        self.connections = len(targets)
        with tempfile.NamedTemporaryFile("w", suffix=".targets") as file:
            file.write("".join(f"{target}\n" for target in targets))
            file.flush()
            words = (str(program), str(port), file.name, str(at_once), manner)
            super().__init__(words, pipes=True, **options)
            assert self._popen.stdin is not None
            assert self._popen.stdout is not None
            self._stdin = self._popen.stdin
            self._stdout = self._popen.stdout
            self._held = b""
            self._readable = select.poll()  # unlike `select.select`, for any descriptor
            self._readable.register(self._stdout, select.POLLIN)
            try:
                self.opened = self.report("open", OPEN_SECONDS)
                if self.opened["failed"]:
                    failed, problem = self.opened["failed"], self.opened["problem"]
                    raise RuntimeError(f"{failed} handshakes failed: {problem}")
            except BaseException as error:
                self.__exit__(type(error), error, None)
                raise

    def mark(self) -> None:
        """Reset the counters."""
        self._command("mark")
        self.report("marked")

    def watch(self, every: int) -> None:
        """Make `progress` return after each so many messages."""
        self._command(f"watch {every}")

    def progress(self, seconds: float = REPORT_SECONDS) -> int:
        """Wait for the next report of progress and return the number of all received messages."""
        return int(self.report("progress", seconds)["messages"])

    def say(self, count: int, per_second: float, size: int) -> None:
        """Send messages of that many bytes, each from the next client; return at once."""
        self._command(f"say {count} {per_second} {size}")

    def churn(self, per_second: float) -> None:
        """Close and reopen that many connections per second from now on; 0 stops it."""
        self._command(f"churn {per_second}")

    def stat(self) -> dict[str, Any]:
        """Return the counters since `mark`."""
        self._command("stat")
        return self.report("stat")

    def report(self, event: str, seconds: float = REPORT_SECONDS) -> dict[str, Any]:
        """Wait for the report of an event; earlier reports of other events are skipped."""
        while True:
            answer: dict[str, Any] = json.loads(self._line(seconds))
            if answer["event"] == event:
                return answer

    def _command(self, text: str) -> None:
        self._stdin.write(f"{text}\n".encode())

    def _line(self, seconds: float) -> bytes:
        while b"\n" not in self._held:
            if not self._readable.poll(seconds * 1000):
                raise RuntimeError("the load client timed out: messages were lost")
            data = os.read(self._stdout.fileno(), 65536)
            if not data:
                raise RuntimeError("the load client exited")
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Yield all processes: the id, and the fields of proc(5) stat from the third one on."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        yield int(folder.name), text.rpartition(") ")[2].split()


def _cpu_seconds(pid: int) -> float:
    """Return the sum of the scheduler's times of the threads, or without these the stat ticks."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not report the PSS of process {pid}")
