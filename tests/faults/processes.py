"""The private memory and the open files of a process, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["descriptors", "memory", "needs_proc"]

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")


def descriptors(pid: int) -> int:
    """Return how many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int) -> int:
    """Return the bytes that a process alone has in memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = (line.split() for line in text.splitlines() if line.startswith("Private_"))
    return 1024 * sum(int(words[1]) for words in private)
