"""The site of ``project/`` as a process."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from wsredis.embedded import free_port

from ...processes import kill_group, start_group

__all__ = ["PROJECT", "SECONDS", "Process", "manage", "uwsgi"]

PROJECT = Path(__file__).parent / "project"
SECONDS = 30.0


def environment(folder: Path, redis: int, **more: str) -> dict[str, str]:
    given = {"MYAPP_DB": str(folder / "db.sqlite3"), "MYAPP_REDIS": str(redis), **more}
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "myapp.settings",
    } | given


def manage(folder: Path, redis: int, *words: str, **more: str) -> str:
    """Run ``manage.py`` and return what it says."""
    ran = subprocess.run(
        [sys.executable, PROJECT / "manage.py", *words],
        env=environment(folder, redis, **more), cwd=PROJECT,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def uwsgi(*words: str) -> list[str]:
    """Return the command line of a uWSGI that ends on SIGTERM."""
    path = str(Path(sys.executable).parent / "uwsgi")
    return [path, "--die-on-term", "--need-app", "--chdir", str(PROJECT), *words]


class Process:
    """A running server of the site.

    Args:
        command: its words, with ``{port}`` for a free port.
        folder: gets its log.
        env: its environment.
    """

    def __init__(self, command: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self.port = free_port()
        self.path = folder / f"log-{self.port}"
        with self.path.open("wb") as log:
            words = [word.format(port=self.port) for word in command]
            self.process = start_group(words, log, folder=PROJECT, environ=env)

    def __enter__(self) -> Process:
        try:
            self.eventually(self._answers, "the server answers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.log()}") from None
        finally:
            kill_group(self.process)

    def log(self) -> str:
        return self.path.read_text(errors="replace")

    def eventually(self, look: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + SECONDS
        while not (found := look()):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.log()}"
            time.sleep(0.01)
        return found

    def _answers(self) -> bool:
        try:
            return self.get("/")[0] > 0
        except OSError:
            return False

    def get(self, path: str, cookie: str = "") -> tuple[int, str]:
        """Return the status and the text of a page."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            client.request("GET", path, headers={"Cookie": cookie} if cookie else {})
            answer = client.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            client.close()

    def open(self, query: str, cookie: str = "") -> ClientConnection:
        """Open a websocket for the facility ``foobar``."""
        headers = {"Origin": f"http://127.0.0.1:{self.port}"} | (
            {"Cookie": cookie} if cookie else {}
        )
        return connect(
            f"ws://127.0.0.1:{self.port}/ws/foobar?{query}",
            additional_headers=headers, proxy=None, open_timeout=SECONDS,
        )  # fmt: skip
