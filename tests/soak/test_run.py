"""`make soak` on a small scale: a correct site passes, and one with a leak fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .leaks import KINDS

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="a soak run reads /proc"),
]

SCRIPT = Path(__file__).resolve().parent / "run.py"

SMALL = ("--sockets", "60", "--seconds", "8", "--seed", "1")


def soak(folder: Path, *arguments: str) -> tuple[int, str]:
    # Measuring coverage would slow the workers down and use memory in them.
    environ = {name: value for name, value in os.environ.items() if name != "ARCS_FILE"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *SMALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environ,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("overflow", ["close", "keep-latest"])
def test_nothing_is_left_and_nothing_is_lost(tmp_path: Path, overflow: str) -> None:
    code, said = soak(tmp_path, "--overflow", overflow)
    assert code == 0, said
    assert "all invariants hold" in said
    assert not list(tmp_path.iterdir())


FOUND = {
    "greenlet": "greenlets is",
    "timer": "timer watchers is",
    "descriptor": "descriptors of sockets is",
    "memory": "bytes from malloc after",
    "object": "WebSocket objects is",
    "slot": "Limits.count is",
    "channel": "hub and feed differ in",
    "subscription": "Redis has subscriptions to",
    "hole": "missing messages: ",
    "twice": "duplicated or out of order: ",
    "deaf": "revoked clients are still connected",
    "member": "ConsumerRun objects is",
    "event": "missing messages: ",
}


def test_each_leak_has_an_expected_violation() -> None:
    assert FOUND.keys() - {"hole", "twice", "deaf", "member", "event"} == KINDS.keys()


@pytest.mark.parametrize(
    "leaks",
    [
        "greenlet timer descriptor memory object slot",
        "channel subscription hole twice deaf",
        "member event",
    ],
)
def test_each_leak_makes_the_run_fail(tmp_path: Path, leaks: str) -> None:
    code, said = soak(tmp_path, "--leaks", leaks, "--patience", "2")
    assert code == 1, said
    for leak in leaks.split():
        assert FOUND[leak] in said, said
    assert (tmp_path / "test-output" / "soak" / "uwsgi.log").exists()


def test_more_sockets_than_the_system_allows_are_refused(tmp_path: Path) -> None:
    code, said = soak(tmp_path, "--sockets", "100000000")
    assert code == 2
    assert "file descriptors" in said
