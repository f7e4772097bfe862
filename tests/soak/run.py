#!/usr/bin/env python3
"""Connect and disconnect thousands of sockets for minutes; exit with 1 for leaks or lost messages.

Usage: run.py [--seconds 180] [--sockets 2000] [--seed N] [--overflow close] [--leaks "..."]

It starts two uWSGI workers and a Redis. A seed repeats the clients' actions, but not when they
happen. The log of a failed run is stored in test-output/soak.
"""

from __future__ import annotations

import argparse
import resource
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from parts.course import PATIENCE, Course
from parts.report import table
from parts.server import Server

KEPT = Path("test-output") / "soak"

SPARE = 300
"""Descriptors that a process needs in addition to its websockets."""


def main() -> int:
    """Run the soak test and return the exit code."""
    parser = argparse.ArgumentParser(description="Run a soak test of wsredis.")
    parser.add_argument(
        "--seconds", type=float, default=180, help="duration, without the pauses for checks"
    )
    parser.add_argument("--sockets", type=int, default=2000, help="number of open sockets")
    parser.add_argument("--seed", type=int, default=None, help="seed of all random choices")
    parser.add_argument("--pace", type=float, default=1.0, help="multiple of the default rates")
    parser.add_argument(
        "--overflow",
        choices=["close", "drop-oldest", "keep-latest"],
        default="close",
        help="the option of the site",
    )
    parser.add_argument(
        "--patience", type=float, default=PATIENCE, help="seconds to wait for a state"
    )
    parser.add_argument("--leaks", default="", help="faults of the site, see leaks.py")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    if problem := _room_for(options.sockets):
        print(problem, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"SOAK_SEED={seed}: {options.sockets:,} sockets, {options.seconds:g} s", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="wsredis-soak-"))
    try:
        with Server(folder, options.leaks, options.overflow) as server:
            course = Course(
                server,
                options.sockets,
                options.seconds,
                seed,
                options.overflow,
                options.pace,
                options.patience,
                lambda text: print(text, flush=True),
            )
            course.run()
        print(table(course))
        if course.violations:
            print(f"FAILED: {len(course.violations)} violations", *course.violations, sep="\n  ")
            KEPT.mkdir(parents=True, exist_ok=True)
            shutil.copy(server.log, KEPT / "uwsgi.log")
            return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("all invariants hold")
    return 0


def _room_for(sockets: int) -> str:
    """Raise the limit of descriptors if necessary; return the problem if that is not allowed."""
    needed = sockets + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            return f"{sockets} sockets need {needed} file descriptors, but only {hard} are allowed"
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
