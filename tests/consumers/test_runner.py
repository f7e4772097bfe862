"""The greenlets and threads that run the handlers of consumers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from wsredis.consumers import runner as runner_module
from wsredis.consumers.runner import GreenletRunner, ThreadRunner

from ..servers.support import SECONDS, eventually


class Step:
    def __init__(self, function: Callable[[], object]) -> None:
        self.step = function


def test_a_step_that_blocks_hands_over() -> None:
    order: list[str] = []
    greenlets: list[object] = []
    free = Event()

    def blocks() -> None:
        order.append("blocks")
        free.wait()
        order.append("free")

    def next_step(name: str) -> Step:
        def step() -> None:
            order.append(name)
            greenlets.append(gevent.getcurrent())

        return Step(step)

    runner = GreenletRunner(lambda: order.append("begin"), lambda: order.append("end"))

    def main() -> None:
        runner.add(Step(blocks))
        runner.add(next_step("one"))
        runner.add(next_step("two"))
        gevent.sleep(0.01)
        assert order == ["begin", "blocks", "begin", "one", "two", "end"]
        runner.add(next_step("three"))
        gevent.sleep(0.01)
        free.set()
        gevent.sleep(0.01)

    greenlet = gevent.spawn(main)
    greenlet.get(timeout=SECONDS)
    assert order[6:] == ["begin", "three", "end", "free", "end"]
    assert greenlets[0] is greenlets[1] is greenlets[2]
    assert not greenlets[0].dead


def test_a_closed_runner_ends_the_greenlet_that_it_has_kept() -> None:
    greenlets: list[Any] = []
    runner = GreenletRunner(lambda: None, lambda: None)

    def main() -> None:
        runner.add(Step(lambda: greenlets.append(gevent.getcurrent())))
        gevent.sleep(0.01)
        assert not greenlets[0].dead
        runner.close()
        gevent.sleep(0.01)

    gevent.spawn(main).get(timeout=SECONDS)
    assert greenlets[0].dead


@pytest.mark.parametrize("when", ["waits", "is woken", "lets other work run"])
def test_a_greenlet_that_ends_is_replaced(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handlers may leave a `gevent.Timeout` that is not cancelled."""
    order: list[str] = []
    greenlets: list[Any] = []
    runner = GreenletRunner(lambda: None, lambda: None)

    def first() -> None:
        greenlets.append(gevent.getcurrent())
        if when == "lets other work run":
            monkeypatch.setattr(runner_module, "TURN", -1)
            runner.add(Step(lambda: order.append("second")))
            gevent.spawn(greenlets[0].kill, block=False)

    def main() -> None:
        runner.add(Step(first))
        gevent.sleep(0.01)
        if when == "waits":
            greenlets[0].kill()
        elif when == "is woken":
            greenlets[0].kill(block=False)  # which is done before the greenlet is switched to
            runner.add(Step(lambda: order.append("second")))
            gevent.sleep(0.01)
        assert greenlets[0].dead
        runner.add(Step(lambda: order.append("third")))
        gevent.sleep(0.01)
        runner.close()
        gevent.sleep(0.01)

    gevent.spawn(main).get(timeout=SECONDS)
    assert order == (["third"] if when == "waits" else ["second", "third"])


def test_the_greenlet_lets_other_work_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "TURN", -1)
    order: list[str] = []
    runner = GreenletRunner(lambda: None, lambda: None)

    def main() -> None:
        for number in range(3):
            runner.add(Step(lambda number=number: order.append(f"step {number}")))
        gevent.spawn(order.append, "other work")
        gevent.sleep(0.05)

    gevent.spawn(main).get(timeout=SECONDS)
    assert order == ["step 0", "other work", "step 1", "step 2"]


def test_a_closed_runner_runs_no_more_steps() -> None:
    order: list[str] = []
    runner = GreenletRunner(lambda: None, lambda: order.append("end"))

    def main() -> None:
        runner.add(Step(lambda: order.append("step")))
        runner.close()
        gevent.sleep(0.01)

    gevent.spawn(main).get(timeout=SECONDS)
    assert order == ["end"]


def test_a_closed_runner_lets_its_greenlet_begin_nothing() -> None:
    """In a consumer that would make another asyncio loop, which nothing ends."""
    order: list[str] = []
    runner = GreenletRunner(lambda: order.append("begin"), lambda: order.append("end"))

    def main() -> None:
        runner.add(Step(lambda: order.append("step")))
        gevent.sleep(0.01)
        runner.close()
        gevent.sleep(0.01)
        runner.add(Step(lambda: order.append("late step")))
        gevent.sleep(0.01)

    gevent.spawn(main).get(timeout=SECONDS)
    assert order == ["begin", "step", "end"]


@pytest.mark.parametrize("while_it_waits", [True, False])
def test_a_greenlet_that_a_handler_has_let_end_is_replaced(
    monkeypatch: pytest.MonkeyPatch, while_it_waits: bool
) -> None:
    """A handler may leave a `gevent.Timeout` running, which is raised later."""
    monkeypatch.setattr(runner_module, "TURN", 60 if while_it_waits else -1)
    monkeypatch.setattr(runner_module, "NEXT_TURN", 0.001)
    order: list[Any] = []
    workers: list[Any] = []
    runner = GreenletRunner(lambda: None, lambda: None)

    def main() -> None:
        runner.add(Step(lambda: workers.append(gevent.getcurrent())))
        if not while_it_waits:  # it sleeps between two steps
            runner.add(Step(lambda: order.append("next")))
        gevent.sleep(0)
        workers[0].kill()
        runner.add(Step(lambda: order.append("last")))
        gevent.sleep(0.05)

    gevent.spawn(main).get(timeout=SECONDS)
    assert order == (["last"] if while_it_waits else ["next", "last"])


def test_threads_run_steps_at_once() -> None:
    both, ended = threading.Barrier(2), []
    runner = ThreadRunner(2, lambda: ended.append(threading.current_thread()))
    for _ in range(2):
        runner.add(Step(lambda: both.wait(SECONDS)))
    eventually(lambda: both.n_waiting == 0 and not both.broken, "both have run")
    runner.close()
    eventually(lambda: len(ended) == 2, "the threads have ended")
    assert len(set(ended)) == 2


def test_no_more_threads_are_started_when_several_add_steps_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []
    runner = ThreadRunner(1, lambda: None)

    class Thread(threading.Thread):
        def __init__(self, **arguments: Any) -> None:
            started.append(arguments["name"])
            super().__init__(**arguments)

    class Lock:
        """A lock that another thread has got just before."""

        def __enter__(self) -> None:
            if not started:
                started.append("another thread's")
                runner._started = 1

        def __exit__(self, *exc_info: object) -> None:
            pass

    monkeypatch.setattr(runner_module.threading, "Thread", Thread)
    monkeypatch.setattr(runner, "_starting", Lock())
    runner.add(Step(lambda: None))
    assert started == ["another thread's"]


def test_closed_threads_take_no_more_steps() -> None:
    order: list[str] = []
    ended = threading.Event()
    runner = ThreadRunner(2, ended.set)
    runner.add(Step(lambda: order.append("step")))
    eventually(lambda: order, "it has run")
    runner.close()
    assert ended.wait(SECONDS)
    runner.add(Step(lambda: order.append("late step")))
    assert (runner._started, runner._ready.empty(), order) == (1, True, ["step"])
