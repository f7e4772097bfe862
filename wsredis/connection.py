"""One socket's life: bytes in, frames out, a bounded outbox, the close handshake.

No greenlet belongs to a connection. The loop calls `_readable` when bytes have arrived and
`_writable` while some wait; the hub calls `write` with frames that are ready to go. Who is
subscribed to what is the hub's business, what a message means the endpoint's.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from .channels import encode_name, loggable
from .fanout import write_all
from .frames import CloseCode, Receiver, encode_close, encode_message
from .identity import Identity
from .intake import Intake
from .logs import get_logger
from .message import Data, encode
from .outbox import Outbox
from .servers.descriptor import hang_up, shutdown

if TYPE_CHECKING:
    from .endpoints.base import Endpoint
    from .hub import Hub
    from .listeners import Frames

__all__ = ["Connection", "State"]

log = get_logger("wsredis.connection")

READ_SIZE = 1 << 16
"""Bytes read from a client at once."""

READ, WRITE = 1, 2  # events of a gevent io watcher


class State(IntEnum):
    """Say how far a connection is (RFC 6455 section 7.1)."""

    JOINING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class Connection:
    """Hold one websocket.

    Endpoints use `identity`, `subprotocol`, `send`, `publish` and `close`, on the hub's loop.

    Attributes:
        identity: who is at the other end.
        subprotocol: the chosen sub-protocol, or None.
        channels: the channels it listens to.
        alive: whether bytes have passed since the last ping.
        bucket: the part of all sockets it is pinged with.
        fd: the socket's descriptor, -1 before it is open and when it is closed.
        outbox: what waits to be sent; None when nothing does, so that it is written at once.
        paused: whether it is not read until the broker has confirmed what it published.
        seats: what it takes beside its place, see `wsredis.admission`.
        since: when its handshake began, and so before anybody was asked who it is (monotonic).
    """

    __slots__ = (
        "__weakref__",
        "_answered",
        "_farewell",
        "_hub",
        "_intake",
        "_reader",
        "_receiver",
        "_writer",
        "alive",
        "bucket",
        "channels",
        "close_code",
        "endpoint",
        "fd",
        "identity",
        "outbox",
        "paused",
        "received",
        "seats",
        "sent",
        "since",
        "state",
        "subprotocol",
        "window_bits",
    )

    def __init__(
        self,
        hub: Hub,
        endpoint: Endpoint,
        identity: Identity,
        subprotocol: str | None = None,
        window_bits: int = 0,
    ) -> None:
        self._hub = hub
        self.endpoint = endpoint
        self.identity = identity
        self.subprotocol = subprotocol
        self.window_bits = window_bits
        self.channels: tuple[str, ...] = ()
        self.state = State.JOINING
        self.alive = True
        self.bucket = 0
        self.paused = False
        self.received = 0
        self.seats: tuple[tuple[str, str], ...] = ()
        self.sent = 0
        self.since = time.monotonic()
        self.close_code: int = CloseCode.ABNORMAL_CLOSURE
        self.fd = -1
        self.outbox: Outbox | None = Outbox()
        self._reader: Any = None
        self._writer: Any = None
        self._receiver: Receiver | None = None
        self._intake: Intake | None = None
        self._answered = False  # both close frames have passed
        self._farewell: tuple[int, str] | None = None  # to be said when it is open

    # What an endpoint calls

    def send(self, data: Data) -> None:
        """Send one message to this socket only.

        Text must have a UTF-8 form. What does not fit into the outbox closes the socket (1013).
        """
        binary = isinstance(data, bytes)
        payload = data if isinstance(data, bytes) else data.encode()
        self.sent += 1
        self.write(encode_message(payload, binary, self.window_bits))

    def publish(
        self, channels: Sequence[str], data: Data, *, echo: bool = True, expire: int = 0
    ) -> None:
        """Publish a message through the broker, in the order of the calls, without waiting.

        With ``echo=False`` this socket does not get it back. If it could not be published, or
        may not have been, the socket is closed with 1013, so that the loss does not go unseen.
        """
        payload = encode(data, self._hub.config.envelope)
        self._hub.publish(self, channels, payload, echo, expire)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the close handshake; the socket ends when the client answers, or soon after."""
        if self.state is State.OPEN:
            self._closing(code, [encode_close(code, reason)])
        elif self.state is State.JOINING and self._farewell is None:
            self._farewell = code, reason

    def expel(self, code: int, reason: str) -> bool:
        """Close without sending what waits; return False for a socket that closes already."""
        if self.state >= State.CLOSING or self._farewell is not None:
            return False
        if self.outbox is not None:
            self.outbox.give_up()
        self.close(code, reason)
        return True

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function, which must not block, in the loop's next turn; from any thread."""
        self._hub.soon(function, *args)

    # What the hub calls

    def open(self, fd: int, early: bytes = b"") -> None:
        """Take a non-blocking socket whose 101 has been sent.

        Args:
            fd: becomes this connection's to close.
            early: what the client sent right behind its handshake.
        """
        self.fd = fd
        if self.state is State.CLOSED:  # the hub ended while the request was on its way here
            hang_up(fd)
            return
        self.state = State.OPEN
        self._reader = self._hub.io(fd, READ)
        self._reader.start(self._readable)
        self._hub.stats.accepted += 1
        log.info("open %s", self)
        if self._farewell is not None:
            self.outbox = Outbox()  # nothing of it may go to one who is not welcome
            self.close(*self._farewell)
            return
        self._tell(self.endpoint.opened, self)
        if self.state is State.OPEN:
            self._writable()
        if early and self.state is State.OPEN:
            self._feed(early)

    def write(self, data: bytes, frames: Frames | None = None) -> None:
        """Send bytes now, or keep what the socket does not take.

        Args:
            data: whole frames.
            frames: the messages of a channel that they were made from, if they were.
        """
        write_all((self,), data, frames)

    def left_with(self, sent: int, data: bytes, frames: Frames | None = None) -> None:
        """Take care of frames that the socket has not taken at once (see `wsredis.fanout`).

        Args:
            sent: the bytes of them it has taken, -1 if it is dead.
            data: the frames.
            frames: the messages of a channel that they were made from, if they were.
        """
        if sent < 0:
            self.cut()
        elif self.outbox is None:
            outbox = self.outbox = Outbox()
            outbox.put(data, frames)
            outbox.sent(sent)
            self._start_writer()
        else:
            self._wait(data, frames)

    def publishing(self, size: int) -> None:
        """Count bytes on their way to the broker; a socket that is far ahead of it must wait."""
        intake = self._intake = self._intake or Intake()
        intake.publish(size)
        if intake.is_ahead and self._reader is not None:
            self.paused = True
            self._reader.stop()

    def published(self, size: int) -> None:
        """Count bytes that the broker has confirmed, or that are lost."""
        assert self._intake is not None
        self._intake.confirm(size)
        if not self._intake.is_ahead:
            self._read_on()

    def _read_on(self) -> None:
        if self.paused and self._reader is not None:
            self.paused = False
            self.alive = True
            self._reader.start(self._readable)

    def __str__(self) -> str:
        """Name who this is, for a log line; nothing in it can break the line."""
        user = self.identity.user
        who = "user=" + (loggable(encode_name(user)) if user else "-")
        return f"{who} channels={','.join(map(loggable, self.channels)) or '-'}"

    @property
    def outbox_size(self) -> int:
        """Return the bytes that wait for this reader."""
        return 0 if self.outbox is None else self.outbox.size

    def cut(self) -> None:
        """End the socket at once, without a close handshake if there was none."""
        if self.state is State.CLOSED:
            return
        opened = self.state is not State.JOINING
        self.state = State.CLOSED
        self.outbox = Outbox()
        self._hub.forget(self)
        self._stop_writer()
        if self._reader is not None:
            self._reader.stop()
            self._reader.close()
        self._reader = self._receiver = None
        if not opened:
            return
        hang_up(self.fd)
        self.fd = -1
        numbers = (self.close_code, time.monotonic() - self.since, self.received, self.sent)
        log.info("close %s code=%d seconds=%.1f received=%d sent=%d", self, *numbers)
        if self._farewell is None:  # else it was never told of the opening
            self._tell(self.endpoint.closed, self, self.close_code)

    def _tell(self, method: Callable[..., None], *args: Any) -> None:
        """Call the endpoint; what it raises costs this socket and nobody else."""
        try:
            method(*args)
        except Exception:
            log.exception("the endpoint failed for %s", self)
            self.close(CloseCode.INTERNAL_ERROR)

    # Out

    def _wait(self, data: bytes, frames: Frames | None) -> None:
        """Keep frames until the socket takes them; a reader that is too slow loses some, or all."""
        outbox = self.outbox
        if outbox is None or self.state >= State.CLOSING or self._farewell is not None:
            return
        outbox.put(data, frames)
        config, stats = self._hub.config, self._hub.stats
        shed = outbox.make_room(config.max_outbox, config.overflow, self.window_bits)
        self.sent -= shed
        stats.shed += shed
        if outbox.is_over(config.max_outbox):
            stats.dropped += self.expel(CloseCode.TRY_AGAIN_LATER, "this reader is too slow")
        elif self.state is State.OPEN:
            self._start_writer()

    def put_first(self, frames: Sequence[Frames]) -> None:
        """Put kept messages, a channel's each, before all that waits; only before `open`."""
        assert self.outbox is not None
        self.sent += len(frames)
        self.outbox.put_first(frames, self.window_bits)

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = self._hub.io(self.fd, WRITE)
            self._writer.start(self._writable)

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _writable(self) -> None:
        outbox = self.outbox
        try:
            while outbox:
                outbox.sent(os.writev(self.fd, outbox.next()))
                self.alive = True  # whoever takes bytes lives, even if its pong is behind them
        except BlockingIOError:
            self._start_writer()
            return
        except OSError:
            self.cut()
            return
        self._stop_writer()
        if self.state is State.OPEN:
            self.outbox = None
        elif self._answered:
            shutdown(self.fd, socket.SHUT_WR)

    # In

    def _readable(self) -> None:
        try:
            data = os.read(self.fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._feed(data)
        else:
            self.cut()

    def _feed(self, data: bytes) -> None:
        self.alive = True
        receiver = self._receiver or self._hub.lend_receiver(bool(self.window_bits))
        messages = receiver.feed(data)
        replies = receiver.data_to_send()
        intake = self._intake = self._intake or Intake()
        size = len(data) + receiver.grown
        floods = intake.floods(self._hub.config, size, receiver.frames, receiver.heard)
        if floods and self.state is State.OPEN:
            self._hub.stats.flooding += 1
            self.close(CloseCode.POLICY_VIOLATION, "too much in one second")
        elif floods:  # and goes on: it is not read any more, and the deadline ends it
            self._reader.stop()
        for reply in () if receiver.closing else replies:
            self.write(reply)
        self._received(messages)
        if receiver.closing and not self._answered:
            self._answered = True
            if self.state is State.OPEN:
                self._closing(receiver.code, replies)
            elif self.state is State.CLOSING:
                self._writable()
        if receiver.busy:
            self._receiver = receiver
        else:
            self._receiver = None
            self._hub.take_back(receiver)

    def _received(self, messages: list[Data]) -> None:
        for message in messages:
            if self.state is not State.OPEN:
                return
            if message not in self._hub.beats:
                self.received += 1
                self._tell(self.endpoint.received, self, message)

    def _closing(self, code: int, frames: Iterable[bytes]) -> None:
        """Send the last frames; the socket ends with the client's answer or at the deadline."""
        self.state = State.CLOSING
        self.close_code = code
        self._read_on()
        self._hub.closing(self)
        if self.outbox is None:
            self.outbox = Outbox()
        for frame in filter(None, frames):
            self.outbox.put(frame)
        self._writable()
