"""Support for tests of channel layers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS = 30.0

ROOT = Path(__file__).parent.parent.parent


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a new asyncio loop, not for ever."""

    async def main() -> T:
        return await asyncio.wait_for(coroutine, SECONDS)

    return asyncio.run(main())


async def eventually(is_so: Any) -> None:
    """Let other tasks run until something is so."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    while not is_so():
        assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


def program(text: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python program; it is spoken to over its standard input and output."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", text, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=ROOT,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that a program prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the program has ended"
    return line.rstrip("\n")


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Write a line to a program."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
