"""Work in steps: how much a step is, and how it is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wsredis.hub.steps import STEP, Repeated, first_due, in_steps
from wsredis.runtime.loop import NEXT_TURN

from ..place import Place, until


class Timer:
    """A stand-in for a timer of gevent; the test says when its time has come."""

    def __init__(self, after: float, repeat: float) -> None:
        self.after, self.repeat = after, repeat
        self.callback: Callable[[], None] | None = None
        self.closed = False

    @property
    def active(self) -> bool:
        return self.callback is not None

    def start(self, callback: Callable[[], None]) -> None:
        assert not self.closed
        self.callback = callback

    def stop(self) -> None:
        self.callback = None

    def close(self) -> None:
        self.closed = True

    def fire(self) -> None:
        callback = self.callback
        assert callback is not None
        if not self.repeat:
            self.callback = None
        callback()


class Timers:
    """A stand-in for a loop."""

    def __init__(self) -> None:
        self.gevent = self
        self.made: list[Timer] = []

    def timer(self, after: float, repeat: float = 0.0, *, ref: bool) -> Timer:
        assert not ref  # it keeps no loop running that has nothing else to do
        self.made.append(Timer(after, repeat))
        return self.made[-1]


def repeated(work: Callable[[], Iterator[object]]) -> tuple[Repeated, Timer, Timer]:
    loop: Any = Timers()
    made = Repeated(loop, 5.0, work)
    pause, turn = loop.made
    assert (pause.after, turn.after) == (5.0, NEXT_TURN)
    return made, pause, turn


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (STEP, [STEP]), (2 * STEP + 1, [STEP, STEP, 1])],
)
def test_a_step_has_a_limited_number_of_items_and_none_is_left_out(
    count: int, sizes: list[int]
) -> None:
    steps = list(in_steps(range(count)))
    assert [len(step) for step in steps] == sizes
    assert [item for step in steps for item in step] == list(range(count))


def test_items_are_taken_when_their_step_begins() -> None:
    items = iter(range(2 * STEP))
    steps = in_steps(items)
    next(steps)
    assert next(items) == STEP


def test_the_first_that_are_due_are_those_of_one_step() -> None:
    deadlines = {f"{number}": number for number in range(STEP + 10)}
    assert first_due(deadlines, -1) == []
    assert first_due(deadlines, 1) == ["0", "1"]
    assert first_due(deadlines, 1000) == list(deadlines)[:STEP]


def test_each_callback_does_one_step_and_the_next_run_begins_after_the_last_step() -> None:
    done: list[int] = []

    def work() -> Iterator[None]:
        for number in range(2):
            done.append(number)
            yield

    _, pause, turn = repeated(work)
    for _ in range(2):
        assert (pause.active, turn.active) == (True, False)
        pause.fire()
        assert (done, pause.active, turn.active) == ([0], False, True)
        turn.fire()
        assert (done, pause.active, turn.active) == ([0, 1], False, True)
        turn.fire()
        done.clear()


def test_an_error_ends_the_run_but_not_the_next_ones() -> None:
    runs: list[int] = []

    def work() -> Iterator[None]:
        runs.append(len(runs))
        yield
        raise MemoryError

    _, pause, turn = repeated(work)
    for _ in range(2):
        pause.fire()
        with pytest.raises(MemoryError):
            turn.fire()
        assert (pause.active, turn.active) == (True, False)
    assert runs == [0, 1]


def test_work_that_closes_it_is_its_last() -> None:
    def work() -> Iterator[None]:
        made.close()
        yield

    made, pause, turn = repeated(work)
    pause.fire()
    assert (pause.active, turn.active) == (False, False)
    assert pause.closed
    assert turn.closed


def test_other_work_of_the_loop_runs_between_the_steps(place: Place) -> None:
    seen: list[str] = []

    def work() -> Iterator[None]:
        for _ in range(3):
            seen.append("step")
            place.loop.soon(seen.append, "other")
            yield

    made = place.run(Repeated, place.loop, 0.001, work)
    until(lambda: len(seen) >= 12)
    place.run(made.close)
    assert seen[:12] == ["step", "other"] * 6
