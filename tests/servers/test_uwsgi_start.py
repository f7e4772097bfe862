"""The end of uWSGI right after its start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
