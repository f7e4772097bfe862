"""Coverage, and threads that end while greenlets of other threads are destroyed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# What the greenlet is held by besides takes its time, so that other threads end meanwhile.
PROGRAM = """
import functools, queue, sys, threading, weakref
import greenlet
import measuring

measuring.forget_greenlets_quietly()
sys.unraisablehook = [].append  # nothing of Python here either
kept = []

def work():
    slow = functools.partial(queue.SimpleQueue().get, timeout=0.0005)
    kept.append(weakref.ref(greenlet.getcurrent(), slow))

for _ in range(60):
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("all have ended")
"""


def test_threads_that_end_together_do_not_hang_what_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "settings").write_text(
        "[run]\nconcurrency = gevent, thread\ninclude = program.py\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("COVERAGE_FILE", str(tmp_path / "data"))
    for name in ("ARCS_FILE", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)
    measured = [sys.executable, "-m", "coverage", "run", "--rcfile=settings", "program.py"]
    said = subprocess.run(measured, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert said.stdout == "all have ended\n", said.stderr
