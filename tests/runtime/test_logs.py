"""Logging from the loop, in a separate process that is monkey-patched."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gevent.monkey; gevent.monkey.patch_all()
import logging, time
import gevent
from wsredis.runtime.logs import get_logger

class Slow(logging.Handler):
    def emit(self, record):
        time.sleep(0.01)  # as one that sends its records somewhere
        kind = record.exc_info and record.exc_info[0].__name__
        print(record.getMessage(), kind, flush=True)

logging.getLogger().addHandler(Slow())
logging.getLogger().setLevel("INFO")
log = get_logger("site")
done = gevent.event.Event()

def callback():
    log.info("two of %d", 3)
    log.debug("not wanted")
    try:
        raise LookupError
    except LookupError:
        log.exception("three")
    log.error("with an exception", exc_info=KeyError())
    gevent.spawn(done.set)

log.info("none")
gevent.spawn(log.info, "one")
gevent.get_hub().loop.run_callback(callback)
done.wait()
log.info("four")
"""


def test_a_handler_that_gives_way_does_not_hold_up_the_loop() -> None:
    run = [sys.executable, "-P", "-c", PROGRAM]
    said = subprocess.run(run, capture_output=True, check=True, text=True, timeout=60)
    assert said.stderr == ""
    assert said.stdout.splitlines() == [
        "none None",
        "one None",
        "two of 3 None",
        "three LookupError",
        "with an exception KeyError",
        "four None",
    ]
