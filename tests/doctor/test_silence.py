"""Which component closes idle websockets, deduced from the times; with a fake clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

import wsredis.doctor.silence
from wsredis.doctor.client import Gone
from wsredis.doctor.silence import Outcome, Verdict, watch


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(wsredis.doctor.silence, "time", clock)
    return clock


class Line:
    """A stand-in for a websocket: reading takes time, and it ends when the test says so."""

    def __init__(self, clock: Clock, ends: Callable[[Line], Gone | None], interval: float) -> None:
        self._clock = clock
        self._ends = ends
        self._interval = interval
        self.opened = self.last = clock.now
        self._pinged = clock.now
        self.closed = False

    def ping(self) -> None:
        self.last = self._clock.now

    def receive(self, seconds: float) -> list[Frame]:
        self._clock.now += seconds
        if (gone := self._ends(self)) is not None:
            raise gone
        if self._clock.now - self._pinged < self._interval:
            return []
        self.last = self._pinged = self._clock.now
        return [Frame(Opcode.PING, b"")]

    def close(self) -> None:
        self.closed = True


def silent(clock: Clock, seconds: float) -> Callable[[Line], Gone | None]:
    """Cut whatever has been silent for so long."""
    return lambda line: Gone(None, "") if clock.now - line.last > seconds else None


def dead(clock: Clock, at: float, *numbers: int, code: int | None = None) -> Any:
    """Cut at a moment; only some of the lines, counted as they were opened, if so wished."""
    end = clock.now + at

    def ends(line: Line) -> Gone | None:
        mine = not numbers or line.number in numbers  # type: ignore[attr-defined]
        return Gone(code, "") if mine and clock.now > end else None

    return ends


def look(clock: Clock, ends: Any, interval: float = 1e9, wait: float = 60) -> Verdict:
    lines: list[Line] = []

    def open_line() -> Any:
        line = Line(clock, ends, interval)
        line.number = len(lines) % 3  # type: ignore[attr-defined]
        lines.append(line)
        return line

    verdict = watch(open_line, wait)
    assert all(line.closed for line in lines)
    return verdict


BUSY, ELDER, YOUNGER = range(3)


@pytest.mark.parametrize("seconds", [0.5, 2, 20, 55])
def test_quiet_ones_are_cut_for_their_silence(clock: Clock, seconds: float) -> None:
    verdict = look(clock, silent(clock, seconds))
    assert verdict.outcome is Outcome.SILENCE
    assert verdict.seconds == pytest.approx(seconds, abs=0.5)


def test_a_ping_that_comes_in_between_prolongs_their_life(clock: Clock) -> None:
    verdict = look(clock, silent(clock, 9), interval=10)
    assert verdict.outcome is Outcome.SILENCE
    verdict = look(clock, silent(clock, 11), interval=10)
    assert verdict.outcome is Outcome.PINGED
    assert verdict.seconds == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("numbers", [(), (BUSY,), (ELDER,), (YOUNGER,), (ELDER, YOUNGER)])
def test_a_dead_worker_takes_what_it_holds(clock: Clock, numbers: tuple[int, ...]) -> None:
    verdict = look(clock, dead(clock, 12, *numbers))
    assert verdict.outcome is Outcome.DEATH
    assert verdict.seconds == pytest.approx(11.5, abs=1)


def test_a_worker_may_die_before_all_are_there(clock: Clock) -> None:
    assert look(clock, dead(clock, 0.5, ELDER)).outcome is Outcome.DEATH


def test_a_goodbye_is_handed_on(clock: Clock) -> None:
    verdict = look(clock, dead(clock, 5, code=1012))
    assert verdict.outcome is Outcome.CLOSED
    assert verdict.gone is not None
    assert verdict.gone.code == 1012


def test_nothing_happens(clock: Clock) -> None:
    assert look(clock, silent(clock, 1e9), wait=30).outcome is Outcome.OPEN


def test_who_did_not_look_looks_again(clock: Clock) -> None:
    """At the first cut the whole machine has been asleep, so it proves nothing."""
    asleep = iter([True])
    cut = silent(clock, 4)

    def ends(line: Line) -> Gone | None:
        if clock.now > 1003 and next(asleep, False):
            clock.now += 5
        return cut(line)

    assert look(clock, ends).outcome is Outcome.SILENCE
    assert next(asleep, None) is None


def test_a_machine_that_sleeps_at_every_cut_proves_nothing(clock: Clock) -> None:
    cut = silent(clock, 4)

    def ends(line: Line) -> Gone | None:
        if cut(line):
            clock.now += 1
        return cut(line)

    assert look(clock, ends).outcome is Outcome.UNCLEAR
