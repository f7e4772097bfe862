"""The groups of consumers that this process runs.

A group has one subscription for all its members in a process, and an event is decoded once for all
of them.

Invariants:

* ``lock`` of the layer protects ``members``; it is never held while waiting.
* A feed whose last member has left is closed and never used again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

import gevent
from gevent.event import Event

from ..hub.steps import in_steps
from ..process import Process
from ..runtime.logs import get_logger
from ..runtime.loop import NEXT_TURN
from .codec import Message
from .members import Kind, Member, copier
from .receivers import Receiver

__all__ = ["GroupFeed"]

log = get_logger("wsredis.layers")


class GroupFeed:
    """The members of one group in this process.

    Args:
        process: its hub receives the events.
        name: the channel of the group in Redis.
        decode: decodes a payload; raises ValueError.
        drop: counts an event that is not delivered.
        capacity: maximum number of events that wait for delivery.
        lock: the lock of the layer.

    Attributes:
        closed: whether it accepts no more members.
        ready: whether it is subscribed.
    """

    def __init__(
        self,
        process: Process,
        name: str,
        decode: Callable[[bytes], Message],
        drop: Callable[[str, str], None],
        capacity: int,
        lock: threading.Lock,
    ) -> None:
        self.process = process
        self.closed = False
        self.ready = False
        self._name = name
        self._decode = decode
        self._drop = drop
        self._capacity = capacity
        self._lock = lock
        self._members: dict[Kind, dict[Member, None]] = {}
        self._opening: Event | None = None
        self._waiting: deque[Message] = deque()
        self._working = False
        self._receiver = Receiver(self._take, self._lose, self._end)

    # Members

    def add(self, member: Member) -> bool:
        """Add a member; return False if the feed is closed."""
        with self._lock:
            if not self.closed:
                self._members.setdefault(member.kind, {})[member] = None
            return not self.closed

    def discard(self, member: Member) -> bool:
        """Remove a member, if it is one; return whether it was the last one."""
        with self._lock:
            members = self._members.get(member.kind, {})
            members.pop(member, None)
            if not members:
                self._members.pop(member.kind, None)
            self.closed = self.closed or not self._members
            return self.closed

    def open(self) -> None:
        """Subscribe to the group; blocks a greenlet of the loop of ``process``.

        Raises:
            BrokerUnavailable: the broker does not answer or refuses.
        """
        while not (self.ready or self.closed):
            if self._opening is not None:
                self._opening.wait()
                continue
            opening = self._opening = Event()
            hub = self.process.hub
            try:
                hub.admit_receiver(self._receiver)
                hub.subscribe(self._receiver, [self._name], retained=False)
                self.ready = True
            finally:
                self._opening = None
                opening.set()
        if self.closed:
            self.close()

    def close(self) -> None:
        """Unsubscribe; called on the loop of ``process``."""
        self.process.hub.forget_receiver(self._receiver)

    # Events

    def _take(self, channel: bytes, payload: bytes) -> None:
        try:
            event = self._decode(payload)
        except ValueError as exc:
            self._drop(self._name, str(exc))
            return
        if len(self._waiting) >= self._capacity:
            self._drop(self._name, f"{self._capacity} events wait already")
            return
        self._waiting.append(event)
        if not self._working:
            self._working = True
            work = self._work()
            if next(work, self) is not self:
                gevent.spawn(self._continue, work)

    def _work(self) -> Iterator[None]:
        """Deliver the events that wait, in steps."""
        while self._waiting:
            event = self._waiting.popleft()
            copy = copier(event)
            with self._lock:
                by_kind = [(kind, tuple(members)) for kind, members in self._members.items()]
            for kind, members in by_kind:
                for step in in_steps(members):
                    try:
                        kind.deliver(step, copy)
                    except Exception:
                        log.exception("an event of %s could not be delivered", self._name)
                    if len(members) > len(step):
                        yield
        self._working = False

    @staticmethod
    def _continue(work: Iterator[None]) -> None:
        for _ in work:
            gevent.sleep(NEXT_TURN)

    # The end

    def _all(self) -> list[Member]:
        with self._lock:
            return [member for members in self._members.values() for member in members]

    def _lose(self, reason: str) -> None:
        for member in self._all():
            member.on_gap()

    def _end(self) -> None:
        self.closed = True
        self._lose("the connection to Redis was closed")
