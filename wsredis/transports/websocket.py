"""A websocket: receiving messages, flow control, and the close handshake.

A websocket has no greenlet. The loop calls `_readable` when bytes have arrived;
`wsredis.transports.stream` sends, and `wsredis.transports.opening` answers the opening handshake.
The hub handles subscriptions, the endpoint handles messages.

Invariants:

* The endpoint's ``received`` and ``drained`` are only called between ``opened`` and ``closed``.
* A receiver belongs to this websocket only while it is busy (`Receiver.busy`), or while parsed
  messages are held back.
* While ``paused``, the socket is not read, so no pong is expected from the client.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence

from ..endpoints.base import Endpoint
from ..identity import Identity
from ..message import Data, encode
from ..protocol.closing import RATE_LIMIT
from ..protocol.frames import (
    FRAME_ENCODINGS,
    PING,
    Receiver,
    encode_close,
    encode_message,
    heartbeat,
)
from ..runtime.logs import get_logger
from ..servers.descriptor import shutdown
from .host import Host
from .opening import Opening
from .rate import RateLimit
from .receivers import Receivers
from .stream import State

__all__ = ["WebSocket"]

log = get_logger("wsredis.connection")


class WebSocket(Opening):
    """A websocket (RFC 6455) with its endpoint; `EndpointConnection` is the endpoint's view of it.

    Args:
        host: the hub of this process.
        receivers: the parsers of this process.
        endpoint: handles the messages.
        identity: the identity of the client.
        subprotocol: the chosen subprotocol, or None.
        window_bits: 9 to 15 if messages to the client may be deflated, else 0.

    Attributes:
        received: number of messages from the client.
    """

    __slots__ = (
        "_close_exchanged",
        "_held",
        "_hold",
        "_rate",
        "_receiver",
        "_receivers",
        "received",
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
        super().__init__(host, FRAME_ENCODINGS[window_bits], endpoint, identity, subprotocol)
        self.window_bits = window_bits
        self.received = 0
        self._receivers = receivers
        self._receiver: Receiver | None = None
        self._rate: RateLimit | None = None
        self._close_exchanged = False  # whether both close frames were sent
        self._hold = False  # whether the endpoint has called `hold`
        self._held: deque[Data] | None = None  # messages held back meanwhile

    # Methods for endpoints

    def send(self, data: Data) -> bool:
        """Send one message to this client only; see `EndpointConnection.send`.

        The text must be encodable as UTF-8. A message that does not fit into the send buffer closes
        the websocket (1013).
        """
        binary = isinstance(data, bytes)
        payload = data if isinstance(data, bytes) else data.encode()
        self.sent += 1
        self.write(encode_message(payload, binary, self.window_bits))
        if self.send_buffer is not None:
            limit = self._host.config.max_send_buffer // 2
            self._drained = self._drained and self.send_buffer.weight <= limit
        if self.state >= State.CLOSING or self._pending_close is not None:
            return False
        return self._drained

    def await_drained(self) -> bool:
        """Call `Endpoint.drained` once the send buffer is empty; return False if it is empty."""
        if self.send_buffer is None or self.state is not State.OPEN:
            return False
        self._drained = False
        return True

    def hold(self) -> None:
        """Stop reading and delivering messages of the client until `release`."""
        if self.state < State.CLOSING:  # or the close frame of the client would not be read
            self._hold = True
            self._pause()

    def release(self) -> None:
        """Deliver the messages held back, from the loop's next iteration on, and resume reading."""
        if self._hold:
            self._hold = False
            self.soon(self._go_on)

    def _go_on(self) -> None:
        held, self._held = self._held, None
        while held and not self._hold:
            self._received((held.popleft(),))
        if self._hold and self.state is State.OPEN:
            self._held = held
        self._count_memory()
        if self._hold or self.state is not State.OPEN:
            return
        if self._receiver is not None and self._receiver.closing:
            self._receive_close(self._receiver)
        elif self._rate is None or not self._rate.over_watermark:
            self._resume()

    def publish(
        self, channels: Sequence[str], data: Data, *, echo: bool = True, expire: int = 0
    ) -> None:
        """Publish a message through the broker, in the order of the calls, without waiting.

        With ``echo=False`` this websocket does not get the message back. If the message was not
        published, or perhaps not, the websocket is closed with 1013, so that the client notices the
        loss. Each channel counts towards ``max_bytes_per_second``.
        """
        payload = encode(data, self._host.config.envelope)
        size = len(payload) * len(channels)
        if len(channels) > 1:
            rate = self._rate = self._rate or RateLimit()
            if rate.over_limit(self._host.config, size - len(payload), 0, 0):
                self._host.stats.over_limit += 1
                self.close(RATE_LIMIT.code, RATE_LIMIT.reason)
                return
        self.publishing(size)
        self._host.publish(self, channels, payload, echo, expire)

    def publishing(self, size: int) -> None:
        """Count bytes sent to the broker; reading pauses while too many are not acked."""
        rate = self._rate = self._rate or RateLimit()
        rate.publish(size)
        if rate.over_watermark:
            self._pause()

    def on_ack(self, size: int) -> None:
        """Count bytes that the broker has acked, or that are lost."""
        assert self._rate is not None
        self._rate.ack(size)
        if not self._rate.over_watermark:
            self._resume()

    # Methods for the hub

    @property
    def takes_heartbeats(self) -> bool:
        return self.is_open and self.endpoint.common_heartbeat

    @property
    def is_silent(self) -> bool:
        return self.state is State.OPEN and not (self.alive or self.paused)

    @property
    def buffered(self) -> int:
        held = sum(map(len, self._held)) if self._held else 0
        received = 0 if self._receiver is None else self._receiver.held
        return self.send_buffer_size + received + held

    def ping(self) -> None:
        if self.state is State.OPEN:
            self.alive = False
            if self.endpoint.heartbeat:
                self.write(PING + heartbeat(self._host.config.ping_interval))
            else:
                self.write(PING)

    # The beginning and the end

    def _open(self, early: bytes) -> None:
        self.state = State.OPEN
        self.was_open = True
        self._host.stats.accepted += 1
        log.info("open %s", self)
        if self._pending_close is not None:
            assert self.send_buffer is not None  # until it is open
            self.send_buffer.discard()  # a client that must leave gets none of it
            self.close(*self._pending_close)
        else:
            self._tell(self.endpoint.opened, self)
            if self.state is State.OPEN:
                self._flush()
                if self._hold:
                    self._pause()
        if early and self.state is not State.CLOSED:
            self._feed(early)

    def _begin_close(self, code: int, reason: str, chunks: Iterable[bytes]) -> None:
        if self._receiver is not None and self._receiver.closing:
            self._close_exchanged = True  # its close frame was held back
        self._hold = False
        if self._held is not None:
            self._held = None
            self._count_memory()
        self._resume()  # to read the client's close frame
        super()._begin_close(code, reason, chunks)

    def _last_bytes(self, code: int, reason: str) -> bytes:
        return encode_close(code, reason)

    def _on_flushed(self) -> None:
        if self._close_exchanged or not self.was_open:
            shutdown(self.fd, socket.SHUT_WR)

    def _on_drained(self) -> None:
        self._tell(self.endpoint.drained, self)

    def _on_closed(self) -> None:
        if self._receiver is not None:
            self._receiver.end()
        if self._receiver is not None or self._held is not None:
            self._receiver = self._held = None
            self._host.memory.release(self)
        if self.was_open:
            numbers = (self.close_code, time.monotonic() - self.since, self.received, self.sent)
            log.info("close %s code=%d seconds=%.1f received=%d sent=%d", self, *numbers)
        super()._on_closed()

    # In

    def _pause(self) -> None:
        """Stop reading until `_resume`."""
        if self._reader is not None and self.state is State.OPEN:
            self.paused = True
            self._reader.stop()

    def _resume(self) -> None:
        """Resume reading after a pause, unless the endpoint has called `hold`."""
        if self.paused and not self._hold and self._reader is not None:
            self.paused = False
            self.alive = True
            self._reader.start(self._readable)

    def _read_again(self) -> None:
        if not self.paused:
            super()._read_again()

    def _feed(self, data: bytes) -> None:
        self.alive = True
        receiver = self._receiver or self._receivers.lend(bool(self.window_bits))
        messages = receiver.feed(data)
        rate = self._rate = self._rate or RateLimit()
        size = len(data) + receiver.grown
        over = rate.over_limit(self._host.config, size, receiver.frames, receiver.heard)
        if over and self.state is State.OPEN:
            self._host.stats.over_limit += 1
            self.close(RATE_LIMIT.code, RATE_LIMIT.reason)
        elif over:  # it is closing already: stop reading, the deadline ends it
            self._reader.stop()
        if not receiver.closing:
            for pong in receiver.data_to_send():
                if self.send_buffer is None:
                    self.write(pong)
                elif self.state is State.OPEN:
                    self.send_buffer.put_pong(pong)
        self._received(messages)
        if receiver.closing and not (self._hold or self._held):
            self._receive_close(receiver)
        before = self._receiver
        if self.state is State.CLOSED:
            receiver.end()
        elif receiver.busy:
            self._receiver = receiver
        else:
            self._receiver = None
            self._receivers.take_back(receiver)
        if self._receiver is not before or before is not None or self._held:
            if messages:  # the deadline is that of the next message
                self._host.memory.release(self)
            self._count_memory()

    def _count_memory(self) -> None:
        """Count the memory of what has been received but not delivered to the endpoint."""
        size = self.buffered - self.send_buffer_size
        if size and self.state is not State.CLOSED:
            self._host.memory.hold(self, size)
        else:
            self._host.memory.release(self)

    def _receive_close(self, receiver: Receiver) -> None:
        """Answer a received close frame, or close because of the client's protocol error."""
        if self._close_exchanged:
            return
        self._close_exchanged = True
        if self.state is State.OPEN:
            self._begin_close(receiver.code, receiver.reason, receiver.data_to_send())
        elif self.state is State.CLOSING:
            self._flush()

    def _received(self, messages: Sequence[Data]) -> None:
        for message in messages:
            if self.state is not State.OPEN:
                return
            if self._hold or self._held:
                if self._held is None:
                    self._held = deque()
                self._held.append(message)
            elif message not in self._host.heartbeats or not self.endpoint.common_heartbeat:
                self.received += 1
                self._tell(self.endpoint.received, self, message)
