"""A blocking websocket client that exposes the raw response, even if it is not HTTP.

The Sans-I/O layer of `websockets` handles the handshake and the frames. Bytes are read here, so
that a response other than a 101, or no HTTP at all, can be examined.
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
"""Bytes of a response that are read at most."""

AGENT = "wsredis-doctor"


class NoAnswer(Exception):
    """The lack of an HTTP response.

    Args:
        data: the bytes that were received instead.
        ended: whether the server closed the connection; else the timeout has passed.
    """

    def __init__(self, data: bytes, ended: bool) -> None:
        super().__init__("no HTTP response")
        self.data = data
        self.ended = ended


class NotAccepted(Exception):
    """A 101 that does not match the handshake (RFC 6455 section 4.1); the text says why."""


class Gone(Exception):
    """The end of a websocket.

    Args:
        code: close code of the server's close frame; None for an end without a close frame.
        reason: close reason of that frame.
        broken: why the received bytes are not valid websocket frames, or "".
    """

    def __init__(self, code: int | None, reason: str, broken: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.broken = broken

    @property
    def said(self) -> bool:
        """Return whether there was a close frame, or bytes that are not valid frames."""
        return self.code is not None or bool(self.broken)

    def __str__(self) -> str:
        if self.broken:
            return f"bytes that are not a websocket frame: {self.broken}"
        if self.code is None:
            return "ended without a close frame"
        return f"closed with {self.code}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; ``raw`` is everything that was received."""

    status: int
    reason: str
    headers: Message
    body: str
    raw: bytes

    @property
    def server(self) -> str:
        """Return the product in the ``Server`` header, without its version."""
        return str(self.headers.get("Server", "")).split("/")[0].strip()

    @property
    def refused_by_wsredis(self) -> bool:
        """Return whether the response is from wsredis itself."""
        return self.headers.get(REFUSED_BY) == "wsredis"

    def __str__(self) -> str:
        by = "wsredis" if self.refused_by_wsredis else self.server
        return f"{self.status} {self.reason}".strip() + (f" from {by}" if by else "")


class Wire:
    """A TCP or TLS connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, data: bytes) -> None:
        """Send all bytes; the end of the connection is noticed by `receive`."""
        try:
            self._socket.sendall(data)
        except OSError:
            pass

    def receive(self, seconds: float) -> bytes | None:
        """Return received bytes; None if there were none in time, b"" at the end."""
        self._socket.settimeout(max(seconds, 0.001))
        try:
            return self._socket.recv(1 << 16)
        except TimeoutError:
            return None
        except OSError:
            return b""

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def answer(self, seconds: float) -> Answer:
        """Read one HTTP response.

        Raises:
            NoAnswer: other bytes were received, or none.
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
        deflate: whether permessage-deflate was negotiated.
        opened: time at which it was opened (`time.monotonic`).
        last: time at which bytes were last sent or received.
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
        self._flush()  # a ping or a close frame may have come with the 101
        self._arrived = self._frames()

    def receive(self, seconds: float) -> list[Frame]:
        """Return the received frames, an empty list if there were none in time; answer pings.

        Raises:
            Gone: the websocket has ended.
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

    # If the websocket has ended already, the methods below do nothing and `receive` raises Gone.

    def ping(self, data: bytes = b"doctor") -> None:
        """Send a ping."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(data)
            self._flush()

    def text(self, text: str, fin: bool = True) -> None:
        """Send a text message, or the first fragment of one."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode(), fin)
            self._flush()

    def raw(self, data: bytes) -> None:
        """Send raw bytes, bypassing the protocol."""
        self._wire.send(data)

    def close(self) -> None:
        """Send a close frame, if the websocket is still open, and close the connection."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        self._wire.close()

    def _flush(self) -> None:
        for data in filter(None, self._protocol.data_to_send()):
            self._wire.send(data)
            self.last = time.monotonic()


class Client:
    """A client that connects to a site any number of times.

    Args:
        address: the address of the websockets.
        origin: the value of the Origin header.
        headers: additional headers of each request.
        seconds: timeout for each connection and each response.
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
        """Return the IP addresses of the host; raise socket.gaierror if there are none."""
        found = socket.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        self._places = [(family, place) for family, *_, place in found]
        return list(dict.fromkeys(str(place[0]) for _, place in self._places))

    def connect(self) -> socket.socket:
        """Return a TCP connection to the first address that accepts one.

        Raises:
            OSError: no address accepts one; the error is that of the last address.
        """
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
        assert failure is not None, "call resolve first"
        raise failure

    def secure(self, sock: socket.socket) -> ssl.SSLSocket:
        """Return a TLS socket over a connection, set up as browsers do it for a websocket.

        Raises:
            OSError: the TLS handshake failed.
        """
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])  # RFC 6455 requires HTTP/1.1
        try:
            return context.wrap_socket(sock, server_hostname=self.address.host)
        except BaseException:
            sock.close()
            raise

    def wire(self) -> Wire:
        """Return a new connection; raise OSError if there is none."""
        sock = self.connect()
        return Wire(self.secure(sock) if self.address.tls else sock)

    def get(self, target: str) -> Answer:
        """Send a plain GET and return the response.

        Raises:
            OSError: there is no connection.
            NoAnswer: the reply is not HTTP, or there is none.
        """
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
            origin: the Origin header, by default that of the client.
            deflate: whether to offer permessage-deflate, as browsers do.

        Raises:
            OSError: there is no connection.
            NoAnswer: the reply is not HTTP, or there is none.
            NotAccepted: the 101 does not match the handshake.
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
