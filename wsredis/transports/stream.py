"""One socket that is written to: bytes out, what a slow reader has not taken, the end.

No greenlet belongs to a stream. The loop calls `_flush` while bytes wait; the hub calls `write`
with bytes that are ready to go. What the bytes are, and whether something is read, belongs to the
transports built on this.

Invariants:

* ``send_buffer`` is None exactly while the stream is open and nothing waits: only then are bytes
  written past it (see `wsredis.hub.fanout`).
* A writer watches the descriptor only while something waits.
* ``fd`` is valid from `open` until the state is `State.CLOSED`.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

from ..hub.encoding import Encoded, Encoding
from ..hub.fanout import write_all
from ..hub.subscriber import Slots
from ..identity import Identity
from ..naming import encode_name, loggable
from ..protocol.closing import CloseCode
from ..runtime.loop import WRITE
from ..servers.descriptor import hang_up
from .host import Host
from .send_buffer import SendBuffer

__all__ = ["State", "Stream"]


class State(IntEnum):
    """The states of a stream (those of RFC 6455 section 7.1, and before them joining)."""

    JOINING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class Stream(ABC):
    """A socket that the hub writes to.

    Args:
        host: the hub of this process.
        encoding: what messages look like for the client.
        identity: of the client.

    Attributes:
        alive: whether bytes have passed since the last ping.
        bucket, channels, sent, since, slots: see `wsredis.hub.subscriber`.
        close_code: what it is closed with; 1006 until then.
        fd: the socket's descriptor, -1 before it is open and when it is closed.
        send_buffer: what waits to be sent; None when nothing does, so that it is written at once.
    """

    __slots__ = (
        "__weakref__",
        "_host",
        "_pending_close",
        "_writer",
        "alive",
        "bucket",
        "channels",
        "close_code",
        "encoding",
        "fd",
        "identity",
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
        self.close_code: int = CloseCode.ABNORMAL_CLOSURE
        self.fd = -1
        self.send_buffer: SendBuffer | None = SendBuffer()
        self.sent = 0
        self.since = time.monotonic()
        self.slots: Slots = ()
        self.state = State.JOINING
        self._writer: Any = None
        self._pending_close: tuple[int, str] | None = None  # to be done when it is open

    def __str__(self) -> str:
        """Return its identity and channels for a log line; nothing in it can break the line."""
        user = self.identity.user
        who = "user=" + (loggable(encode_name(user)) if user else "-")
        return f"{who} channels={','.join(map(loggable, self.channels)) or '-'}"

    @property
    def is_open(self) -> bool:
        """Return whether it has been opened and is not closing."""
        return self.state is State.OPEN

    @property
    def send_buffer_size(self) -> int:
        """Return the bytes that wait for this reader."""
        return 0 if self.send_buffer is None else self.send_buffer.size

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function, which must not block, in the loop's next turn; from any thread."""
        self._host.soon(function, *args)

    # Out

    def write(self, data: bytes, encoded: Encoded | None = None) -> None:
        """Send bytes now, or keep what the socket does not take.

        Args:
            data: whole frames or events.
            encoded: the messages of a channel that they carry, if they do.
        """
        write_all((self,), data, encoded)

    def on_partial_write(self, sent: int, data: bytes, encoded: Encoded | None = None) -> None:
        """Take care of bytes that the socket has not taken at once (see `wsredis.hub.fanout`).

        Args:
            sent: the bytes of them it has taken, -1 if it is dead.
            data: whole frames or events.
            encoded: the messages of a channel that they carry, if they do.
        """
        if sent < 0:
            self.abort()
        elif self.send_buffer is None:
            buffer = self.send_buffer = SendBuffer()
            buffer.put(data, encoded)
            buffer.mark_sent(sent)
            self._start_writer()
        else:
            self._wait(data, encoded)

    def send_retained(self, messages: list[Encoded]) -> None:
        """Send retained messages, a channel's each, whatever the limit of the send buffer."""
        if self.state >= State.CLOSING or self._pending_close is not None:
            return
        self.sent += len(messages)
        if self.send_buffer is None:
            self.send_buffer = SendBuffer()
        self.send_buffer.put_each(messages, self.encoding)
        if self.state is State.OPEN:
            self._flush()

    def _wait(self, data: bytes, encoded: Encoded | None) -> None:
        """Keep bytes until the socket takes them; a reader that is too slow loses some, or all."""
        buffer = self.send_buffer
        if buffer is None or self.state >= State.CLOSING or self._pending_close is not None:
            return
        buffer.put(data, encoded)
        config, stats = self._host.config, self._host.stats
        dropped = buffer.drop(config.max_send_buffer, config.overflow, self.encoding)
        self.sent -= dropped
        stats.messages_dropped += dropped
        if buffer.is_over(config.max_send_buffer):
            stats.slow_consumers += self.kick(CloseCode.TRY_AGAIN_LATER, "this reader is too slow")
        elif self.state is State.OPEN:
            self._start_writer()

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = self._host.io(self.fd, WRITE)
            self._writer.start(self._flush)

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        """Write what waits, as far as the socket takes it."""
        buffer = self.send_buffer
        try:
            while buffer:
                buffer.mark_sent(os.writev(self.fd, buffer.next_chunks()))
                self.alive = True  # a client that takes bytes lives, even if its pong is late
        except BlockingIOError:
            self._start_writer()
            return
        except OSError:
            self.abort()
            return
        self._stop_writer()
        if self.state is State.OPEN:
            self.send_buffer = None
        else:
            self._on_flushed()

    # The end

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin to close, after what waits to be sent; the socket ends soon after."""
        if self.state is State.OPEN:
            self._begin_close(code, [self._last_bytes(code, reason)])
        elif self.state is State.JOINING and self._pending_close is None:
            self._pending_close = code, reason

    def kick(self, code: int, reason: str) -> bool:
        """Close without sending what waits; return False for one that is closing already."""
        if self.state >= State.CLOSING or self._pending_close is not None:
            return False
        if self.send_buffer is not None:
            self.send_buffer.discard()
        self.close(code, reason)
        return True

    def abort(self) -> None:
        """End the socket at once, without the bytes that wait."""
        if self.state is State.CLOSED:
            return
        opened = self.state is not State.JOINING
        self.state = State.CLOSED
        self.send_buffer = SendBuffer()
        self._host.forget(self)
        self._stop_watchers()
        if opened:
            hang_up(self.fd)
            self.fd = -1
            self._on_closed()

    def _begin_close(self, code: int, chunks: Iterable[bytes]) -> None:
        """Send the last bytes; the socket ends with the client or at the deadline."""
        self.state = State.CLOSING
        self.close_code = code
        self._host.closing(self)
        if self.send_buffer is None:
            self.send_buffer = SendBuffer()
        for chunk in filter(None, chunks):
            self.send_buffer.put(chunk)
        self._flush()

    # What a transport adds

    def _stop_watchers(self) -> None:
        """Stop and close the watchers of the descriptor, which is closed next."""
        self._stop_writer()

    @property
    @abstractmethod
    def is_silent(self) -> bool:
        """Return whether nothing has come from an open one since the last ping."""

    @abstractmethod
    def ping(self) -> None:
        """Ask an open one for a sign of life."""

    @abstractmethod
    def _on_closed(self) -> None:
        """Take notice that a stream which was open has ended."""

    @abstractmethod
    def _last_bytes(self, code: int, reason: str) -> bytes:
        """Return what tells the client that the stream closes; may be empty."""

    @abstractmethod
    def _on_flushed(self) -> None:
        """Take notice that a closing stream has sent everything."""
