#!/usr/bin/env python3
"""Run inputs on a target until the time or the number is reached, or its invariant is violated.

Usage: worker.py guided|drawn TARGET SECONDS INPUTS FOLDER    (0 for no limit)

``guided`` is coverage-guided (atheris): it starts with the corpus and the inputs it has found in
FOLDER before. ``drawn`` is property-based (hypothesis), with strategies for inputs. An input
that violates the invariant is written to the target's corpus, where the tests replay it. The last
line, except for a traceback, has the number of inputs.
"""

from __future__ import annotations

import hashlib
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

ROUND = 1000
"""Inputs drawn from one seed."""

HANGS = 60
"""Seconds after which an input that should take a millisecond counts as one that hangs."""

LONGEST = 1024
"""Bytes of one input."""

MEASURED = ["ipaddress", "json", "urllib", "websockets", "wsredis"]
"""Packages whose branches guide the search."""


class Hangs(BaseException):
    """The error of an input that hangs its target; no Exception, or hypothesis would retry it."""


def alarm(*_: object) -> NoReturn:
    raise Hangs(f"no answer for {HANGS} s")


def drawn(name: str, seconds: float, most: int, folder: Path) -> int:
    """Draw inputs, each round from another seed, and return the exit code."""
    from hypothesis import HealthCheck, given, seed, settings
    from targets import load

    target = load(name)
    count, last = 0, b""

    def attempt(data: bytes) -> None:
        nonlocal count, last
        count, last = count + 1, data
        signal.alarm(HANGS)
        try:
            target.check(data)
        finally:
            signal.alarm(0)

    signal.signal(signal.SIGALRM, alarm)
    until = time.monotonic() + (seconds or float("inf"))
    start = time.time_ns()
    while time.monotonic() < until and (not most or count < most):
        rules = settings(
            max_examples=min(ROUND, most - count) if most else ROUND,
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )
        try:
            seed(start + count)(rules(given(target.inputs)(attempt)))()
        except (Exception, Hangs):
            traceback.print_exc()
            target.corpus.mkdir(parents=True, exist_ok=True)
            found = target.corpus / f"crash-{hashlib.sha1(last).hexdigest()}"
            found.write_bytes(last)
            print(f"written to {found}\ninputs: {count}")
            return 1
    print(f"inputs: {count}")
    return 0


def guided(name: str, seconds: float, most: int, folder: Path) -> int:
    """Let libFuzzer look for new branches; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=MEASURED):
        from targets import load

        target = load(name)
    target.corpus.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-artifact_prefix={target.corpus}/",
        f"-max_len={LONGEST}",
        f"-timeout={HANGS}",
        f"-max_total_time={int(seconds)}",
        f"-runs={most or -1}",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder), str(target.corpus)], target.check)
    atheris.Fuzz()
    return 0


def main(way: str, name: str, seconds: str, most: str, folder: str) -> int:
    """Run one way."""
    return {"drawn": drawn, "guided": guided}[way](name, float(seconds), int(most), Path(folder))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
