"""The threads of `ThreadRunner`, while they wait for the next step."""

from __future__ import annotations

import gc
import weakref

from wsredis.consumers.runner import ThreadRunner

from ..servers.support import eventually


class Run:
    def step(self) -> None:
        """Do nothing."""


def test_a_thread_that_waits_keeps_no_run() -> None:
    runner = ThreadRunner(1, lambda: None)
    run = Run()
    kept = weakref.ref(run)
    runner.add(run)
    del run

    def is_gone() -> bool:
        gc.collect()
        return kept() is None

    try:
        eventually(is_gone, "the thread has let it go")
    finally:
        runner.close()
