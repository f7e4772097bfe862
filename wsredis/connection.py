"""One socket's life: bytes in, frames out, a bounded outbox, the close handshake.

No greenlet belongs to a connection. The loop calls `_readable` when bytes have arrived and
`_writable` while some wait; the hub calls `write` with frames that are ready to go. Who is
subscribed to what is the hub's business, what a message means the endpoint's.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from enum import IntEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

from .channels import encode_name
from .frames import CloseCode, Receiver, encode_close, encode_message
from .identity import Identity
from .message import Data, encode

if TYPE_CHECKING:
    from .endpoints.base import Endpoint
    from .hub import Hub

__all__ = ["Connection", "State"]

log = logging.getLogger("wsredis.connection")

READ_SIZE = 1 << 16
"""Bytes read from a client at once."""

MAX_UNANSWERED, OVERHEAD = 1 << 18, 256
"""Bytes one socket may have published that the broker has not confirmed, and what each message
costs beside its payload; above that the socket is not read."""

WRITE_CHUNKS = 64
"""Pieces of an outbox written at once."""

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
        paused: whether it is not read until the broker has confirmed what it published.
    """

    __slots__ = (
        "__weakref__",
        "_answered",
        "_fd",
        "_hub",
        "_outbox",
        "_outbox_size",
        "_reader",
        "_receiver",
        "_unanswered",
        "_writer",
        "alive",
        "bucket",
        "channels",
        "close_code",
        "endpoint",
        "identity",
        "opened_at",
        "paused",
        "received",
        "sent",
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
        self.sent = 0
        self.opened_at = 0.0
        self.close_code: int = CloseCode.ABNORMAL_CLOSURE
        self._fd = -1
        self._outbox: deque[bytes] | None = deque()  # None: nothing waits, write at once
        self._outbox_size = 0
        self._reader: Any = None
        self._writer: Any = None
        self._receiver: Receiver | None = None
        self._unanswered = 0  # bytes published and not confirmed
        self._answered = False  # both close frames have passed

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

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function, which must not block, in the loop's next turn; from any thread."""
        self._hub.soon(function, *args)

    def listeners(self, channel: str) -> int:
        """Return how many sockets of this process listen to a channel."""
        return self._hub.listeners(channel)

    # What the hub calls

    def open(self, fd: int, early: bytes = b"") -> None:
        """Take a non-blocking socket whose 101 has been sent.

        Args:
            fd: becomes this connection's to close.
            early: what the client sent right behind its handshake.
        """
        self._fd = fd
        if self.state is State.CLOSED:  # the hub ended while the request was on its way here
            self._release()
            return
        self.opened_at = time.monotonic()
        self.state = State.OPEN
        self._reader = self._hub.io(fd, READ)
        self._reader.start(self._readable)
        self._hub.stats.accepted += 1
        log.info("open %s", self.describe())
        if self._hub.draining:
            self.close(CloseCode.SERVICE_RESTART, "service restart")
            return
        if self.close_code == CloseCode.TRY_AGAIN_LATER:  # too much arrived while it joined
            self._give_up()
            return
        self._tell(self.endpoint.opened, self)
        if self.state is State.OPEN:
            self._writable()
        if early and self.state is State.OPEN:
            self._feed(early)

    def write(self, data: bytes) -> None:
        """Send frames now, or keep what the socket does not take."""
        if self._outbox is None:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.cut()
                return
            if sent == len(data):
                return
            self._outbox = deque()
            data = data[sent:]
        self._wait(data)

    def publishing(self, size: int) -> None:
        """Count bytes on their way to the broker; a socket that is far ahead of it must wait."""
        self._unanswered += size + OVERHEAD
        if self._unanswered > MAX_UNANSWERED and self._reader is not None:
            self.paused = True
            self._reader.stop()

    def published(self, size: int) -> None:
        """Count bytes that the broker has confirmed, or that are lost."""
        self._unanswered -= size + OVERHEAD
        if self._unanswered <= MAX_UNANSWERED:
            self._read_on()

    def _read_on(self) -> None:
        if self.paused and self._reader is not None:
            self.paused = False
            self.alive = True
            self._reader.start(self._readable)

    def describe(self) -> str:
        """Name who this is, for a log line; nothing in it can break the line."""
        user = self.identity.user
        who = "user=" + (encode_name(user) if user else "-")
        return f"{who} channels={','.join(self.channels) or '-'}"

    @property
    def outbox_size(self) -> int:
        """Return the bytes that wait for this reader."""
        return self._outbox_size

    def cut(self) -> None:
        """End the socket at once, without a close handshake if there was none."""
        if self.state is State.CLOSED:
            return
        opened = self.state is not State.JOINING
        self.state = State.CLOSED
        self._outbox = deque()
        self._outbox_size = 0
        self._hub.forget(self)
        self._stop_writer()
        if self._reader is not None:
            self._reader.stop()
            self._reader.close()
        self._reader = self._receiver = None
        if opened:
            self._release()

    def _release(self) -> None:
        """Give the socket back and tell everybody who waits for that."""
        self._shutdown(
            socket.SHUT_RDWR
        )  # a server may still hold a copy, and close alone sends no FIN
        os.close(self._fd)
        self._fd = -1
        log.info(
            "close %s code=%d seconds=%.1f received=%d sent=%d",
            self.describe(),
            self.close_code,
            time.monotonic() - self.opened_at,
            self.received,
            self.sent,
        )
        self._tell(self.endpoint.closed, self, self.close_code)

    def _shutdown(self, how: int) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=self._fd)
        with suppress(OSError):
            sock.shutdown(how)
        sock.detach()

    def _tell(self, method: Callable[..., None], *args: Any) -> None:
        """Call the endpoint; what it raises costs this socket and nobody else."""
        try:
            method(*args)
        except Exception:
            log.exception("the endpoint failed for %s", self.describe())
            self.close(CloseCode.INTERNAL_ERROR)

    # Out

    def _wait(self, data: bytes) -> None:
        """Keep frames until the socket takes them; give up a reader that is too slow."""
        outbox = self._outbox
        if outbox is None or self.state >= State.CLOSING:
            return
        if outbox and self._outbox_size + len(data) > self._hub.config.max_outbox:
            self._hub.stats.dropped += 1
            self.close_code = CloseCode.TRY_AGAIN_LATER
            if self.state is State.OPEN:
                self._give_up()
            return
        outbox.append(data)
        self._outbox_size += len(data)
        if self.state is State.OPEN:
            self._start_writer()

    def _give_up(self) -> None:
        """Close with 1013; of what waits only what the socket is in the middle of goes out."""
        assert self._outbox is not None
        while len(self._outbox) > 1:
            self._outbox_size -= len(self._outbox.pop())
        self.close(CloseCode.TRY_AGAIN_LATER, "this reader is too slow")

    def put_first(self, frames: Iterable[bytes]) -> None:
        """Put frames before all that waits; only before `open`."""
        assert self._outbox is not None
        for frame in reversed(list(frames)):
            self._outbox.appendleft(frame)
            self._outbox_size += len(frame)

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = self._hub.io(self._fd, WRITE)
            self._writer.start(self._writable)

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _writable(self) -> None:
        outbox = self._outbox
        try:
            while outbox:
                self._drop_sent(os.writev(self._fd, list(islice(outbox, WRITE_CHUNKS))))
        except BlockingIOError:
            self._start_writer()
            return
        except OSError:
            self.cut()
            return
        self._stop_writer()
        if self.state is State.OPEN:
            self._outbox = None
        elif self._answered:
            self._shutdown(socket.SHUT_WR)

    def _drop_sent(self, sent: int) -> None:
        outbox = self._outbox
        assert outbox is not None
        self.alive = True  # whoever takes bytes lives, even if its pong is far behind them
        self._outbox_size -= sent
        while outbox and sent >= len(outbox[0]):
            sent -= len(outbox.popleft())
        if sent:
            outbox[0] = outbox[0][sent:]

    # In

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_SIZE)
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
        if self.state is State.CLOSING:  # our close frame is out; wait for the client's
            if receiver.closing and not self._answered:
                self._answered = True
                self._writable()
        elif receiver.closing:
            self._received(messages)
            self._answer_close(receiver.code, replies)
        else:
            for reply in replies:
                self.write(reply)
            self._received(messages)
        if receiver.busy:
            self._receiver = receiver
        else:
            self._receiver = None
            self._hub.take_back(receiver)

    def _answer_close(self, code: int, replies: list[bytes]) -> None:
        """End the handshake that the client's bytes began, unless the endpoint was quicker."""
        self._answered = True
        if self.state is State.OPEN:
            self._closing(code, replies)
        elif self.state is State.CLOSING:
            self._writable()

    def _received(self, messages: list[Data]) -> None:
        for message in messages:
            if self.state is not State.OPEN:
                return
            if message != self._hub.config.heartbeat:
                self.received += 1
                self._tell(self.endpoint.received, self, message)

    def _closing(self, code: int, frames: Iterable[bytes]) -> None:
        """Send the last frames; the socket ends with the client's answer or at the deadline."""
        self.state = State.CLOSING
        self.close_code = code
        self._read_on()
        self._hub.closing(self)
        self._outbox = self._outbox or deque()
        for frame in filter(None, frames):
            self._outbox.append(frame)
            self._outbox_size += len(frame)
        self._writable()
