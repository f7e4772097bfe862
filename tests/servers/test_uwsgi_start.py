"""The end of uWSGI right after its start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from wsredis.embedded import free_port

from ..processes import kill_group, start_group
from .support import BIN, HERE, HOST, eventually

pytestmark = pytest.mark.servers

BELOW_MERCY = 30.0
"""Seconds; after 60 a master kills a worker that does not end."""


@pytest.fixture(params=[["--gevent", "10"], ["--threads", "2"], []], ids=["gevent", "threads", ""])
def beginning(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a uWSGI and wait until one of its workers is between the fork and its first request."""
    log = tmp_path / "log"
    command = [BIN / "uwsgi", "--binary-path", sys.executable, "--master", "--die-on-term"]
    command += ["--need-app", "--http-socket", f"{HOST}:{free_port()}", *request.param]
    with log.open("wb") as out:
        command += ["--wsgi-file", HERE / "slow_worker.py"]
        process = start_group(command, out, folder=tmp_path)
    try:
        eventually(lambda: b"a worker begins" in log.read_bytes(), "a worker begins")
        yield process
    finally:
        print(log.read_text())
        kill_group(process)


def test_a_worker_that_has_hardly_begun_ends_when_it_is_asked_to(
    beginning: subprocess.Popen[bytes],
) -> None:
    def ended() -> bool:
        beginning.terminate()  # a master that has hardly begun itself may not hear the first
        return beginning.poll() is not None

    eventually(ended, "uWSGI has ended", BELOW_MERCY)
    assert beginning.returncode == 0


@pytest.mark.parametrize("mode", [["--gevent", "10"], ["--threads", "2"]])
@pytest.mark.parametrize("single", [True, False])
def test_several_mounts_need_a_single_interpreter(
    mode: list[str], single: bool, tmp_path: Path
) -> None:
    log, port = tmp_path / "log", free_port()
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            "from wsredis import WebSocketMiddleware\n"
            "def page(environ, start):\n    start('200 OK', [])\n    return [b'page']\n"
            f"application = WebSocketMiddleware(page, redis='memory://{name}')\n"
        )
    command: list[str | Path] = [BIN / "uwsgi", "--master", "--die-on-term", *mode]
    command += ["--http-socket", f"{HOST}:{port}", "--manage-script-name"]
    command += ["--mount", "/one=one.py", "--mount", "/two=two.py"]
    command += ["--single-interpreter"] if single else []
    with log.open("wb") as out:
        process = start_group(command, out, folder=tmp_path)
    try:
        if single:
            eventually(lambda: b"spawned uWSGI worker 1" in log.read_bytes(), "a worker begins")
            for name in ("one", "two"):
                url = f"ws://{HOST}:{port}/{name}/ws/news?subscribe-broadcast"
                with connect(url, open_timeout=30):
                    pass
        else:
            eventually(lambda: process.poll() is not None, "uWSGI has ended")
    finally:
        kill_group(process)
    says = "ImportError: gevent can be loaded into one interpreter of a process only: for several"
    assert (says in log.read_text()) != single
