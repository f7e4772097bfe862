#!/usr/bin/env python3
"""Fuzz all targets for a while and print the results; exit with 1 if an invariant was violated.

Usage: run.py [--seconds 60] [--inputs 0] [--way guided|drawn] [--jobs N] [TARGET ...]

Each target's time is split between both ways (see worker.py); if atheris cannot be installed, all
is used for drawn inputs. Inputs that reached new branches are stored in test-output/fuzz.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from targets import NAMES

HERE = Path(__file__).resolve().parent
FOUND = HERE.parent.parent / "test-output" / "fuzz"

COUNT = re.compile(r"^(?:inputs|stat::number_of_executed_units): *(\d+)$", re.M)
NOISE = re.compile(r"^(INFO|WARNING|stat::|#|\"|inputs:)")

GRACE = 300
"""Seconds beyond its time after which a worker counts as hanging."""


STOPPED = {72, -signal.SIGINT, -signal.SIGTERM}
"""Exit codes of a worker that somebody has stopped; 72 is libFuzzer's."""


@dataclass(frozen=True, slots=True)
class Job:
    """A target, a way of fuzzing it, and the limits."""

    name: str
    way: str
    seconds: float
    inputs: int

    def run(self) -> tuple[bool, int]:
        """Run a worker; print how it went, and all it says if that is not well."""
        limits = [str(self.seconds), str(self.inputs), str(FOUND / self.name)]
        command = [sys.executable, str(HERE / "worker.py"), self.way, self.name, *limits]
        patience = self.seconds + GRACE if self.seconds else None
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            text, code = (
                (exc.stdout or b"").decode(errors="replace")
                + f"no end after {exc.timeout:.0f} seconds\n",
                1,
            )
        else:
            text, code = done.stdout.decode(errors="replace"), done.returncode
        counts = COUNT.findall(text)
        count = int(counts[-1]) if counts else 0
        held = code == 0 and count > 0
        verdict = "holds" if held else "stopped" if code in STOPPED else "BROKEN"
        print(f"{self.name:<12} {self.way:<7} {count:>10,} inputs  {verdict}", flush=True)
        if not held:
            print("\n".join(line for line in text.splitlines() if not NOISE.match(line)))
        return held, count


def plan(options: argparse.Namespace) -> list[Job]:
    """Return what is to be done, each target's share of time and number."""
    ways = [options.way] if options.way else ["drawn"]
    if not options.way and find_spec("atheris"):
        ways.append("guided")
    seconds, inputs = options.seconds / len(ways), -(-options.inputs // len(ways))
    return [Job(name, way, seconds, inputs) for name in options.targets or NAMES for way in ways]


def main() -> int:
    """Run all jobs, some at a time."""
    parser = argparse.ArgumentParser(description="Run the fuzz tests of wsredis.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument(
        "--seconds", type=float, default=60, help="duration of each target; 0 for no limit"
    )
    parser.add_argument(
        "--inputs", type=int, default=0, help="inputs for each target; 0 for no limit"
    )
    parser.add_argument(
        "--way",
        choices=["guided", "drawn"],
        help="guided by coverage, or drawn at random (default: both)",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="number of targets that run at a time"
    )
    options = parser.parse_args()
    if unknown := set(options.targets) - set(NAMES):
        names = ", ".join(sorted(unknown))
        parser.error(f"unknown target {names}: write some of {', '.join(NAMES)}")
    if not options.seconds and not options.inputs:
        parser.error("no limit: write --seconds or --inputs above 0")
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(Job.run, plan(options)))
    print(f"{sum(count for _, count in results):,} inputs")
    return 0 if all(held for held, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
