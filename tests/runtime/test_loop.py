from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from wsredis.runtime.loop import Loop, TimeLimit, in_gevent

SECONDS = 30.0


def in_greenlet(function: Callable[[], Any]) -> Any:
    """Call a function in a greenlet of this thread's own loop."""
    return gevent.spawn(function).get(timeout=SECONDS)


def run(loop: Loop, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function on the loop; if the loop has died, the test ends all the same."""
    return loop.run(function, *args, timeout=SECONDS)


def in_thread(function: Callable[[], Any]) -> Any:
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(function()))
    thread.start()
    thread.join(SECONDS)
    return outcome[0]


def test_a_greenlet_knows_that_it_is_one() -> None:
    assert not in_gevent()
    assert in_greenlet(in_gevent)
    assert not in_thread(in_gevent)


# Under a threaded server


def test_in_a_plain_thread_it_starts_a_loop_of_its_own() -> None:
    loop = Loop()
    assert not loop.native
    assert not loop.is_here
    where = run(loop, lambda: (threading.current_thread().name, loop.is_here, in_gevent()))
    assert where == ("wsredis-hub", True, True)


def test_its_thread_does_not_keep_a_process_alive(loop: Loop) -> None:
    assert run(loop, lambda: threading.current_thread().daemon)


def test_it_stays_alive_while_nothing_is_to_do() -> None:
    loop = Loop()
    for _ in range(3):
        run(loop, gevent.sleep, 0)
    assert run(loop, lambda: "alive") == "alive"


def test_what_runs_there_may_block_and_holds_nobody_up(loop: Loop) -> None:
    gate, inside = run(loop, Event), threading.Event()

    def wait() -> str:
        inside.set()
        gate.wait()
        return "through"

    waiting: list[str] = []
    thread = threading.Thread(target=lambda: waiting.append(run(loop, wait)))
    thread.start()
    assert inside.wait(SECONDS)
    assert run(loop, lambda: "beside it") == "beside it"
    run(loop, gate.set)
    thread.join(SECONDS)
    assert waiting == ["through"]


def test_an_error_comes_back_to_the_caller(loop: Loop) -> None:
    def fail() -> None:
        raise LookupError("nobody here")

    with pytest.raises(LookupError, match="nobody here"):
        run(loop, fail)


def test_an_exit_comes_back_too_and_the_loop_goes_on(loop: Loop) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run(loop, leave)
    assert run(loop, lambda: 1) == 1


def test_who_waits_too_long_is_told_and_the_work_goes_on(loop: Loop) -> None:
    gate, done = run(loop, Event), threading.Event()

    def slow() -> None:
        gate.wait()
        done.set()

    with pytest.raises(TimeoutError):
        loop.run(slow, timeout=0.01)
    assert not done.is_set()
    run(loop, gate.set)
    assert done.wait(SECONDS)


def test_from_the_loop_itself_it_runs_at_once(loop: Loop) -> None:
    assert run(loop, lambda: loop.run(lambda number: number + 1, 41)) == 42


def test_soon_keeps_the_order_of_its_calls(loop: Loop) -> None:
    seen: list[int] = []
    done = threading.Event()
    for number in range(200):
        loop.soon(seen.append, number)
    loop.soon(done.set)
    assert done.wait(SECONDS)
    assert seen == list(range(200))


def test_many_threads_may_use_it_at_once(loop: Loop) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(run(loop, lambda: n))) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert sorted(results) == list(range(20))


def test_spawned_work_has_a_greenlet_of_its_own(loop: Loop) -> None:
    seen: list[Any] = []
    done = threading.Event()

    def work(word: str) -> None:
        gevent.sleep(0)
        seen.append((word, in_gevent(), loop.is_here))
        done.set()

    run(loop, loop.spawn, work, "hello")
    assert done.wait(SECONDS)
    assert seen == [("hello", True, True)]


# Under a gevent server


def test_in_a_greenlet_it_is_the_loop_of_that_greenlet() -> None:
    def check() -> None:
        before = threading.active_count()
        loop = Loop()
        assert loop.native
        assert loop.is_here
        assert loop.gevent is gevent.get_hub().loop
        assert threading.active_count() == before
        here = gevent.getcurrent()
        assert loop.run(gevent.getcurrent) is here

    in_greenlet(check)


def test_under_gevent_soon_and_spawn_happen_beside_the_caller() -> None:
    def check() -> list[str]:
        loop, seen, done = Loop(), [], Event()
        loop.soon(seen.append, "soon")
        loop.spawn(lambda: (seen.append("spawned"), done.set()))
        assert seen == []
        assert done.wait(SECONDS)
        gevent.sleep(0)
        return seen

    assert sorted(in_greenlet(check)) == ["soon", "spawned"]


def test_another_thread_reaches_the_loop_of_a_greenlet() -> None:
    def check() -> tuple[int, int]:
        loop, arrived = Loop(), Event()
        seen: list[int] = []

        def work() -> int:
            arrived.set()
            return threading.get_ident()

        thread = threading.Thread(target=lambda: seen.append(run(loop, work)))
        thread.start()
        assert arrived.wait(SECONDS)
        gevent.sleep(0)
        thread.join(SECONDS)
        return seen[0], threading.get_ident()

    there, here = in_greenlet(check)
    assert there == here


# After a fork


@pytest.mark.parametrize("first", ["Loop()", "gevent.spawn(Loop).get()"])
def test_a_forked_child_makes_a_loop_of_its_own(first: str) -> None:
    program = f"""if True:
        import os, warnings
        import gevent
        from wsredis.runtime.loop import Loop
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, from 3.12 on
        parents = {first}
        child = os.fork()
        if child == 0:
            own = Loop()
            answer = own.run(lambda: (os.getpid(), own.is_here), timeout=30)
            os._exit(0 if answer == (os.getpid(), True) else 1)
        assert os.waitpid(child, 0)[1] == 0
        run = lambda: parents.run(lambda: 42, timeout=30)
        assert (gevent.spawn(run).get() if parents.native else run()) == 42
    """
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


# A limit


def test_what_is_quick_enough_is_let_be(loop: Loop) -> None:
    def work() -> str:
        with TimeLimit(SECONDS):
            gevent.sleep(0)
            return "done"

    assert run(loop, work) == in_greenlet(work) == "done"
    with TimeLimit(SECONDS):
        pass


def test_a_greenlet_that_waits_too_long_is_interrupted(loop: Loop) -> None:
    ended: list[str] = []

    def work() -> None:
        with TimeLimit(0.01):
            try:
                Event().wait()
            except Exception:  # as a database library does, that has its own idea of errors
                ended.append("swallowed")
            finally:
                ended.append("interrupted")

    with pytest.raises(TimeoutError):
        run(loop, work)
    assert ended == ["interrupted"]


def test_a_thread_that_works_too_long_is_told_at_its_end() -> None:
    ended: list[str] = []

    def work() -> None:
        with TimeLimit(0.01):
            time.sleep(0.02)
            ended.append("done")

    with pytest.raises(TimeoutError):
        work()
    assert ended == ["done"]


def test_who_swallows_the_interruption_is_still_too_late(loop: Loop) -> None:
    def work() -> None:
        with TimeLimit(0.01):
            try:
                Event().wait()
            except BaseException:
                pass

    with pytest.raises(TimeoutError):
        run(loop, work)


def test_another_error_that_comes_too_late_is_no_excuse(loop: Loop) -> None:
    def work() -> None:
        with TimeLimit(0.01):
            try:
                Event().wait()
            except BaseException as exc:
                time.sleep(0.02)
                raise LookupError("the connection is broken") from exc

    with pytest.raises(TimeoutError) as told:
        run(loop, work)
    assert isinstance(told.value.__cause__, LookupError)


@pytest.mark.parametrize("error", [LookupError, TimeoutError, SystemExit, gevent.GreenletExit])
def test_an_error_in_time_stays_what_it_is(loop: Loop, error: type[BaseException]) -> None:
    raised = error("its own")

    def work() -> None:
        with TimeLimit(SECONDS):
            raise raised

    for where in (lambda: run(loop, work), work):
        with pytest.raises(error) as told:
            where()
        assert told.value is raised


def test_the_limit_of_somebody_else_stays_theirs(loop: Loop) -> None:
    def work() -> None:
        with gevent.Timeout(0.01) as theirs:
            with pytest.raises(gevent.Timeout) as told, TimeLimit(SECONDS):
                Event().wait()
            assert told.value is theirs

    run(loop, work)
