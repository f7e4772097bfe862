"""One client of a soak run: a non-blocking socket that follows its plan."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING

from wsredis.identity import Identity
from wsredis.identity.channels import identity_channels
from wsredis.naming import Audience

from .talk import Hearing
from .wire import CLOSE, PING, PONG, TEXT, Reader, WireError, frame, handshake

if TYPE_CHECKING:
    from .crowd import Crowd

__all__ = ["HEAVY", "Kind", "Member", "Plan", "Stage", "draw"]

PREFIX = "soak"
"""The key prefix of a run."""

HEAVY = "heavy"
"""The facility of large messages, to which clients that stop reading subscribe."""

CONSUMERS = ("sync", "async", "shared")
"""The kinds of consumers of the site."""

GROUPS = 10
"""The number of groups, in which there are consumers of all kinds."""

GROUP = "{}:asgi__group__{}"
"""The channel of a group in Redis, by the key prefix and its name."""

READ_SIZE = 1 << 18

SMALL, LARGE = 1 << 12, 1 << 18
"""Receive buffers in bytes, of a client that does not read, and when it reads again."""


class Kind(Enum):
    """The kinds of clients."""

    USUAL = auto()  # reads, may publish, may stall briefly, disconnects in its own way
    STUCK = auto()  # stops reading on a busy channel: overflows its send buffer
    MUTE = auto()  # reads, but answers no ping
    HASTY = auto()  # disconnects in the middle of its handshake


ODD = {3: Kind.STUCK, 8: Kind.HASTY, 13: Kind.MUTE}
"""Which of twenty clients are not usual ones."""


class Stage(Enum):
    """The stages of a client."""

    CONNECTING = auto()
    OPEN = auto()
    LEAVING = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a client: its identity, its channels and how it disconnects.

    A client of a consumer has a group instead of channels: its facility.
    """

    kind: Kind
    consumer: str
    facility: str
    identity: Identity
    subscribe: tuple[Audience, ...]
    publish: Audience | None
    echo: bool
    deflate: bool
    polite: bool

    def target(self) -> str:
        """Return the address of the websocket."""
        if self.consumer:
            return f"/{self.consumer}/{self.facility}"
        keys = [f"subscribe-{audience}" for audience in self.subscribe]
        keys += [f"publish-{self.publish}"] if self.publish else []
        keys += ["echo"] if self.echo else []
        return f"/ws/{self.facility}?{'&'.join(keys)}"

    def headers(self) -> dict[str, str]:
        """Return the headers that set the identity."""
        who = self.identity
        return {
            "X-User": who.user or "",
            "X-Groups": ",".join(who.groups),
            "X-Session": who.session or "",
        }

    def channels(self, audiences: Iterable[Audience]) -> list[str]:
        """Return the channels of audiences, as wsredis should determine them."""
        if self.consumer:
            return [GROUP.format(PREFIX, self.facility)]
        return [
            channel
            for audience in audiences
            for channel in identity_channels(PREFIX, audience, self.facility, self.identity)
        ]


def draw(random: Random, number: int, sockets: int) -> Plan:
    """Return a random plan; about a twentieth of ``sockets`` clients share a facility."""
    kind = ODD.get(number % 20, Kind.USUAL)
    heavy = kind is Kind.STUCK or random.random() < 0.01
    audiences = list(Audience)
    some = tuple(a for a in audiences if random.random() < 0.4)
    consumer = "" if heavy or random.random() < 0.6 else random.choice(CONSUMERS)
    room = f"group{random.randrange(GROUPS)}" if consumer else f"room{random.randrange(20)}"
    return Plan(
        kind=kind,
        consumer=consumer,
        facility=HEAVY if heavy else room,
        identity=Identity(
            user=f"user{random.randrange(max(1, sockets // 4))}",
            groups=(f"group{random.randrange(max(1, sockets // 40))}",),
            session=f"session{number}",
        ),
        subscribe=(Audience.BROADCAST,) if heavy else some or (random.choice(audiences),),
        publish=random.choice(audiences) if not heavy and random.random() < 0.5 else None,
        echo=random.random() < 0.3 or bool(consumer),
        deflate=not heavy and random.random() < 0.2,
        polite=random.random() < 0.6,
    )


class Member:
    """A client of a soak run.

    Attributes:
        plan: its plan.
        stage: its current stage.
        hearing: its received messages; None before it is open.
        stalled: whether it currently does not read.
        revoked: whether its identity was revoked.
        code: the code of the server's close frame.
    """

    def __init__(self, crowd: Crowd, plan: Plan, number: int) -> None:
        self.plan = plan
        self.stage = Stage.CONNECTING
        self.hearing: Hearing | None = None
        self.stalled = False
        self.revoked = False
        self.code: int | None = None
        self.name = f"m{number}"
        self._crowd = crowd
        self._head = b""
        self._reader = Reader(False)
        self._out = handshake(crowd.port, plan.target(), plan.headers(), plan.deflate)
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if plan.kind is Kind.STUCK:
            self._buffer(SMALL)
        if plan.kind is Kind.HASTY and plan.echo:
            self._out = self._out[: len(self._out) // 2]
        self.socket.connect_ex(("127.0.0.1", crowd.port))

    @property
    def reads(self) -> bool:
        """Return whether it is open and currently reads."""
        return self.stage is Stage.OPEN and not self.stalled

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out)

    # Actions

    def say(self) -> None:
        """Publish a message."""
        assert self.plan.publish is not None
        (channel,) = self.plan.channels([self.plan.publish])
        self._send(frame(TEXT, self._crowd.talk.next(channel, self.name).encode()))

    def stall(self, stalled: bool) -> None:
        """Stop reading, or read again."""
        self.stalled = stalled
        if self.plan.kind is Kind.STUCK:
            self._buffer(SMALL if stalled else LARGE)
        self._crowd.waits(self)

    def _buffer(self, size: int) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def leave(self) -> None:
        """Disconnect with a close frame, a FIN or a reset."""
        if self.stage is Stage.OPEN and self.plan.polite and not self.stalled:
            self.stage = Stage.LEAVING
            self._send(frame(CLOSE, b"\x03\xe8"))
        else:
            self.abort(reset=self.plan.echo)

    def abort(self, reset: bool) -> None:
        """End the connection at once."""
        if reset and self.stage is not Stage.ENDED:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end("left")

    # Called by the loop

    def writable(self) -> None:
        """Send queued bytes; a hasty client disconnects after its request."""
        try:
            self._out = self._out[self.socket.send(self._out) :]
        except BlockingIOError:
            return
        except OSError:
            self._end("lost")
            return
        if self.plan.kind is Kind.HASTY and not self._out:
            self.abort(reset=self.plan.polite)

    def readable(self) -> None:
        """Read and handle received bytes."""
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end("lost")
        elif self.stage is Stage.CONNECTING:
            self._answer(data)
        else:
            self._frames(data)

    def _answer(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 101 "):
            self._crowd.refused(self, head.split(b"\r\n")[0].decode())
            self._end("refused")
            return
        self.stage = Stage.OPEN
        self._reader = Reader(b"permessage-deflate" in head)
        listens = self.plan.channels(self.plan.subscribe)
        slow = self.plan.kind is Kind.STUCK
        self.hearing = self._crowd.talk.opened(self.name, listens, self.plan.echo, slow)
        self._crowd.opened(self)
        if rest:
            self._frames(rest)

    def _frames(self, data: bytes) -> None:
        talk, hearing = self._crowd.talk, self.hearing
        assert hearing is not None
        try:
            frames = self._reader.feed(data)
        except WireError as exc:
            talk.wrong("an invalid frame", f"{self.name} received {exc}")
            self._end("lost")
            return
        for opcode, payload in frames:
            if opcode == TEXT:
                talk.hear(hearing, payload)
            elif opcode == PING and self.plan.kind is not Kind.MUTE:
                self._send(frame(PONG, payload))
            elif opcode == CLOSE:
                self.code = int.from_bytes(payload[:2])
                if self.stage is Stage.OPEN:
                    self.stage = Stage.LEAVING
                    self._send(frame(CLOSE, payload[:2]))

    def _send(self, data: bytes) -> None:
        if self.stage is not Stage.ENDED:
            self._out += data
            self.writable()
            self._crowd.waits(self)

    def _end(self, how: str) -> None:
        if self.stage is not Stage.ENDED:
            self._crowd.leaves(self, how)
            self.stage = Stage.ENDED
            self.socket.close()
