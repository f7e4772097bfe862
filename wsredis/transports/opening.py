"""The opening of a websocket: taking over its socket, and answering its handshake.

The WSGI server has sent the 101, or the endpoint is deferred and answers here. Messages are handled
by `wsredis.transports.websocket`.

Invariants:

* ``_pending`` is not None exactly while there is a socket whose handshake is not answered.
* A heartbeat that the client has asked for is the first message, before retained ones.
* The endpoint's ``closed`` is called once, as the last method.
* A refused client is sent one HTTP response. What it sends is read and discarded, because closing
  a socket with unread bytes resets the connection, and the client could lose the response.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gevent

from ..endpoints.base import Endpoint
from ..exceptions import HandshakeError, PermissionDenied
from ..handshake.refusal import SERVER_ERROR, answer_bytes, warn
from ..handshake.upgrade import Handshake
from ..hub.encoding import Encoding
from ..hub.fanout import NO_MEMORY
from ..identity import Identity
from ..naming import loggable
from ..protocol.closing import ABNORMAL, APPLICATION_ERROR, VALID, CloseCode
from ..protocol.frames import heartbeat
from ..protocol.http import RETRY_SOON, SWITCHING_PROTOCOLS, http_head
from ..runtime.logs import get_logger
from ..runtime.loop import READ
from ..servers.descriptor import hang_up
from .host import Host
from .stream import TRY_AGAIN, State, Stream

__all__ = ["Opening"]

log = get_logger("wsredis.connection")

ABOUT_SERVER = frozenset(range(1011, 1015))
"""Close codes about the server, after which the client may reconnect."""

UNAVAILABLE = "This websocket cannot be opened at the moment; try again."

INVALID_CODE = (
    "{0!r} is not a close code that a server may send: use 1000 to 1003, 1007 to 1009,"
    " 1011 to 1014, or 3000 to 4999."
)

READ_SIZE = 1 << 16
"""Maximum bytes read from a client at once."""


class PendingHandshake:
    """A handshake that its endpoint will answer.

    Args:
        handshake: the result of the opening handshake.
        early: bytes that the client has sent after it.
    """

    __slots__ = ("early", "handshake")

    def __init__(self, handshake: Handshake, early: bytes) -> None:
        self.handshake = handshake
        self.early = early


class Opening(Stream):
    """A stream that belongs to an endpoint, which may answer the handshake later.

    Args:
        host: the hub of this process.
        encoding: the encoding of messages for the client.
        endpoint: handles the messages.
        identity: the identity of the client.
        subprotocol: the chosen subprotocol, or None.

    Attributes:
        was_open: whether it has ever been open.
    """

    __slots__ = ("_pending", "_reader", "endpoint", "subprotocol", "was_open")

    def __init__(
        self,
        host: Host,
        encoding: Encoding,
        endpoint: Endpoint,
        identity: Identity,
        subprotocol: str | None,
    ) -> None:
        super().__init__(host, encoding, identity)
        self.endpoint = endpoint
        self.subprotocol = subprotocol
        self.was_open = False
        self._pending: PendingHandshake | None = None
        self._reader: Any = None

    def open(self, fd: int, early: bytes = b"") -> None:
        """Take a non-blocking socket whose 101 has been sent.

        Args:
            fd: the descriptor; this websocket will close it.
            early: bytes that the client sent right after its handshake.
        """
        if self._take(fd):
            if self.endpoint.heartbeat:
                assert self.send_buffer is not None  # until it is open
                self.send_buffer.prepend(heartbeat(self._host.config.ping_interval))
            self._open(early)

    def await_answer(self, fd: int, early: bytes, handshake: Handshake) -> None:
        """Take a non-blocking socket whose handshake the endpoint will answer.

        Args:
            fd: the descriptor; this websocket will close it.
            early: bytes that the client sent right after its handshake.
            handshake: the result of the opening handshake.
        """
        if self._take(fd):
            self._pending = PendingHandshake(handshake, early)
            self._host.begin_handshake(self)
            if self._pending_close is None:
                self._tell(self.endpoint.connecting, self)
            else:
                self.close(*self._pending_close)

    def _take(self, fd: int) -> bool:
        """Take a socket; close it and return False if the websocket has ended meanwhile."""
        if self.state is State.CLOSED:
            hang_up(fd)
            return False
        self.fd = fd
        self._reader = self._host.io(fd, READ)
        self._reader.start(self._readable)
        return True

    # Methods for endpoints

    def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Open a websocket whose handshake is answered later; see `EndpointConnection.accept`."""
        if (pending := self._answering()) is None:
            return
        endpoint = self.endpoint
        chosen = (subprotocol, endpoint.subprotocol, self.subprotocol)
        subprotocol = next((name for name in chosen if name is not None), None)
        answer = pending.handshake.answer(subprotocol, (*endpoint.headers, *headers))
        self._end_handshake()
        self.subprotocol = subprotocol
        assert self.send_buffer is not None  # until it is open
        head = http_head(SWITCHING_PROTOCOLS, answer)
        if endpoint.heartbeat:
            head += heartbeat(self._host.config.ping_interval)
        self.send_buffer.prepend(head)
        self._reader.start(self._readable)  # it may have been stopped
        self._open(pending.early)

    def refuse(
        self,
        status: int,
        text: str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        body: str | bytes | None = None,
        content_type: str = "text/plain; charset=utf-8",
    ) -> None:
        """Refuse a websocket whose handshake is answered later; see `EndpointConnection`."""
        if self._answering() is not None:
            self._refuse(
                HandshakeError(status, text, headers, body=body, content_type=content_type)
            )

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the close handshake, or refuse a handshake that is not answered yet.

        The status of the refusal is 503 if the close code is about the server, else 403.

        Raises:
            ValueError: a close frame cannot contain the code.
        """
        if code not in VALID:
            raise ValueError(INVALID_CODE.format(code))
        if self._pending is None:
            super().close(code, reason)
        elif code in ABOUT_SERVER:
            self._refuse(HandshakeError(503, UNAVAILABLE, RETRY_SOON), reason)
        else:
            self._refuse(PermissionDenied(), reason)

    def _answering(self) -> PendingHandshake | None:
        """Return the handshake that the endpoint answers.

        It is None if the client has disconnected or was refused in the meantime, which the endpoint
        cannot know yet.
        """
        if self._pending is None and self.state < State.CLOSING:
            raise RuntimeError("this handshake has already been answered")
        return self._pending

    def _end_handshake(self) -> None:
        self._pending = None
        self._host.end_handshake(self)
        self._host.memory.release(self)

    def _refuse(self, error: HandshakeError, reason: str = "") -> None:
        """Send the HTTP response of a refusal; the client or the deadline closes the socket."""
        data = answer_bytes(error)
        self._end_handshake()
        log.info("refused %d %s: %s", error.status, self, error.text)
        error.user = self.identity.user
        warn(error, f"channels {','.join(map(loggable, self.channels)) or '-'}", "")
        assert self.send_buffer is not None  # until it is open
        self.send_buffer.clear()  # a refused client gets nothing but the response
        self._reader.start(self._readable)
        self._begin_close(ABNORMAL, reason or error.text, [data])

    # Calling the endpoint

    def _tell(self, method: Callable[..., None], *args: Any) -> None:
        """Call the endpoint; an exception refuses the handshake, or closes this websocket only."""
        host = self._host
        host.calling = (method,)  # for the watchdog
        try:
            method(*args)
        except (Exception, gevent.Timeout) as exc:
            error: BaseException | None = exc
        else:
            error = None
        finally:
            host.calling = None
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Refuse the handshake or close this websocket because the endpoint has failed."""
        if self._pending is not None:
            self._refuse_for(error)
            return
        log.error("the endpoint failed for %s", self, exc_info=error)
        self.close(APPLICATION_ERROR.code, APPLICATION_ERROR.reason)

    def _refuse_for(self, exc: BaseException) -> None:
        """Refuse a handshake because of an exception of the endpoint."""
        try:
            if isinstance(exc, HandshakeError):
                self._refuse(exc)
                return
        except Exception as invalid:
            exc = invalid
        log.error("the endpoint failed for %s", self, exc_info=exc)
        self._refuse(HandshakeError(500, SERVER_ERROR))

    def _on_closed(self) -> None:
        if self._pending is not None:
            self._end_handshake()
            log.info("the client disconnected before its handshake was answered: %s", self)
        self._tell(self.endpoint.closed, self, self.close_code)

    # Reading

    def _readable(self) -> None:
        try:
            data = os.read(self.fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno in NO_MEMORY:
                self._reader.stop()  # it would be called again at once
                gevent.spawn_later(TRY_AGAIN, self._read_again)
                return
            data = b""
        if not data:
            self.abort()
        elif self.was_open:
            self._feed(data)
        elif self._pending is not None:
            self._pending.early += data
            self._host.memory.hold(self, len(self._pending.early))
            if len(self._pending.early) > READ_SIZE:
                self._reader.stop()

    def _read_again(self) -> None:
        """Read on after the kernel has lacked memory."""
        if self._reader is not None:
            self._reader.start(self._readable)

    def _stop_watchers(self) -> None:
        super()._stop_watchers()
        if self._reader is not None:
            self._reader.stop()
            self._reader.close()
        self._reader = None

    # Methods for transports to implement

    @abstractmethod
    def _open(self, early: bytes) -> None:
        """Start the exchange of messages; ``early`` is what the client has sent already."""

    @abstractmethod
    def _feed(self, data: bytes) -> None:
        """Handle bytes of an open socket."""
