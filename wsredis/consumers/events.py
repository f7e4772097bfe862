"""The events of the ASGI websocket protocol that a consumer receives and sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

__all__ = [
    "Event",
    "Headers",
    "Receive",
    "Send",
    "accept_event",
    "close_event",
    "message_event",
    "received_data",
    "result_event",
]

Event = Mapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

NOT_TEXT = "text_data must be a str, not {}: encode it, for example with send_json or json.dumps."
NOT_BYTES = "bytes_data must be bytes, not {}: send a str as text_data."


def accept_event(subprotocol: str | None, headers: Headers | None) -> Event:
    """Return the event that opens a websocket."""
    event: dict[str, Any] = {"type": "websocket.accept", "subprotocol": subprotocol}
    if headers:
        event["headers"] = list(headers)
    return event


def message_event(text_data: Any, bytes_data: Any = None) -> Event:
    """Return the event that sends a message: the text, or the bytes if there is no text.

    Raises:
        ValueError: there is neither, or one of the wrong type.
    """
    if text_data is not None:
        if not isinstance(text_data, str):
            raise ValueError(NOT_TEXT.format(type(text_data).__name__))
        return {"type": "websocket.send", "text": text_data}
    if bytes_data is None:
        raise ValueError("send needs a message: pass text_data or bytes_data.")
    if not isinstance(bytes_data, bytes):
        raise ValueError(NOT_BYTES.format(type(bytes_data).__name__))
    return {"type": "websocket.send", "bytes": bytes_data}


def result_event(result: Any) -> Event:
    """Return the event that sends the result of a shared handler.

    Raises:
        ValueError: it is neither text nor bytes.
    """
    if not isinstance(result, str | bytes):
        raise ValueError(f"a shared handler returns text or bytes, not {type(result).__name__}")
    return {"type": "websocket.send", "text" if isinstance(result, str) else "bytes": result}


def close_event(code: int | bool | None, reason: str | None) -> Event:
    """Return the event that closes a websocket, or refuses its handshake."""
    event: dict[str, Any] = {"type": "websocket.close"}
    if code is not None and code is not True:
        event["code"] = code
    if reason:
        event["reason"] = reason
    return event


def received_data(event: Event) -> dict[str, Any]:
    """Return the arguments of ``receive`` for a message of the client."""
    text = event.get("text")
    return {"text_data": text} if text is not None else {"bytes_data": event["bytes"]}
