"""Websockets that are kept open to find what ends them: a timeout, or the end of their process.

Two websockets are idle, one of them opened a little later, and one is busy. An idle timeout ends
the idle websockets, each after the same time of silence. A worker that ends takes down all its
websockets, idle or busy, at the same moment. `examination` describes the result to the user.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from websockets.frames import Opcode

from .client import Gone, Socket

__all__ = ["Outcome", "Verdict", "watch"]

STAGGER = 1.0
"""Seconds between opening the two idle websockets; half of it separates two points in time."""

TICK = 0.05
"""Seconds for which one websocket is read before the next one is."""

BUSY = 0.25
"""Seconds between two pings of the busy websocket."""

PINGS = 2
"""Pings of the server after which the longest silence between two pings is known."""


class Outcome(Enum):
    """The possible outcomes."""

    PINGED = "the server's pings came in time"
    OPEN = "no websocket ended, and fewer than two pings came"
    SILENCE = "the idle websockets were ended because of their silence"
    DEATH = "websockets were ended, busy or idle"
    CLOSED = "the server sent a close frame"
    UNCLEAR = "websockets were ended, but this process did not run at that moment"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, with a duration.

    Args:
        outcome: the outcome.
        seconds: the ping interval, the length of the silence, or the age of the ended websocket.
        gone: the close frame of the server, if there was one.
    """

    outcome: Outcome
    seconds: float
    gone: Gone | None = None


class _Watched:
    """A websocket that is observed until it ends.

    Attributes:
        pings: times of the server's pings (`time.monotonic`).
        gone: how it ended, None while it is open.
        at: time at which the end was noticed.
        silence: seconds since bytes were last sent or received on it, until its end.
    """

    def __init__(self, socket: Socket, busy: bool) -> None:
        self.socket = socket
        self.busy = busy
        self.pings: list[float] = []
        self.gone: Gone | None = None
        self.at = self.silence = 0.0
        self._asked = 0.0

    def look(self) -> None:
        """Read the websocket for `TICK` seconds."""
        if self.gone is not None:
            return
        last = self.socket.last
        if self.busy and time.monotonic() - self._asked > BUSY:
            self._asked = time.monotonic()
            self.socket.ping()
        try:
            frames = self.socket.receive(TICK)
        except Gone as gone:
            self.gone = gone
            self.at = time.monotonic()
            self.silence = self.at - last
        else:
            self.pings += [self.socket.last for frame in frames if frame.opcode is Opcode.PING]
            self.silence = time.monotonic() - self.socket.last


class _Round:
    """A busy and two idle websockets, watched until there is an outcome."""

    def __init__(self, open_socket: Callable[[], Socket]) -> None:
        self._open = open_socket
        self._all: list[_Watched] = []
        self._absent = 0.0  # when this process had not read for too long

    def run(self, until: float) -> Verdict:
        """Return the outcome, at the latest soon after ``until``."""
        try:
            self._add(busy=True)
            self._add()
            began = looked = time.monotonic()
            while True:
                if len(self._all) == 2 and looked - began > STAGGER:
                    self._add()
                for one in self._all:
                    one.look()
                now = time.monotonic()
                if now - looked > STAGGER / 2:
                    self._absent = now
                looked = now
                if (verdict := self._verdict(now)) is not None:
                    return verdict
                if now > until and not any(one.gone for one in self._all):
                    return Verdict(Outcome.OPEN, now - began)
        finally:
            for one in self._all:
                one.socket.close()

    def _add(self, busy: bool = False) -> None:
        self._all.append(_Watched(self._open(), busy))

    def _verdict(self, now: float) -> Verdict | None:
        busy, *quiet = self._all
        ended = sorted((one for one in self._all if one.gone), key=lambda one: one.at)
        if not ended:
            pings = quiet[0].pings
            return Verdict(Outcome.PINGED, pings[-1] - pings[-2]) if len(pings) >= PINGS else None
        first = ended[0]
        age = first.at - first.socket.opened
        if (
            said := next((one.gone for one in ended if one.gone and one.gone.said), None)
        ) is not None:
            return Verdict(Outcome.CLOSED, age, said)
        others = [one for one in quiet if not one.gone]
        if len(self._all) < 3 and not busy.gone:
            return None
        if not busy.gone and any(one.silence < first.silence + STAGGER / 2 for one in others):
            return None
        if self._absent > first.at - 1.5 * STAGGER:
            return Verdict(Outcome.UNCLEAR, age)
        alike = not others and abs(quiet[0].silence - quiet[-1].silence) < STAGGER / 2
        if not busy.gone and alike:
            return Verdict(Outcome.SILENCE, first.silence)
        return Verdict(Outcome.DEATH, age)


def watch(open_socket: Callable[[], Socket], seconds: float) -> Verdict:
    """Keep websockets open for some time, or until it is certain what ends them.

    Args:
        open_socket: opens another websocket; its exceptions are passed through.
        seconds: maximum time.
    """
    until = time.monotonic() + seconds
    while True:
        verdict = _Round(open_socket).run(until)
        if verdict.outcome is not Outcome.UNCLEAR or time.monotonic() > until:
            return verdict
