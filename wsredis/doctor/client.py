"""A blocking websocket client that shows what really came back, however little HTTP it is.

The handshake and the frames are those of the Sans-I/O layer of `websockets`; bytes are read here,
so that an answer which is no 101, or no HTTP at all, can be looked at.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, parse_headers

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Origin
from websockets.uri import parse_uri

from ..handshake.refusal import REFUSED_BY
from .address import Address

__all__ = ["Answer", "Client", "Gone", "NoAnswer", "NotAccepted", "Socket"]

MAX_ANSWER = 1 << 16
"""Bytes of an answer that are read."""

AGENT = "wsredis-doctor"


class NoAnswer(Exception):
    """Something that came and is no HTTP answer.

    Args:
        data: what came.
        ended: whether the other end hung up; else nothing came in time.
    """

    def __init__(self, data: bytes, ended: bool) -> None:
        super().__init__("no answer")
        self.data = data
        self.ended = ended


class NotAccepted(Exception):
    """A 101 that is none for us (RFC 6455 section 4.1); the text says why."""


class Gone(Exception):
    """The end of a websocket.

    Args:
        code: of the server's close frame; None for an end without one.
        reason: what it said.
        broken: why the bytes were no websocket frames, or "".
    """

    def __init__(self, code: int | None, reason: str, broken: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.broken = broken

    @property
    def said(self) -> bool:
        """Return whether there was a close frame, or something that is no frame."""
        return self.code is not None or bool(self.broken)

    def __str__(self) -> str:
        if self.broken:
            return f"bytes that are no websocket frame: {self.broken}"
        if self.code is None:
            return "ended without a close frame"
        return f"closed with {self.code}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; ``raw`` is all that has come with it."""

    status: int
    reason: str
    headers: Message
    body: str
    raw: bytes

    @property
    def server(self) -> str:
        """Return what the ``Server`` header names, without its version."""
        return str(self.headers.get("Server", "")).split("/")[0].strip()

    @property
    def refused_by_wsredis(self) -> bool:
        """Return whether wsredis itself has answered."""
        return self.headers.get(REFUSED_BY) == "wsredis"

    def __str__(self) -> str:
        by = "wsredis" if self.refused_by_wsredis else self.server
        return f"{self.status} {self.reason}".strip() + (f" from {by}" if by else "")


class Wire:
    """A TCP or TLS connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, data: bytes) -> None:
        """Send everything; a connection that has ended shows when it is read."""
        try:
            self._socket.sendall(data)
        except OSError:
            pass

    def receive(self, seconds: float) -> bytes | None:
        """Return what has come; None if nothing did in time, b"" at the end."""
        self._socket.settimeout(max(seconds, 0.001))
        try:
            return self._socket.recv(1 << 16)
        except TimeoutError:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def answer(self, seconds: float) -> Answer:
        """Read one HTTP answer.

        Raises:
            NoAnswer: something else came, or nothing.
        """
        deadline = time.monotonic() + seconds
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.receive(deadline - time.monotonic())
            data += more or b""
            if not more or len(data) > MAX_ANSWER or not data.startswith(b"HTTP/"[: len(data)]):
                raise NoAnswer(data, ended=more == b"")
        head, _, body = data.partition(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        try:
            _, status, *reason = line.decode("latin-1").split(" ", 2)
            headers = parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
            code, size = int(status), int(headers.get("Content-Length", MAX_ANSWER))
        except (HTTPException, ValueError):
            raise NoAnswer(data, ended=False) from None
        if code != 101:
            chunked = "Transfer-Encoding" in headers
            while len(body) < min(size, MAX_ANSWER) and not (chunked and b"\r\n0\r\n" in body):
                more = self.receive(min(2.0, deadline - time.monotonic()))
                if not more:
                    break
                body += more
        text = body.decode("utf-8", "replace")
        return Answer(code, "".join(reason), headers, text, data)


class Socket:
    """An open websocket.

    Attributes:
        deflate: whether permessage-deflate was agreed upon.
        opened: when it was opened; `time.monotonic`.
        last: when bytes have passed last, either way.
    """

    def __init__(self, wire: Wire, protocol: ClientProtocol, data: bytes) -> None:
        self._wire = wire
        self._protocol = protocol
        protocol.receive_data(data)
        if (exc := protocol.handshake_exc) is not None:
            wire.close()
            raise NotAccepted(str(exc))
        self.deflate = bool(protocol.extensions)
        self.opened = self.last = time.monotonic()
        self._flush()  # a ping or a close may have come with the 101
        self._arrived = self._frames()

    def receive(self, seconds: float) -> list[Frame]:
        """Return the frames that have come, none if there were none in time; answer pings.

        Raises:
            Gone: there will be no more.
        """
        if not self._arrived and self._protocol.state is State.OPEN:
            if (data := self._wire.receive(seconds)) is None:
                return []
            if data:
                self.last = time.monotonic()
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            self._flush()
            self._arrived = self._frames()
        arrived, self._arrived = self._arrived, []
        if not arrived and self._protocol.state is not State.OPEN:
            self._wire.close()
            raise self._gone()
        return arrived

    def _frames(self) -> list[Frame]:
        events = self._protocol.events_received()
        frames = [event for event in events if isinstance(event, Frame)]
        return [frame for frame in frames if frame.opcode is not Opcode.CLOSE]

    def _gone(self) -> Gone:
        close, broken = self._protocol.close_rcvd, self._protocol.parser_exc
        if close is not None:
            return Gone(close.code, close.reason)
        ended = broken is None or isinstance(broken, EOFError)
        return Gone(None, "", "" if ended else str(broken))

    # An end that has come already shows when the websocket is read.

    def ping(self, data: bytes = b"doctor") -> None:
        """Send a ping."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(data)
            self._flush()

    def text(self, text: str, fin: bool = True) -> None:
        """Send a text message, or the first part of one."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode(), fin)
            self._flush()

    def raw(self, data: bytes) -> None:
        """Send bytes that are none of the protocol's own."""
        self._wire.send(data)

    def close(self) -> None:
        """Send a close frame, where somebody is left to read it, and hang up."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        self._wire.close()

    def _flush(self) -> None:
        for data in filter(None, self._protocol.data_to_send()):
            self._wire.send(data)
            self.last = time.monotonic()


class Client:
    """A visitor that goes to a site again and again.

    Args:
        address: where to go.
        origin: of the page that the visitor is on.
        headers: more headers of each request.
        seconds: to wait for each connection and answer.
    """

    def __init__(
        self,
        address: Address,
        origin: str,
        headers: Sequence[tuple[str, str]] = (),
        seconds: float = 10.0,
    ) -> None:
        self.address = address
        self.origin = origin
        self.seconds = seconds
        self._headers = tuple(headers)
        self._places: list[tuple[int, tuple[object, ...]]] = []

    def resolve(self) -> list[str]:
        """Return the addresses of the host; socket.gaierror where it has none."""
        found = socket.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        self._places = [(family, place) for family, *_, place in found]
        return list(dict.fromkeys(str(place[0]) for _, place in self._places))

    def connect(self) -> socket.socket:
        """Return a TCP connection to the first address that takes one; OSError of the last."""
        failure: OSError | None = None
        for family, place in self._places:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.settimeout(self.seconds)
            try:
                sock.connect(place)
            except OSError as exc:
                sock.close()
                failure = exc
            else:
                return sock
        assert failure is not None, "resolve comes first"
        raise failure

    def secure(self, sock: socket.socket) -> ssl.SSLSocket:
        """Return TLS on a connection, as a browser has it for a websocket; OSError if not."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])  # RFC 6455 needs it
        try:
            return context.wrap_socket(sock, server_hostname=self.address.host)
        except BaseException:
            sock.close()
            raise

    def wire(self) -> Wire:
        """Return a new connection; OSError if there is none."""
        sock = self.connect()
        return Wire(self.secure(sock) if self.address.tls else sock)

    def get(self, target: str) -> Answer:
        """Send a plain GET; raises what `shake` raises."""
        lines = [("Host", self.address.authority), ("User-Agent", AGENT), ("Connection", "close")]
        fields = "".join(f"{name}: {value}\r\n" for name, value in (*lines, *self._headers))
        wire = self.wire()
        try:
            wire.send(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode("latin-1"))
            return wire.answer(self.seconds)
        finally:
            wire.close()

    def shake(
        self, target: str, *, origin: str | None = None, deflate: bool = True
    ) -> Answer | Socket:
        """Try a handshake.

        Args:
            target: path and query.
            origin: of another page than the visitor's.
            deflate: whether to offer permessage-deflate, as browsers do.

        Raises:
            OSError: there is no connection.
            NoAnswer: something else than HTTP came, or nothing.
            NotAccepted: the 101 is not for us.
        """
        factory = ClientPerMessageDeflateFactory(client_max_window_bits=True)
        protocol = ClientProtocol(
            parse_uri(self.address.url(target)),
            origin=Origin(origin or self.origin),
            extensions=[factory] if deflate else None,
        )
        request = protocol.connect()
        for name, value in (("User-Agent", AGENT), *self._headers):
            request.headers[name] = value
        protocol.send_request(request)
        wire = self.wire()
        try:
            for data in protocol.data_to_send():
                wire.send(data)
            answer = wire.answer(self.seconds)
        except BaseException:
            wire.close()
            raise
        if answer.status == 101:
            return Socket(wire, protocol, answer.raw)
        wire.close()
        return answer
