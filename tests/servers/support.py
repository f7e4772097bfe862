"""Support for the tests here: start a WSGI server as a process, inspect it, stop it."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from wsredis import Config, Publisher
from wsredis.embedded import free_port

from ..processes import kill_group, living, start_group
from .wire import SECONDS, Wire
from .workers import Rest

__all__ = [
    "BIN",
    "HERE",
    "HOST",
    "SECONDS",
    "SETUPS",
    "UVICORN",
    "Setup",
    "Site",
    "closed",
    "each",
    "eventually",
    "in_matrix",
    "new_room",
    "on",
    "parameters",
    "until",
]

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
HOST = "127.0.0.1"

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """Look again until there is something, return it; for what announces itself to nobody."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)
    return found


def until(ws: ClientConnection, last: str | bytes) -> list[str | bytes]:
    """Receive up to a message and return what came before it."""
    return list(iter(lambda: ws.recv(timeout=SECONDS), last))


def closed(ws: ClientConnection) -> int | None:
    """Wait for the end of a websocket and return its close code; None for an end without one."""
    try:
        while True:
            ws.recv(timeout=SECONDS)
    except ConnectionClosed as exc:
        return exc.rcvd and exc.rcvd.code


@dataclass(frozen=True)
class Setup:
    """The setup of one kind of server.

    Args:
        name: the name of the test.
        command: words of the command line with ``{app}``, ``{module}``, ``{port}``, ``{folder}``.
        workers: the number of worker processes.
        reload: the signal, or the word for the fifo, after which new workers serve; if any.
        family: the common name of servers that differ little for our code.
    """

    name: str
    command: tuple[str, ...]
    workers: int = 1
    reload: signal.Signals | str | None = None
    family: str = ""

    def __str__(self) -> str:
        return self.name

    def words(self, **values: object) -> list[str]:
        return [word.format(here=HERE, host=HOST, **values) for word in self.command]


def _uwsgi(*options: str) -> tuple[str, ...]:
    """Return a uWSGI that ends on SIGTERM and takes orders on a fifo."""
    # Where uWSGI comes as a wheel, a reload would else start the interpreter outside of our venv.
    fixed = ("--binary-path", sys.executable, "--master", "--die-on-term", "--need-app")
    fixed += ("--master-fifo", "{folder}/fifo")
    return (str(BIN / "uwsgi"), *fixed, "--wsgi-file", "{app}", *options)


def _gunicorn(*options: str) -> tuple[str, ...]:
    where = ("-b", "{host}:{port}", "--chdir", "{here}", "{module}:application")
    return (str(BIN / "gunicorn"), "--graceful-timeout", "5", *options, *where)


def _run(kind: str) -> tuple[str, ...]:
    return (sys.executable, "{here}/run.py", kind, "{port}", "{app}")


HTTP_SOCKET = ("--http-socket", "{host}:{port}")
ROUTER = ("--http", "{host}:{port}", "--http-websockets")
HUP = signal.SIGHUP

SETUPS = {
    setup.name: setup
    for setup in (
        Setup(
            "uwsgi-gevent",
            _uwsgi(*HTTP_SOCKET, "--gevent", "10"),
            reload=HUP,
            family="uwsgi",
        ),
        # The master's router would die first of a signal.
        Setup("uwsgi-router", _uwsgi(*ROUTER, "--gevent", "10"), reload="w", family="uwsgi"),
        Setup("uwsgi-threads", _uwsgi(*HTTP_SOCKET, "--threads", "8"), reload=HUP),
        Setup(
            "uwsgi-workers",
            _uwsgi(*HTTP_SOCKET, "--processes", "3", "--gevent", "10"),
            workers=3,
            reload=HUP,
            family="uwsgi",
        ),
        Setup("pywsgi", _run("pywsgi")),
        Setup("gunicorn-gevent", _gunicorn("-k", "gevent"), reload=HUP, family="gunicorn"),
        Setup(
            "gunicorn-gthread",
            _gunicorn("-k", "gthread", "--threads", "8"),
            reload=HUP,
            family="gunicorn",
        ),
        # One request at a time: websockets do not occupy the worker.
        Setup("gunicorn-sync", _gunicorn("-k", "sync"), reload=HUP, family="gunicorn"),
        Setup("werkzeug", _run("werkzeug"), family="socketserver"),
        Setup("wsgiref", _run("wsgiref"), family="socketserver"),
        Setup("wsgiref-plain", _run("wsgiref-plain"), family="socketserver"),
    )
}

UVICORN = Setup(
    "uvicorn",
    (sys.executable, "-m", "uvicorn", "--app-dir", "{here}", "--port", "{port}", "hosted:hosted"),
)
"""The ASGI server with which hosted applications are compared; it is none of `SETUPS`."""


def variants(names: Iterable[str]) -> set[str]:
    """Return those whose family has an earlier one among the names; they are for the matrix."""
    found, families = set(), set()
    for name in names:
        if name in SETUPS and (family := SETUPS[name].family):
            if family in families:
                found.add(name)
            families.add(family)
    return found


def in_matrix(name: str, names: Iterable[str]) -> list[pytest.MarkDecorator]:
    """Return the mark of what only `make test-all` runs, if a set-up among others is such."""
    return [pytest.mark.matrix] if name in variants(names) else []


def parameters(*names: str) -> list[Any]:
    """Return set-ups as parameters; the tests of one stay together, so that it starts once."""
    return [
        pytest.param(
            SETUPS[name], id=name, marks=[pytest.mark.xdist_group(name), *in_matrix(name, names)]
        )
        for name in names
    ]


def on(*names: str) -> pytest.MarkDecorator:
    """Run a test, or all of a module, on these shared servers only."""
    return pytest.mark.parametrize("server", parameters(*names), indirect=True)


def each(*names: str, always: Collection[str] = ()) -> pytest.MarkDecorator:
    """Hand set-ups by their names, by default all, to a test that starts its own server.

    Those named by ``always`` are not left to the matrix.
    """
    some = names or tuple(SETUPS)
    setups = [
        pytest.param(SETUPS[name], id=name, marks=[] if name in always else in_matrix(name, some))
        for name in some
    ]
    return pytest.mark.parametrize("setup", setups)


class Site:
    """A running server with one of the applications of this folder.

    Args:
        setup: the setup of the server.
        folder: an empty folder for its log and its sockets.
        redis: URL of Redis.
        app: file name of the application.
        options: additional arguments of the command line.
        config: options of `Config` by name, passed in the environment.
        trust: the certificates a client trusts, if the server terminates TLS itself.
    """

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        redis: str,
        *,
        app: str = "webapp.py",
        options: Sequence[str] = (),
        config: Mapping[str, object] | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.trust = trust
        self.excused: set[str] = set()  # words of alarm that the test itself has caused
        self.setup = setup
        self.folder = folder
        self.redis = redis
        self.port = 0
        self._log = folder / "log"
        self._seen = 0
        self._app = HERE / app
        self._options = options
        self._environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WSREDIS_", "DJANGO_"))  # the tests of Django set one
        }
        self._environ |= {"XDG_RUNTIME_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
        self._environ |= {
            f"WSREDIS_{name.upper()}": str(value) for name, value in (config or {}).items()
        }
        self._environ |= {"WSREDIS_REDIS": redis}
        if run := os.environ.get("WSREDIS_TEST_RUN"):  # by which the test command finds leftovers
            self._environ["WSREDIS_TEST_RUN"] = run
        self.process: subprocess.Popen[bytes] | None = None

    # Its life

    def start(self) -> Site:
        """Start the server and wait until it answers."""
        for tries_left in reversed(range(3)):
            self.port = free_port()
            self._spawn()
            try:
                eventually(self._answers, f"{self.setup.name} answers")
            except BaseException:
                self.stop()
                if tries_left and "in use" in self.log():
                    continue
                raise AssertionError(f"it did not start:\n{self.log()}") from None
            break
        return self

    def _spawn(self) -> None:
        values = {"app": self._app, "module": self._app.stem, "folder": self.folder}
        with self._log.open("wb") as log:
            self.process = start_group(
                [*self.setup.words(port=self.port, **values), *self._options],
                log,
                environ=self._environ,
                folder=self.folder,  # uWSGI imports from there, and that is not what is tested
            )

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise ChildProcessError
        try:
            return self.get("/")[0] > 0
        except OSError:
            return False

    def signal(self, signum: int) -> None:
        assert self.process is not None
        self.process.send_signal(signum)

    def reload(self) -> None:
        """Ask for new workers in the way of this server."""
        how = self.setup.reload
        if isinstance(how, signal.Signals):
            self.signal(how)
        elif how is not None:
            (self.folder / "fifo").write_text(how)

    def wait(self) -> int:
        """Wait until the server has ended by itself, all its processes, and return its code."""
        assert self.process is not None
        code = self.process.wait(SECONDS)
        eventually(lambda: not self.pids(), "every process of the server has ended")
        return code

    def stop(self) -> None:
        """End the server; by force, and with an error, where it does not do so itself."""
        if self.process is None:
            return
        try:
            if self.process.poll() is None:
                self.process.terminate()
            self.wait()
        finally:
            kill_group(self.process)

    def pids(self) -> set[int]:
        """Return its processes that live; those that only wait for their parent do not count."""
        assert self.process is not None
        return living({self.process.pid})

    # What it says

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def mark(self) -> None:
        """Count from here on as news."""
        self._seen = self._log.stat().st_size

    def news(self) -> str:
        return self._log.read_bytes()[self._seen :].decode(errors="replace")

    def lines(self, pattern: str) -> list[str]:
        """Return the lines of the log in which a pattern is found."""
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def request(
        self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """Send a plain request on a connection of its own; the answer has been read."""
        client = http.client.HTTPConnection(HOST, self.port, timeout=SECONDS)
        if self.trust is not None:
            client = http.client.HTTPSConnection(
                HOST, self.port, timeout=SECONDS, context=self.trust
            )
        try:
            client.request(
                method, path, body.encode() or None, {"Connection": "close", **(headers or {})}
            )
            response = client.getresponse()
            response.text = response.read().decode()  # type: ignore[attr-defined]
            return response
        finally:
            client.close()

    def get(self, path: str) -> tuple[int, str]:
        response: Any = self.request("GET", path)
        return response.status, response.text

    def each_worker(self) -> dict[int, dict[str, int]]:
        """Ask until every worker has answered: process id -> its counters."""
        found: dict[int, dict[str, int]] = {}

        def look() -> bool:
            numbers = json.loads(self.get("/stats")[1])
            if (pid := numbers.pop("pid")) in found:
                rest.stop(pid)
            found[pid] = numbers
            return len(found) == self.setup.workers

        with Rest() as rest:
            eventually(look, f"{self.setup.workers} workers answer")
        return found

    def stats(self) -> dict[str, int]:
        """Return the counters of all workers, added up."""
        all_of_them = self.each_worker().values()
        names = next(iter(all_of_them))
        return {name: sum(numbers[name] for numbers in all_of_them) for name in names}

    def workers(self) -> set[int]:
        """Return the process ids of the workers."""
        return set(self.each_worker())

    # Who talks to it

    def url(self, facility: str, *keys: str) -> str:
        scheme = "ws" if self.trust is None else "wss"
        return f"{scheme}://{HOST}:{self.port}/ws/{facility}?{'&'.join(keys)}"

    def connect(
        self,
        facility: str,
        *keys: str,
        user: str = "",
        groups: Sequence[str] = (),
        session: str = "",
        **options: Any,
    ) -> connect:
        """Return a websocket to open by ``with``."""
        who = {"X-User": user, "X-Groups": ",".join(groups), "X-Session": session}
        options = {"ping_interval": None, "max_size": None, "proxy": None} | options
        options = {"open_timeout": SECONDS, "ssl": self.trust} | options
        headers = {name: value for name, value in who.items() if value}
        return connect(self.url(facility, *keys), additional_headers=headers, **options)

    def wire(self, target: str = "", *, receive_buffer: int = 0, **headers: str) -> Wire:
        """Return a raw client; with a target its handshake has been accepted."""
        wire = Wire(self.port, receive_buffer)
        try:
            if target:
                wire.upgrade(target, **headers)
        except BaseException:
            wire.socket.close()
            raise
        return wire

    def publisher(self, facility: str, **to: Any) -> Publisher:
        """Return a publisher in this process, which is not the server's."""
        return Publisher(facility, config=Config(redis=self.redis), **to)

    def broadcast(self, facility: str, message: object, **options: Any) -> int:
        return self.publisher(facility, broadcast=True).publish(message, **options)


_rooms = itertools.count(1)


def new_room() -> str:
    """Return a facility that no other test uses."""
    return f"room{os.getpid()}n{next(_rooms)}"
