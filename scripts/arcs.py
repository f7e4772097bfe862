#!/usr/bin/env python3
"""Record the arcs (which line runs after which) in processes where coverage's tracer cannot run.

That tracer has a stack for each thread, which is not unwound when uWSGI's threads and greenlets
end, so the server crashes. This tracer stores its state with each frame and writes each new arc to
a file at once, so it does not matter how a process ends.

`scripts/test` installs it with a ``.pth`` file. It is active if ``ARCS_FILE`` names the file and
``ARCS_ROOT`` the folder of the packages, unless coverage measures the process already.

Usage: scripts/arcs.py FILE DATA    converts such a file to a data file of coverage
"""

from __future__ import annotations

import dis
import os
import sys
import threading
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

PACKAGES = ("wsredis", "ws4redis", "adapters", "examples")
RESUME = dis.opmap["RESUME"]
PUSH_EXC_INFO = dis.opmap["PUSH_EXC_INFO"]

# The functions before they are patched.
OPEN, WRITE, CLOSE = os.open, os.write, os.close

REALPATH = lru_cache(maxsize=None)(os.path.realpath)


def start(file: str, root: str) -> None:
    """Record the arcs of this thread and of those that `threading` starts from now on."""
    root = os.path.realpath(root) + os.sep
    folders = tuple(f"{root}{name}{os.sep}" for name in PACKAGES)
    tracers: dict[CodeType, Any] = {}

    def frame_begins(frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        if (tracer := tracers.get(code, tracers)) is tracers:
            # A test may have made links to the packages elsewhere.
            name = REALPATH(code.co_filename)
            tracer = _tracer(code, file, name[len(root) :]) if name.startswith(folders) else None
            tracers[code] = tracer
        return tracer and tracer(frame)

    threading.settrace(frame_begins)
    sys.settrace(frame_begins)


def _tracer(code: CodeType, file: str, name: str) -> Any:
    """Return a function that makes the trace function of a frame that runs this code."""
    seen: set[tuple[int, int]] = set()
    entry = -code.co_firstlineno
    code_bytes = code.co_code

    def note(step: tuple[int, int]) -> None:
        try:
            # Opened each time, because a server may close descriptors that it has not opened.
            fd = OPEN(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError:  # some tests use up all descriptors; the step may occur again
            return
        WRITE(fd, f"{name} {step[0]} {step[1]}\n".encode())
        CLOSE(fd)
        seen.add(step)

    def returns(last: int) -> bool:
        """Return whether a frame that ends here returns, and does not only yield."""
        if sys.version_info[:2] != (3, 13):
            last += 2
        return last >= len(code_bytes) or code_bytes[last] != RESUME

    def begin(frame: FrameType) -> Any:
        # A generator that is resumed has another argument for this opcode.
        line = frame.f_lineno if code_bytes[frame.f_lasti + 1] else entry

        def step(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal line
            if event == "line":
                if code_bytes[frame.f_lasti] != PUSH_EXC_INFO:
                    if (line, frame.f_lineno) not in seen:
                        note((line, frame.f_lineno))
                    line = frame.f_lineno
            elif event == "return" and (line, entry) not in seen and returns(frame.f_lasti):
                note((line, entry))
            return step

        return step

    return begin


def convert(file: str, data: str) -> None:
    """Convert a file of arcs to a data file of coverage."""
    from coverage import CoverageData

    root = os.environ["ARCS_ROOT"]
    found: dict[str, set[tuple[int, int]]] = {}
    with open(file) as lines:
        for line in set(lines):
            name, before, after = line.rsplit(maxsplit=2)
            found.setdefault(os.path.join(root, name), set()).add((int(before), int(after)))
    made = CoverageData(data)
    made.add_arcs(found)
    made.write()


if __name__ == "__main__":
    convert(*sys.argv[1:])
elif "ARCS_FILE" in os.environ and "COVERAGE_PROCESS_CONFIG" not in os.environ:
    start(os.environ["ARCS_FILE"], os.environ["ARCS_ROOT"])
