"""Calls from asyncio and from other code, and the signals between them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
import weakref
from typing import Any

import gevent
import pytest
from asgiref.sync import iscoroutinefunction

from wsredis.layers import calls
from wsredis.layers.calls import Finished, Signal, mark, run_on, running_loop, sync_or_async
from wsredis.runtime.loop import Loop

from .support import SECONDS, run


class Layer:
    @sync_or_async
    async def double(self, value: int, *, fail: bool = False) -> int:
        """Return twice a value."""
        if fail:
            raise ValueError(value)
        return 2 * value


def test_a_method_is_run_at_once_without_a_loop() -> None:
    finished = Layer().double(2)
    assert isinstance(finished, Finished)
    assert finished.result() == 4
    with pytest.raises(ValueError, match="3"):
        Layer().double(3, fail=True)
    assert Layer.double.__doc__ == "Return twice a value."


def test_a_method_is_a_coroutine_where_a_loop_is_running() -> None:
    async def main() -> None:
        assert running_loop() is asyncio.get_running_loop()
        coroutine = Layer().double(2)
        assert inspect.iscoroutine(coroutine)
        assert await coroutine == 4
        with pytest.raises(ValueError, match="3"):
            await Layer().double(3, fail=True)

    assert running_loop() is None
    run(main())


def test_a_finished_call_is_a_coroutine_for_asyncio() -> None:
    async def main(finished: Finished[str]) -> list[str]:
        return [await finished, await asyncio.create_task(finished), await finished]

    assert run(main(Finished("value"))) == ["value"] * 3
    assert asyncio.run(Finished("value")) == "value"
    finished = Finished("value")
    with pytest.raises(KeyError):
        finished.throw(KeyError("thrown"))
    finished.close()
    assert finished.result() == "value"


def test_a_finished_call_can_be_cancelled_as_a_task() -> None:
    async def main() -> None:
        task = asyncio.create_task(Finished("value"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_a_marked_function_counts_as_a_coroutine_function(
    monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    marked: list[Any] = []
    if python == "3.11":
        monkeypatch.delattr(inspect, "markcoroutinefunction", raising=False)
        monkeypatch.setattr(calls.inspect, "markcoroutinefunction", calls._mark, raising=False)
    else:
        monkeypatch.setattr(inspect, "markcoroutinefunction", marked.append, raising=False)

    def function() -> None:
        """Do nothing."""

    mark(function)
    if python == "3.11":
        assert asyncio.iscoroutinefunction(function)
    else:
        assert marked == [function]


def test_a_marked_method_counts_when_it_is_bound() -> None:
    mark(Layer.double)
    assert iscoroutinefunction(Layer().double)


@pytest.mark.parametrize("kind", ["thread", "greenlet", "asyncio"])
def test_a_signal_reaches_its_caller_from_another_thread(kind: str) -> None:
    def wait() -> str:
        signal = Signal()
        threading.Thread(target=signal.set).start()
        coroutine = signal.wait()
        assert list(coroutine.__await__()) == []
        return "done"

    async def main() -> str:
        signal = Signal()
        threading.Thread(target=signal.set).start()
        await signal.wait()
        return "done"

    if kind == "thread":
        assert wait() == "done"
    elif kind == "greenlet":
        assert gevent.spawn(wait).get(timeout=SECONDS) == "done"
    else:
        assert run(main()) == "done"


def test_many_signals_wake_a_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        wakeups: list[Any] = []
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(
            loop, "call_soon_threadsafe", lambda *args: (wakeups.append(args), wake(*args))
        )
        signals = [Signal() for _ in range(10)]
        signals[3]._future.cancel()
        for signal in signals:
            signal.set()
        assert len(wakeups) == 1
        for signal in signals[4:]:
            await signal.wait()
        with pytest.raises(asyncio.CancelledError):
            await signals[3].wait()
        again = Signal()
        again.set()
        await again.wait()
        assert len(wakeups) == 2

    run(main())


def test_a_signal_to_a_loop_that_has_ended_is_ignored() -> None:
    async def main() -> Signal:
        return Signal()

    signal = run(main())
    signal.set()
    signal.set()
    assert calls._wakers[signal._future.get_loop()]._futures == []


def test_a_loop_that_has_ended_is_forgotten() -> None:
    async def main() -> weakref.ref[Any]:
        Signal()
        return weakref.ref(asyncio.get_running_loop())

    ended = run(main())
    gc.collect()
    assert ended() is None


@pytest.mark.parametrize("fails", [False, True])
def test_a_function_is_run_on_a_loop_for_both_kinds_of_callers(loop: Loop, fails: bool) -> None:
    def function(value: str) -> str:
        assert loop.is_here
        gevent.sleep(0)
        if fails:
            raise KeyError(value)
        return value

    def plain() -> str:
        return next(calls._result(run_on(loop, function, "value")))

    for call in (plain, lambda: run(run_on(loop, function, "value"))):
        if fails:
            with pytest.raises(KeyError, match="value"):
                call()
        else:
            assert call() == "value"


def test_after_a_fork_there_are_other_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        before = Signal()
        lock = calls._wakers_lock
        calls._after_fork()
        assert calls._wakers_lock is not lock
        after = Signal()
        for signal in (before, after):
            signal.set()
            await signal.wait()

    monkeypatch.setattr(calls, "_wakers_lock", calls._wakers_lock)
    run(main())


def test_a_forked_child_can_signal_although_a_thread_held_the_lock() -> None:
    with calls._wakers_lock:
        child = os.fork()
        if not child:
            try:
                asyncio.run(_signal())
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


async def _signal() -> None:
    signal = Signal()
    signal.set()
    await signal.wait()
