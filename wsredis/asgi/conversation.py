"""The events of one websocket that an ASGI application sends: their order, and what they do.

The order is that of the ASGI websocket protocol, version 2.4. An event that is not allowed in the
current state, or that is not valid, raises in the application.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from ..exceptions import HandshakeError, PermissionDenied
from ..handshake.refusal import SERVER_ERROR
from ..handshake.upgrade import check_answer
from ..message import Data
from ..protocol.closing import APPLICATION_ERROR, VALID, CloseCode, Closing
from ..protocol.http import RETRY_SOON
from ..transports.opening import INVALID_CODE, UNAVAILABLE
from .endpoint import AsgiEndpoint

__all__ = ["ClientDisconnected", "Conversation", "Event"]

Event = Mapping[str, Any]


class ClientDisconnected(OSError):
    """The client has gone, so the event cannot be sent (ASGI websocket protocol 2.4)."""


class State(Enum):
    """The state of the conversation, as far as the application has brought it."""

    CONNECTING = "connecting"
    REFUSING = "refusing"
    OPEN = "open"
    CLOSED = "closed"


OPEN = State.OPEN  # Python 3.11 takes long to look up a member


class Conversation:
    """The application's side of a websocket: what it may send, and what it has sent.

    Args:
        endpoint: the hub's side.

    Attributes:
        disconnect: the disconnect event, once the websocket has ended.
    """

    def __init__(self, endpoint: AsgiEndpoint) -> None:
        self.disconnect: Event | None = None
        self._endpoint = endpoint
        self._state = State.CONNECTING
        self._answer: tuple[int, list[tuple[str, str]]] | None = None
        self._body = b""

    @property
    def is_open(self) -> bool:
        """Return whether the application has accepted the websocket, which has not ended."""
        return self._state is OPEN and self.disconnect is None

    @property
    def is_closed(self) -> bool:
        """Return whether the application has refused or closed the websocket, or has failed."""
        return self._state is State.CLOSED

    def send(self, event: Event) -> Data | None:
        """Do what an event says; return the message if it is one, which the caller has to send.

        Raises:
            ClientDisconnected: the websocket has ended.
            RuntimeError: the event is not allowed now.
            ValueError: the event is not valid.
        """
        kind = event["type"]
        if self._state is OPEN and kind == "websocket.send":
            return self._message(event)
        match self._state, kind:
            case State.OPEN, "websocket.close":
                self._close(event)
            case State.CONNECTING, "websocket.accept":
                self._accept(event)
            case State.CONNECTING, "websocket.close":
                self._deny()
            case State.CONNECTING, "websocket.http.response.start":
                self._start_response(event)
            case State.REFUSING, "websocket.http.response.body":
                self._continue_response(event)
            case _:
                if self._state is not State.CLOSED:
                    self.check_connected()
                raise RuntimeError(
                    UNEXPECTED.format(kind, self._state.value, EXPECTED[self._state])
                )
        return None

    def end(self) -> str | None:
        """Answer for an application that has returned.

        Returns:
            What it did wrong; None if nothing.
        """
        if self._state is State.OPEN and self.disconnect is None:
            self._close({})
        elif self.fail():
            return "returned without answering the handshake"
        return None

    def fail(self, status: int = 500, closing: Closing = APPLICATION_ERROR) -> bool:
        """Refuse the handshake, or close the websocket, for an application that has failed.

        Returns:
            Whether there was anything to refuse or to close.
        """
        state, self._state = self._state, State.CLOSED
        if self.disconnect is not None or state is State.CLOSED:
            return False
        if state is State.OPEN:
            self._endpoint.call(self._endpoint.close, closing.code, closing.reason)
        else:
            self._endpoint.call(self._endpoint.refuse, _REFUSALS[status])
        return True

    def check_connected(self) -> None:
        """Check that the websocket has not ended.

        Raises:
            ClientDisconnected: it has.
        """
        if self.disconnect is not None:
            raise ClientDisconnected("the client has disconnected")

    def _accept(self, event: Event) -> None:
        self.check_connected()
        subprotocol = event.get("subprotocol")
        headers = _headers(event)
        check_answer(subprotocol, tuple(self._endpoint.scope["subprotocols"]), headers)
        self._state = State.OPEN
        self._endpoint.call(self._endpoint.accept, subprotocol, headers)

    def _message(self, event: Event) -> Data:
        text, data = event.get("text"), event.get("bytes")
        message: object = text if text is not None else data
        if (text is None) == (data is None) or not isinstance(message, (str, bytes)):
            raise ValueError("websocket.send needs either text, a str, or bytes.")
        self.check_connected()
        if isinstance(message, str) and not message.isascii():
            _check_encodable("text", message)
        return message

    def _deny(self) -> None:
        self.check_connected()
        self._state = State.CLOSED
        self._endpoint.call(self._endpoint.refuse, PermissionDenied(REFUSED))

    def _close(self, event: Event) -> None:
        code = event.get("code", CloseCode.NORMAL_CLOSURE)
        code = CloseCode.NORMAL_CLOSURE if code is None else code
        if not isinstance(code, int) or code not in VALID:
            raise ValueError(INVALID_CODE.format(code))
        reason = event.get("reason") or ""
        if not isinstance(reason, str):
            raise ValueError("The reason of websocket.close is not a str.")
        _check_encodable("reason", reason)
        self.check_connected()
        self._state = State.CLOSED
        self._endpoint.call(self._endpoint.close, int(code), reason)

    def _start_response(self, event: Event) -> None:
        self.check_connected()
        self._answer = event["status"], _headers(event)
        self._state = State.REFUSING

    def _continue_response(self, event: Event) -> None:
        self.check_connected()
        self._body += event.get("body", b"")
        if event.get("more_body", False):
            return
        assert self._answer is not None  # since the start
        status, headers = self._answer
        kind = "text/plain; charset=utf-8"
        others = []
        for name, value in headers:
            if name.lower() == "content-type":
                kind = value
            elif name.lower() not in ("content-length", "connection", "transfer-encoding"):
                others.append((name, value))
        error = HandshakeError(status, REFUSED, others, body=self._body, content_type=kind)
        self._state = State.CLOSED
        self._endpoint.call(self._endpoint.refuse, error)


def _check_encodable(what: str, text: str) -> None:
    """Check that a text has no surrogates, so that it fails in the application.

    Raises:
        ValueError: it has.
    """
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"the {what} has a lone surrogate, {text[exc.start]!r} at index {exc.start}, which"
            ' UTF-8 cannot encode: remove it, for example with text.encode(errors="replace").'
        ) from None


def _headers(event: Event) -> list[tuple[str, str]]:
    """Return the headers of an event as text.

    Raises:
        ValueError: they are not pairs of bytes.
    """
    pairs = event.get("headers") or ()
    try:
        return [(str(name, "latin-1"), str(value, "latin-1")) for name, value in pairs]
    except (TypeError, ValueError):
        raise ValueError(INVALID_HEADERS.format(event["type"])) from None


_REFUSALS = {
    500: HandshakeError(500, SERVER_ERROR),
    503: HandshakeError(503, UNAVAILABLE, RETRY_SOON),
}

REFUSED = "The application has refused this websocket."

UNEXPECTED = "{0!r} cannot be sent while the websocket is {1}: send {2}."

INVALID_HEADERS = (
    'The headers of {0} are not valid: write pairs of bytes, such as [(b"x-name", b"value")].'
)

EXPECTED = {
    State.CONNECTING: ("websocket.accept, websocket.close or websocket.http.response.start"),
    State.REFUSING: "websocket.http.response.body",
    State.OPEN: "websocket.send or websocket.close",
    State.CLOSED: "nothing more",
}
