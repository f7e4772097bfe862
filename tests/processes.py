"""Programs that tests start, each in a separate process group, so that all of it can be ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

__all__ = ["kill_group", "living", "start_group", "start_talking", "with_variable"]


def start_group(
    command: Sequence[str | Path],
    log: IO[bytes],
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that needs nobody; what it says goes into a log."""
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=folder,
        env=environ,
        start_new_session=True,
    )


def start_talking(
    command: Sequence[str], *, folder: str | None = None, **environ: str
) -> subprocess.Popen[str]:
    """Start a program that the test talks to: all three of its streams are pipes of text."""
    return subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **environ},
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """End at once what is left of a program and of those it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def living(groups: Collection[int]) -> set[int]:
    """Return the processes of some groups; those that only wait for their parent do not count."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, check=True, text=True
    )
    lines = (line.split() for line in listed.stdout.splitlines())
    return {int(pid) for pid, group, state, *_ in lines if int(group) in groups and state[0] != "Z"}


def with_variable(name: str, value: str) -> list[str]:
    """Return the commands of all processes that have inherited a variable."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{name}={value}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
