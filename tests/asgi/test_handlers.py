"""The synchronous code of applications in a patched process: order, results, errors, the end."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
from gevent import monkey
monkey.patch_all()

import asyncio, contextlib, json, threading
import gevent
from wsredis.asgi.handlers import GreenletExecutor
from wsredis.asgi.loop import AsyncioLoop
from wsredis.runtime.loop import Loop

loop = gevent.spawn(lambda: AsyncioLoop(Loop())).get()  # in a greenlet, as a server has it
one, two = (GreenletExecutor(loop.call, name) for name in ("one", "two"))
found = {}


def inside(number):
    with contextlib.suppress(RuntimeError):
        return "it sees the loop", asyncio.get_running_loop()
    return number, threading.current_thread().name


def fail(error):
    raise error


async def main():
    run = asyncio.get_running_loop().run_in_executor
    found["order"] = await asyncio.gather(*(run(one, inside, number) for number in range(3)))
    found["errors"] = []
    for error in (LookupError("what"), SystemExit(3)):
        try:
            await run(one, fail, error)
        except BaseException as exc:
            found["errors"].append(exc is error)

    # Each waits for the other, so they run at the same time.
    barrier = threading.Barrier(2)
    waits = [run(executor, barrier.wait, 20) for executor in (one, two)]
    found["parallel"] = sorted(await asyncio.gather(*waits))

    # One is cancelled while it runs, one before: it never runs, and the next one does.
    begun, release, ran = threading.Event(), threading.Event(), []
    running = run(one, lambda: (begun.set(), release.wait(20)))
    waiting = run(one, ran.append, "cancelled")
    last = run(one, ran.append, "last")
    await run(two, begun.wait, 20)
    running.cancel()
    waiting.cancel()
    release.set()
    await last
    found["ran"] = ran

    try:
        await run(one, next, iter(()))
    except RuntimeError as exc:  # no future can have a StopIteration
        found["stopped"] = type(exc.__cause__).__name__
    found["submitted"] = await asyncio.wrap_future(one.submit(inside, number=8))
    found["other executor"] = await run(None, inside, 7)
    one.shutdown(wait=False, cancel_futures=True)
    await run(two, one._thread.join, 20)
    found["ended"] = not one._thread.is_alive()


asyncio.run_coroutine_threadsafe(main(), loop.asyncio).result(30)
print(json.dumps(found))
"""


def test_functions_run_in_their_order_and_settle_their_futures() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("other executor")[0] == 7
    assert found == {
        "order": [[0, "one"], [1, "one"], [2, "one"]],
        "errors": [True, True],
        "parallel": [0, 1],
        "ran": ["last"],
        "stopped": "StopIteration",
        "submitted": [8, "one"],
        "ended": True,
    }
