"""One websocket: messages in, the close handshake, and the endpoint that decides about both.

No greenlet belongs to a websocket. The loop calls `_readable` when bytes have arrived; what goes
out belongs to `wsredis.transports.stream`. Who is subscribed to what is the hub's business, what a
message means the endpoint's.

Invariants:

* The endpoint's ``opened`` comes once, then any number of ``received``, then ``closed`` once;
  neither of the last two comes without ``opened``.
* A receiver belongs to this websocket only while it is busy (`Receiver.busy`).
* While ``paused`` nothing is read, and so nothing is expected from the client.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..endpoints.base import Endpoint
from ..identity import Identity
from ..message import Data, encode
from ..protocol.closing import CloseCode
from ..protocol.frames import FRAME_ENCODINGS, PING, Receiver, encode_close, encode_message
from ..runtime.logs import get_logger
from ..runtime.loop import READ
from ..servers.descriptor import hang_up, shutdown
from .host import Host
from .rate import RateLimit
from .receivers import Receivers
from .send_buffer import SendBuffer
from .stream import State, Stream

__all__ = ["WebSocket"]

log = get_logger("wsredis.connection")

READ_SIZE = 1 << 16
"""Bytes read from a client at once."""


class WebSocket(Stream):
    """A websocket (RFC 6455) and its endpoint; see `EndpointConnection` for the endpoint's view.

    Args:
        host: the hub of this process.
        receivers: the parsers of this process.
        endpoint: decides about messages.
        identity: of the client.
        subprotocol: the chosen sub-protocol, or None.
        window_bits: 9 to 15 if messages to the client may be deflated, else 0.

    Attributes:
        paused: whether it is not read until the broker has acked what it published.
        received: messages from the client.
    """

    __slots__ = (
        "_close_exchanged",
        "_rate",
        "_reader",
        "_receiver",
        "_receivers",
        "endpoint",
        "paused",
        "received",
        "subprotocol",
        "window_bits",
    )

    def __init__(
        self,
        host: Host,
        receivers: Receivers,
        endpoint: Endpoint,
        identity: Identity,
        subprotocol: str | None = None,
        window_bits: int = 0,
    ) -> None:
        super().__init__(host, FRAME_ENCODINGS[window_bits], identity)
        self.endpoint = endpoint
        self.subprotocol = subprotocol
        self.window_bits = window_bits
        self.paused = False
        self.received = 0
        self._receivers = receivers
        self._reader: Any = None
        self._receiver: Receiver | None = None
        self._rate: RateLimit | None = None
        self._close_exchanged = False  # both close frames have passed

    # What an endpoint calls

    def send(self, data: Data) -> None:
        """Send one message to this socket only.

        Text must have a UTF-8 form. What does not fit into the send buffer closes the socket
        (1013).
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
        payload = encode(data, self._host.config.envelope)
        self.publishing(len(payload))
        self._host.publish(self, channels, payload, echo, expire)

    def publishing(self, size: int) -> None:
        """Count bytes on their way to the broker; nothing is read while too many are unacked."""
        rate = self._rate = self._rate or RateLimit()
        rate.publish(size)
        if rate.over_watermark and self._reader is not None:
            self.paused = True
            self._reader.stop()

    def on_ack(self, size: int) -> None:
        """Count bytes that the broker has acked, or that are lost."""
        assert self._rate is not None
        self._rate.ack(size)
        if not self._rate.over_watermark:
            self._resume()

    # What the hub calls

    @property
    def is_silent(self) -> bool:
        return self.state is State.OPEN and not (self.alive or self.paused)

    def ping(self) -> None:
        if self.state is State.OPEN:
            self.alive = False
            self.write(PING)

    # The beginning and the end

    def open(self, fd: int, early: bytes = b"") -> None:
        """Take a non-blocking socket whose 101 has been sent.

        Args:
            fd: becomes this websocket's to close.
            early: what the client sent right behind its handshake.
        """
        self.fd = fd
        if self.state is State.CLOSED:  # the hub ended while the request was on its way here
            hang_up(fd)
            return
        self.state = State.OPEN
        self._reader = self._host.io(fd, READ)
        self._reader.start(self._readable)
        self._host.stats.accepted += 1
        log.info("open %s", self)
        if self._pending_close is not None:
            self.send_buffer = SendBuffer()  # nothing of it may go to one that must leave
            self.close(*self._pending_close)
            return
        self._tell(self.endpoint.opened, self)
        if self.state is State.OPEN:
            self._flush()
        if early and self.state is State.OPEN:
            self._feed(early)

    def _begin_close(self, code: int, chunks: Iterable[bytes]) -> None:
        self._resume()  # the client's close frame is awaited
        super()._begin_close(code, chunks)

    def _last_bytes(self, code: int, reason: str) -> bytes:
        return encode_close(code, reason)

    def _on_flushed(self) -> None:
        if self._close_exchanged:
            shutdown(self.fd, socket.SHUT_WR)

    def _stop_watchers(self) -> None:
        super()._stop_watchers()
        if self._reader is not None:
            self._reader.stop()
            self._reader.close()
        self._reader = self._receiver = None

    def _on_closed(self) -> None:
        numbers = (self.close_code, time.monotonic() - self.since, self.received, self.sent)
        log.info("close %s code=%d seconds=%.1f received=%d sent=%d", self, *numbers)
        if self._pending_close is None:  # else the endpoint was never told of the opening
            self._tell(self.endpoint.closed, self, self.close_code)

    def _tell(self, method: Callable[..., None], *args: Any) -> None:
        """Call the endpoint; what it raises costs this socket and nobody else."""
        try:
            method(*args)
        except Exception:
            log.exception("the endpoint failed for %s", self)
            self.close(CloseCode.INTERNAL_ERROR)

    # In

    def _resume(self) -> None:
        """Read again after a pause."""
        if self.paused and self._reader is not None:
            self.paused = False
            self.alive = True
            self._reader.start(self._readable)

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
            self.abort()

    def _feed(self, data: bytes) -> None:
        self.alive = True
        receiver = self._receiver or self._receivers.lend(bool(self.window_bits))
        messages = receiver.feed(data)
        replies = receiver.data_to_send()
        rate = self._rate = self._rate or RateLimit()
        size = len(data) + receiver.grown
        over = rate.over_limit(self._host.config, size, receiver.frames, receiver.heard)
        if over and self.state is State.OPEN:
            self._host.stats.over_limit += 1
            self.close(CloseCode.POLICY_VIOLATION, "too much in one second")
        elif over:  # and goes on: it is not read any more, and the deadline ends it
            self._reader.stop()
        for reply in () if receiver.closing else replies:
            self.write(reply)
        self._received(messages)
        if receiver.closing and not self._close_exchanged:
            self._close_exchanged = True
            if self.state is State.OPEN:
                self._begin_close(receiver.code, replies)
            elif self.state is State.CLOSING:
                self._flush()
        if receiver.busy:
            self._receiver = receiver
        else:
            self._receiver = None
            self._receivers.take_back(receiver)

    def _received(self, messages: list[Data]) -> None:
        for message in messages:
            if self.state is not State.OPEN:
                return
            if message not in self._host.heartbeats:
                self.received += 1
                self._tell(self.endpoint.received, self, message)
