"""A socket that the hub writes to: sending, buffering for slow clients, closing.

A stream has no greenlet. The loop calls `_flush` while bytes wait; the hub calls `write` with
encoded messages. Transports based on this class define the bytes, and read.

Invariants:

* ``send_buffer`` is None exactly while the stream is open and no bytes wait; only then are bytes
  written directly to the socket (see `wsredis.hub.fanout`).
* A writer watches the descriptor only while bytes wait. While the kernel lacks memory it is a timer
  instead, as the descriptor counts as writable then.
* ``fd`` is valid from the moment the socket is taken until the state is `State.CLOSED`.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

from ..hub.encoding import Encoded, Encoding
from ..hub.fanout import NO_MEMORY, write_all
from ..hub.subscriber import Slots
from ..identity import Identity
from ..naming import encode_name, loggable
from ..protocol.closing import ABNORMAL, SLOW, CloseCode
from ..runtime.loop import WRITE
from ..servers.descriptor import hang_up
from .host import Host
from .send_buffer import SendBuffer

__all__ = ["TRY_AGAIN", "State", "Stream"]

TRY_AGAIN = 0.1
"""Seconds until the next attempt after the kernel has lacked memory for a socket."""


class State(IntEnum):
    """The states of a stream: those of RFC 6455 section 7.1, and joining before them."""

    JOINING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class Stream(ABC):
    """A socket that the hub writes to.

    Args:
        host: the hub of this process.
        encoding: the encoding of messages for the client.
        identity: the identity of the client.

    Attributes:
        alive: whether bytes were sent or received since the last ping.
        bucket, channels, sent, since, slots: see `wsredis.hub.subscriber`.
        close_code, close_reason: code and reason of the close; 1006 and "" until then.
        fd: the socket's descriptor, -1 before it is open and after it is closed.
        paused: whether the client is not read at present, until the broker has acked published
            messages or the endpoint calls `release`.
        send_buffer: the bytes that wait to be sent; None if there are none.
    """

    __slots__ = (
        "__weakref__",
        "_drained",
        "_host",
        "_pending_close",
        "_writer",
        "alive",
        "bucket",
        "channels",
        "close_code",
        "close_reason",
        "encoding",
        "fd",
        "identity",
        "paused",
        "send_buffer",
        "sent",
        "since",
        "slots",
        "state",
    )

    def __init__(self, host: Host, encoding: Encoding, identity: Identity) -> None:
        self._host = host
        self.encoding = encoding
        self.identity = identity
        self.alive = True
        self.bucket = 0
        self.channels: tuple[str, ...] = ()
        self.close_code: int = ABNORMAL
        self.close_reason = ""
        self.fd = -1
        self.paused = False
        self.send_buffer: SendBuffer | None = SendBuffer(host.memory)
        self.sent = 0
        self.since = time.monotonic()
        self.slots: Slots = ()
        self.state = State.JOINING
        self._drained = True  # whether `WebSocket.send` has not returned False since
        self._writer: Any = None
        self._pending_close: tuple[int, str] | None = None  # close when it is open

    def __str__(self) -> str:
        """Return user and channels for a log line, without characters that could break the line."""
        user = self.identity.user
        who = "user=" + (loggable(encode_name(user)) if user else "-")
        return f"{who} channels={','.join(map(loggable, self.channels)) or '-'}"

    @property
    def is_open(self) -> bool:
        """Return whether it has been opened and is not closing."""
        return self.state is State.OPEN

    @property
    def send_buffer_size(self) -> int:
        """Return the number of bytes that wait for this client."""
        return 0 if self.send_buffer is None else self.send_buffer.size

    @property
    def buffered(self) -> int:
        """Return the bytes of its send buffer and of the message that its client is sending."""
        return self.send_buffer_size

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the loop's next iteration; it must not block. Works in any thread."""
        self._host.soon(function, *args)

    # Sending

    def write(self, data: bytes, encoded: Encoded | None = None) -> None:
        """Send bytes now, or buffer the bytes that the socket does not take.

        Args:
            data: complete frames or events.
            encoded: the messages of a channel that the bytes contain, or None.
        """
        write_all((self,), data, encoded)

    def on_partial_write(self, sent: int, data: bytes, encoded: Encoded | None = None) -> None:
        """Handle bytes that the socket did not take at once (see `wsredis.hub.fanout`).

        Args:
            sent: number of bytes that it took, -1 if it failed.
            data: complete frames or events.
            encoded: the messages of a channel that the bytes contain, or None.
        """
        if sent < 0:
            self.abort()
        elif self.send_buffer is None:
            buffer = self.send_buffer = SendBuffer(self._host.memory)
            buffer.put(data, encoded)
            buffer.mark_sent(sent)
            self._start_writer()
        else:
            self._wait(data, encoded)

    def send_retained(self, messages: list[Encoded]) -> None:
        """Send retained messages, one per channel.

        One of them may be larger than the send buffer; all others together may not.
        """
        if self.state >= State.CLOSING or self._pending_close is not None:
            return
        self.sent += len(messages)
        if self.send_buffer is None:
            self.send_buffer = SendBuffer(self._host.memory)
        buffer = self.send_buffer
        buffer.put_each(messages, self.encoding)
        if self.state is State.OPEN:
            self._flush()
        if messages and self.send_buffer is buffer:
            self._limit(buffer, max(len(each[self.encoding]) for each in messages))

    def _wait(self, data: bytes, encoded: Encoded | None) -> None:
        """Buffer bytes, within the limit of the send buffer."""
        buffer = self.send_buffer
        if buffer is None or self.state >= State.CLOSING or self._pending_close is not None:
            return
        buffer.put(data, encoded)
        self._limit(buffer)

    def _limit(self, buffer: SendBuffer, extra: int = 0) -> None:
        """If the client is too slow, drop messages or close, as ``overflow`` says."""
        config, stats = self._host.config, self._host.stats
        limit = config.max_send_buffer + extra
        dropped = buffer.drop(limit, config.overflow, self.encoding)
        self.sent -= dropped
        stats.messages_dropped += dropped
        if buffer.is_over(limit):
            stats.slow_consumers += self.kick(SLOW.code, SLOW.reason)
        elif self.state is State.OPEN:
            self._start_writer()

    def _start_writer(self) -> None:
        if self._writer is None or not self._writer.active:  # a timer is active once
            self._stop_writer()
            self._writer = self._host.io(self.fd, WRITE)
            self._writer.start(self._flush)

    def _write_later(self) -> None:
        self._stop_writer()
        self._writer = self._host.timer(TRY_AGAIN)
        self._writer.start(self._flush)

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        """Write as many of the buffered bytes as the socket takes."""
        buffer = self.send_buffer
        try:
            while buffer:
                buffer.mark_sent(os.writev(self.fd, buffer.next_chunks()))
                self.alive = True  # a client that reads is alive, even if its pong is late
        except BlockingIOError:
            self._start_writer()
            return
        except OSError as exc:
            if exc.errno in NO_MEMORY:
                self._write_later()
            else:
                self.abort()
            return
        self._stop_writer()
        if self.state is not State.OPEN:
            self._on_flushed()
            return
        self.send_buffer = None
        if not self._drained:
            self._drained = True
            self._on_drained()

    # The end

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin to close, after the buffered bytes are sent; the socket ends soon after."""
        if self.state is State.OPEN:
            self._begin_close(code, reason, [self._last_bytes(code, reason)])
        elif self.state is State.JOINING and self._pending_close is None:
            self._pending_close = code, reason

    def kick(self, code: int, reason: str) -> bool:
        """Close without sending buffered bytes; return False if it is already closing."""
        if self.state >= State.CLOSING or self._pending_close is not None:
            return False
        if self.send_buffer is not None:
            self.send_buffer.discard()
        self.close(code, reason)
        return True

    def abort(self) -> None:
        """Close the socket at once, without sending buffered bytes."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        if self.send_buffer is None:
            self.send_buffer = SendBuffer(self._host.memory)
        else:
            self.send_buffer.clear()
        self._host.forget(self)
        self._stop_watchers()
        if self.fd >= 0:
            hang_up(self.fd)
            self.fd = -1
        self._on_closed()

    def _begin_close(self, code: int, reason: str, chunks: Iterable[bytes]) -> None:
        """Send the last bytes; the socket is closed by the client or at the deadline."""
        self.state = State.CLOSING
        self.close_code = code
        self.close_reason = reason
        self._host.closing(self)
        if self.send_buffer is None:
            self.send_buffer = SendBuffer(self._host.memory)
        for chunk in filter(None, chunks):
            self.send_buffer.put(chunk)
        self._flush()

    # Methods for transports to extend or implement

    def _stop_watchers(self) -> None:
        """Stop and close the watchers of the descriptor, before it is closed."""
        self._stop_writer()

    @property
    @abstractmethod
    def takes_heartbeats(self) -> bool:
        """Return whether it is open, and gets the text of the option ``heartbeat``."""

    @property
    @abstractmethod
    def is_silent(self) -> bool:
        """Return whether it is open and has received nothing since the last ping."""

    @abstractmethod
    def ping(self) -> None:
        """Send a ping if it is open."""

    @abstractmethod
    def _on_closed(self) -> None:
        """Handle the end of the stream, which may never have been open."""

    @abstractmethod
    def _last_bytes(self, code: int, reason: str) -> bytes:
        """Return the bytes that tell the client that the stream closes; may be empty."""

    @abstractmethod
    def _on_flushed(self) -> None:
        """Handle that a closing stream has sent all bytes."""

    @abstractmethod
    def _on_drained(self) -> None:
        """Handle that an open stream has sent all bytes, after ``_drained`` was set to False."""
