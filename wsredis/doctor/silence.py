"""Websockets kept open to see what ends them: a time-out, or the end of their process.

Two are quiet, the second one a little younger, and one is busy. A time-out for silence ends the
quiet ones, each at the same age of its silence. A worker that dies takes along all it serves,
quiet or busy, in the same moment. How to tell the visitor is `examination`'s business.
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
"""Seconds between the openings of the two quiet websockets; half of it tells two moments apart."""

TICK = 0.05
"""Seconds for which one websocket is read before the next has its turn."""

BUSY = 0.25
"""Seconds between two pings of the busy websocket."""

PINGS = 2
"""Pings of the server after which silence has lasted as long as it ever will."""


class Outcome(Enum):
    """How it went."""

    PINGED = "the server's pings came in time"
    OPEN = "nothing was ended, and fewer than two pings came"
    SILENCE = "the quiet ones were ended for their silence"
    DEATH = "websockets were ended whether busy or not"
    CLOSED = "the server sent a close frame"
    UNCLEAR = "websockets were ended, and nobody looked at that moment"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome.

    Args:
        outcome: which one.
        seconds: the ping interval, the length of the silence, or the age of what ended.
        gone: what the server said, if it did.
    """

    outcome: Outcome
    seconds: float
    gone: Gone | None = None


class _Watched:
    """A websocket that is observed until it ends.

    Attributes:
        pings: when the server has pinged; `time.monotonic`.
        gone: how it ended, None while it lives.
        at: when that was seen.
        silence: seconds since bytes have passed on it, up to its end.
    """

    def __init__(self, socket: Socket, busy: bool) -> None:
        self.socket = socket
        self.busy = busy
        self.pings: list[float] = []
        self.gone: Gone | None = None
        self.at = self.silence = 0.0
        self._asked = 0.0

    def look(self) -> None:
        """Read it for a moment."""
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
    """A busy and two quiet websockets, watched until something is certain."""

    def __init__(self, open_socket: Callable[[], Socket]) -> None:
        self._open = open_socket
        self._all: list[_Watched] = []
        self._absent = 0.0  # when nobody had looked for too long

    def run(self, until: float) -> Verdict:
        """Return what has become certain, at the latest soon after ``until``."""
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
    """Keep websockets open for some time, or until it is certain how long they live.

    Args:
        open_socket: opens another one; what it raises goes through.
        seconds: after which there is enough of it.
    """
    until = time.monotonic() + seconds
    while True:
        verdict = _Round(open_socket).run(until)
        if verdict.outcome is not Outcome.UNCLEAR or time.monotonic() > until:
            return verdict
