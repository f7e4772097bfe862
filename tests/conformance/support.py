"""Run Autobahn's cases and read their results, for the tests and for scripts/conformance."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"

SECTIONS = {
    "1": "frames and their lengths",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "unknown opcodes",
    "5": "fragments",
    "6": "UTF-8",
    "7": "the close handshake",
    "9": "large and many messages",
    "10": "fragments of any size",
    "12": "compression, five kinds of data",
    "13": "compression, seven offers",
}
"""What the cases are about, by the first part of their numbers; there are no sections 8 and 11."""

CASES = {
    "1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90,
    "13": 126,
}  # fmt: skip
"""How many cases each section has."""

VERDICTS = ("passed", "non-strict", "informational", "failed", "unimplemented")

Results = dict[str, str]
"""The verdict on each case, by its number."""

LISTENING = re.compile(r"listening on (ws://\S+)")


def section_of(number: str) -> str:
    return number.partition(".")[0]


def selected(cases: Sequence[str]) -> list[str]:
    """Return the words of a command line that choose sections, or single cases."""
    globs = (f"{case}.*" if case in SECTIONS else case for case in cases)
    return [word for glob in globs for word in ("-i", glob)]


def cases_of_server(port: int, output: Path, cases: Sequence[str], *, seconds: float) -> Results:
    """Run the fuzzing client against a server that echoes at ``/``.

    Args:
        port: where it listens.
        output: a folder for the reports.
        cases: some of `SECTIONS`, or numbers of cases.
        seconds: the time limit; a server that takes longer has failed.

    Raises:
        subprocess.TimeoutExpired: the cases took longer.
    """
    words = [*_fuzz(output), "-p", "2", *selected(cases), f"{HOST}:{port}"]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False
    )
    return _results(output, done.stdout.decode(errors="replace"))


def cases_of_client(name: str, output: Path, cases: Sequence[str], *, seconds: float) -> Results:
    """Run a client of `clients` against the fuzzing server; see `cases_of_server`."""
    output.mkdir(parents=True, exist_ok=True)
    words = [*_fuzz(output), "-m", "fuzzingserver", *selected(cases), f"{HOST}:0"]
    with (output / "log").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=subprocess.PIPE)
        assert server.stderr is not None
        try:
            address = _address(server.stderr)
            client = [sys.executable, "-P", str(HERE / "clients.py"), name, address]
            done = subprocess.run(client, stdout=log, stderr=log, timeout=seconds, check=False)
            if done.returncode == 0:
                server.communicate(timeout=60)  # it ends when the last case has been reported
        finally:
            server.kill()
            server.wait()
            server.stderr.close()
    return _results(output, (output / "log").read_text(errors="replace"))


def _fuzz(output: Path) -> list[str]:
    (output / "index.json").unlink(missing_ok=True)
    return [sys.executable, "-P", str(HERE / "fuzz.py"), "-o", str(output)]


def _address(stream: IO[bytes]) -> str:
    said = ""
    while line := stream.readline().decode(errors="replace"):
        said += line
        if found := LISTENING.search(line):
            return found[1]
    raise AssertionError(f"the fuzzing server did not start:\n{said}")


def _results(output: Path, said: str) -> Results:
    """Read the reports, which exist only if all cases have ended."""
    index = output / "index.json"
    assert index.exists(), said[-4000:]
    ((_, cases),) = json.loads(index.read_text()).items()
    return {
        number: verdict(case["behavior"], case["behaviorClose"]) for number, case in cases.items()
    }


def verdict(behavior: str, close: str) -> str:
    """Return one of `VERDICTS` for what a report says about the messages and the close.

    Non-strict is what a specification leaves open or only recommends; it counts as conformant.
    """
    if behavior not in ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"):
        return "failed"
    if close not in ("OK", "INFORMATIONAL"):
        return "failed"
    if behavior == "OK":
        return "passed" if close == "OK" else "informational"
    return behavior.lower()
