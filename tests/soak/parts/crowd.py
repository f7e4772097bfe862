"""All clients of a soak run on one epoll loop, and their actions."""

from __future__ import annotations

import heapq
import select
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from wsredis import Config, Publisher, disconnect
from wsredis.layers import RedisChannelLayer
from wsredis.naming import Audience

from .member import HEAVY, PREFIX, Kind, Member, Stage, draw
from .talk import Talk

__all__ = ["REVOKED", "Crowd"]

LIFE = 20.0
"""Seconds that a client stays, on average."""

RETAINING = frozenset(f"room{number}" for number in range(0, 20, 3))
"""Facilities whose last message is retained, so that new subscribers receive it first."""

RETAINED_SECONDS = 600
"""Seconds for which it is retained."""

REVOKED = 4401
"""The close code of revoked clients."""

STALL = 1.0
"""Seconds for which a usual client stalls; less than `pong_timeout`."""

HEAVY_SIZE = 16_000
"""Bytes of a message to the facility of clients that stop reading."""

Names = tuple[Audience, str, str]


class Crowd:
    """Thousands of clients in one thread, with a limited amount of work per second.

    Args:
        port: the port of the site.
        config: the options for publishing.
        talk: the checker of received messages.
        random: the source of random numbers.
        pace: the number of events per second, as a multiple of the default.

    Attributes:
        members: the clients whose socket is not closed.
        trouble: whether a fault is being injected, so that handshakes may fail.
        counts: the numbers of events.
        codes: the server's close codes, or how sockets ended without one.
        longest: the longest time without any work, in seconds; a server may close silent clients.
    """

    def __init__(
        self, port: int, config: Config, talk: Talk, random: Random, pace: float = 1.0
    ) -> None:
        self.port = port
        self.talk = talk
        self.members: dict[int, Member] = {}
        self.trouble = False
        self.counts = Counter[str]()
        self.codes = Counter[str]()
        self.pace = pace
        self.longest = 0.0
        self._config = config
        self._layer = RedisChannelLayer(
            hosts=[config.redis], prefix=f"{PREFIX}:asgi", serializer_format="json"
        )
        self._random = random
        self._held = False  # no client leaves or stalls
        self._epoll = select.epoll()
        self._events: dict[int, int] = {}
        self._polled = time.monotonic()
        self._due: list[tuple[float, int, Callable[[Member], None], Member]] = []
        self._born = 0
        self._credit = Counter[str]()
        self._publishers: dict[Member, None] = {}

    def close(self) -> None:
        """Abort all connections."""
        for member in list(self.members.values()):
            member.abort(reset=True)
        self._epoll.close()

    # Called by members

    def opened(self, member: Member) -> None:
        """Schedule what a client does after its websocket has opened."""
        self.counts["opened"] += 1
        if member.plan.publish and member.plan.kind is Kind.USUAL:
            self._publishers[member] = None
        if member.plan.kind is Kind.STUCK:
            self._later(self._random.uniform(0.1, 0.5), self._stall, member)
        else:
            self._later(self._random.expovariate(1 / LIFE), self._leave, member)
            if self._random.random() < 0.2:
                self._later(self._random.uniform(0, LIFE / 2), self._stall, member)

    def refused(self, member: Member, status: str) -> None:
        """Record a refused handshake."""
        self.counts["refused"] += 1
        if not self.trouble:
            self.talk.wrong("a refused handshake", f"{member.name} received {status}")

    def leaves(self, member: Member, how: str) -> None:
        """Record the end of a client: it has left, was refused, or its connection was lost."""
        fd = member.socket.fileno()
        self._watch(member, 0)
        del self.members[fd]
        self._publishers.pop(member, None)
        if member.plan.kind is Kind.HASTY:
            self.counts["aborted handshakes"] += 1
        elif member.stage is Stage.CONNECTING and how == "lost":
            self.counts["lost handshakes"] += 1
            if not self.trouble:
                self.talk.wrong("a handshake without a response", member.name)
        elif member.hearing is not None:
            abrupt = how == "left" or member.code is None
            self.codes[how if abrupt else str(member.code)] += 1
            usual = member.plan.kind is Kind.USUAL
            if member.code == REVOKED and not member.revoked:
                self.talk.wrong("closed with 4401 without a revocation", member.name)
            elif usual and how == "lost" and member.code not in (1000, 1012, 1013, REVOKED):
                what = f"a close frame with {member.code}" if member.code else "no close frame"
                self.talk.wrong("an unexpected end", f"{member.name} received {what}")

    def waits(self, member: Member) -> None:
        """Watch the socket of a member for reading and writing, as it needs now."""
        if member.stage is not Stage.ENDED:
            reading = 0 if member.stalled else select.EPOLLIN
            self._watch(member, reading | (select.EPOLLOUT if member.wants_to_write else 0))

    def _watch(self, member: Member, events: int) -> None:
        fd = member.socket.fileno()
        before = self._events.pop(fd, 0)
        if events:
            self._events[fd] = events
        if before and not events:
            self._epoll.unregister(fd)
        elif events and not before:
            self._epoll.register(fd, events)
        elif events != before:
            self._epoll.modify(fd, events)

    # The loop

    def run(self, seconds: float, sockets: int = 0, until: Callable[[], Any] | None = None) -> bool:
        """Run the clients for some time.

        Args:
            seconds: the maximum duration.
            sockets: how many should be open; with 0, none is opened and nothing is published.
            until: a condition that ends it earlier.

        Returns:
            Whether ``until`` is true.
        """
        now = time.monotonic()
        end = now + seconds
        while now < end:
            if until is not None and until():
                return True
            self._do_what_is_due(now)
            before, now = now, time.monotonic()
            if sockets:
                self._act(min(0.1, now - before), sockets)
            self.longest = max(self.longest, now - self._polled) if self.members else self.longest
            self._polled = now
            for fd, event in self._epoll.poll(0.01):
                if (member := self.members.get(fd)) is not None:
                    if event & ~select.EPOLLOUT:
                        member.readable()
                    if event & select.EPOLLOUT and member.stage is not Stage.ENDED:
                        member.writable()
                    self.waits(member)
        return until is not None and bool(until())

    def _act(self, seconds: float, sockets: int) -> None:
        """Do what is due in a period of this many seconds."""
        for _ in self._often("join", seconds, max(20, sockets / 8)):
            if len(self.members) < sockets:
                self._join(sockets)
        for _ in self._often("publish", seconds, 100):
            self.publish()
        for _ in self._often("say", seconds, 100):
            if self._publishers:
                self._random.choice(list(self._publishers)).say()
                self.counts["published by sockets"] += 1
        for _ in self._often("heavy", seconds, 10):
            self._send((Audience.BROADCAST, HEAVY, ""), HEAVY_SIZE)
        for _ in self._often("revoke", seconds, 2):
            self._revoke()

    def _often(self, what: str, seconds: float, rate: float) -> Iterator[int]:
        self._credit[what] += seconds * rate * self.pace  # type: ignore[assignment]
        whole = int(self._credit[what])
        self._credit[what] -= whole
        return iter(range(whole))

    def _join(self, sockets: int) -> None:
        self._born += 1
        member = Member(self, draw(self._random, self._born, sockets), self._born)
        self.members[member.socket.fileno()] = member
        self.waits(member)

    def publish(self) -> None:
        """Publish to a channel of a random client."""
        if not self.members:
            return
        plan = self._random.choice(list(self.members.values())).plan
        if plan.facility == HEAVY:
            return
        if plan.consumer:
            (channel,) = plan.channels(())
            text = f"{self.talk.next(channel)} {'x' * self._random.randrange(300)}"
            self._layer.group_send(plan.facility, {"type": "line", "text": text})
            self.counts["sent to groups"] += 1
            return
        audience = self._random.choice(plan.subscribe)
        who = plan.identity
        names = {"user": who.user, "group": who.groups[0], "session": who.session}
        name = names.get(audience.value) or ""
        self._send((audience, plan.facility, name), self._random.randrange(300))

    def _send(self, where: Names, size: int) -> None:
        audience, facility, name = where
        named = {} if audience is Audience.BROADCAST else {f"{audience}s": [name]}
        broadcast = audience is Audience.BROADCAST
        publisher = Publisher(facility, broadcast, config=self._config, **named)
        (channel,) = publisher.channels
        expire = RETAINED_SECONDS if facility in RETAINING else 0
        reached = publisher.publish(f"{self.talk.next(channel)} {'x' * size}", expire=expire)
        self.counts["published without receivers"] += self.trouble and not reached
        self.counts["published by the publisher"] += 1

    def _revoke(self) -> None:
        """Revoke the session of a random client, from outside of the workers."""
        member = self._random.choice(list(self.members.values())) if self.members else None
        if member is not None and member.stage is Stage.OPEN and not member.revoked:
            member.revoked = True
            disconnect(session=member.plan.identity.session, code=REVOKED, config=self._config)
            self.counts["revocations"] += 1

    # Scheduled actions of members

    def _later(self, seconds: float, what: Callable[[Member], None], member: Member) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, id(member), what, member))

    def _do_what_is_due(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, _, what, member = heapq.heappop(self._due)
            if member.stage is Stage.OPEN:
                what(member)

    def _leave(self, member: Member) -> None:
        if self._held:
            self._later(1, self._leave, member)
        else:
            member.leave()

    def _stall(self, member: Member) -> None:
        if self._held:
            self._later(1, self._stall, member)
            return
        self.counts["stalls"] += 1
        member.stall(True)
        stuck = member.plan.kind is Kind.STUCK
        self._later(self._random.uniform(8, 12) if stuck else STALL, self._wake, member)

    def _wake(self, member: Member) -> None:
        member.stall(False)

    def hold(self) -> None:
        """Make all clients read and stay connected, until `go_on`."""
        self._held = True
        for member in list(self.members.values()):
            if member.stalled:
                self._wake(member)
                if member.plan.kind is Kind.STUCK:
                    self._later(1, self._stall, member)

    def go_on(self) -> None:
        """Let clients leave and stall again."""
        self._held = False

    def all_leave(self) -> None:
        """Disconnect all clients, each in its own way; abort those that get no answer."""
        self._due.clear()
        for member in list(self.members.values()):
            member.leave()
        self.run(5, until=lambda: not self.members)
        for member in list(self.members.values()):
            member.abort(reset=False)
            self.talk.wrong("no answer to a close frame", member.name)
