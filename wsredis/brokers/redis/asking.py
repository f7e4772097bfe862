"""Waiting for replies of Redis on behalf of handshakes.

A handshake that waits occupies a thread or greenlet of the server, which then serves no page. So
while Redis is silent only a few of them wait; the others are refused at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gevent.event import AsyncResult, Event

from ...exceptions import BrokerUnavailable
from .link import Answer, Link
from .resp import ReplyError

__all__ = ["FEW", "Asking"]

FEW = 2
"""Maximum callers that wait while Redis is silent or the link is not connected."""

PATIENCE = 0.5
"""Seconds after which Redis counts as silent for callers, if the deadline is longer."""

STEPS = 5
"""Parts of these seconds; a part that takes much longer than it should does not count."""


class Asking:
    """The callers that wait for Redis; used on the loop of the feed.

    Args:
        deadline: maximum seconds that a caller waits.
        name: the server as errors name it.

    Attributes:
        failure: what is wrong while there is no link.
    """

    def __init__(self, deadline: float, name: str) -> None:
        self.failure = f"{name}: no answer within {deadline:g} s"
        self._name = name
        self._silent = f"{name}: no answer within {deadline:g} s"
        self._deadline = deadline
        self._patience = min(PATIENCE, deadline / 4)
        self._waiting = 0
        self._late = False  # whether an attempt to connect takes longer than their patience
        self._silent_since: float | None = None  # `Link.heard_at` when Redis began to be silent

    def wait(self, event: Event) -> None:
        """Wait for an attempt to connect.

        Raises:
            BrokerUnavailable: enough callers wait already.
        """
        if self._late and self._waiting >= FEW:
            raise BrokerUnavailable(self.failure)
        self._waiting += 1
        try:
            until = time.monotonic() + self._deadline
            self._late = not self._wait_patiently(event, until)
            if self._late:
                if self._waiting > FEW:
                    raise BrokerUnavailable(self.failure)
                self._late = not event.wait(max(0.0, until - time.monotonic()))
        finally:
            self._waiting -= 1

    def ask(self, link: Link, send: Callable[[Answer], None]) -> Any:
        """Send a command and return its reply, which may be a `ReplyError`.

        Raises:
            BrokerUnavailable: there was no reply in time, or enough callers wait already.
        """
        heard_at = link.heard_at
        if self._silent_since == heard_at and self._waiting >= FEW:
            raise BrokerUnavailable(self._silent)
        result: AsyncResult[Any] = AsyncResult()
        send(result.set)
        self._waiting += 1
        try:
            until = time.monotonic() + self._deadline
            reply = self._wait_patiently(result, until)
            if reply is None:
                if link.is_silent_since(heard_at):
                    self._silent_since = heard_at
                    if self._waiting > FEW:
                        raise BrokerUnavailable(self._silent)
                reply = result.wait(max(0.0, until - time.monotonic()))
        finally:
            self._waiting -= 1
        if reply is None:
            raise BrokerUnavailable(self._silent)
        return reply

    def _wait_patiently(self, result: AsyncResult[Any] | Event, until: float) -> Any:
        """Wait until callers lose their patience; return what ``result.wait`` has returned.

        Only time in which the loop is idle counts: in a process that is busy, or that gets no CPU
        time, the reply may be there, but not read.
        """
        left, step = self._patience, self._patience / STEPS
        while True:
            began = time.monotonic()
            reply = result.wait(min(step, max(0.0, until - began)))
            now = time.monotonic()
            if now - began < 2 * step:
                left -= now - began
            # A reply may be empty, and an event may have been cleared again since.
            if reply or result.ready() or left <= 0 or now >= until:
                return reply

    def check(self, reply: Any) -> Any:
        """Return a reply.

        Raises:
            BrokerUnavailable: it is an error.
        """
        if isinstance(reply, ReplyError):
            raise BrokerUnavailable(f"{self._name}: {reply}")
        return reply
