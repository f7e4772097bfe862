"""The handlers of a consumer class: which method handles an event.

An event of type ``chat.message`` is handled by the method ``chat_message``, as in Django Channels.
There, an event of a channel layer can call any public method, such as ``close``. Here, the members
of the base classes and the events of the websocket protocol, apart from ``websocket.receive``, are
not available to events of a layer: otherwise, any code that may send to a group could command the
socket.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..config.names import closest
from ..runtime.logs import Seldom
from .exceptions import UnknownEvent

__all__ = ["Handler", "Handlers", "handler_name", "shared"]

log = logging.getLogger("wsredis.consumers")

_seldom = Seldom()

REFUSED = (
    "an event of type %.100r was sent to a group or channel of %s, where it is ignored: such an"
    " event could command the websocket. (Once a minute.)"
)

NO_MESSAGE = (
    "an event of type %.100r was sent to a group or channel of %s without a message, and is"
    " ignored: give it a str as 'text', or bytes as 'bytes'. (Once a minute.)"
)

LIFECYCLE = ("connect", "receive", "receive_json", "disconnect")
"""Methods of generic consumers that users override."""

WEBSOCKET = ("websocket_connect", "websocket_receive", "websocket_disconnect")
"""The handlers of the events of the ASGI websocket protocol."""

FROM_CLIENTS = "websocket_receive"
"""The only event of the websocket protocol that a layer may send: a client could send it, too."""

LIKENESS = 0.82
"""Similarity from which the name of a method counts as a misspelled handler."""


def handler_name(event: Mapping[str, Any]) -> str:
    """Return the name of the method for an event: its type with ``_`` in place of ``.``.

    Raises:
        UnknownEvent: it has no type, or one that cannot name a handler.
    """
    if "type" not in event:
        raise UnknownEvent(
            "an event needs a type, such as 'chat.message'; this one has the keys"
            f" {list(event)!r:.200}"
        )
    kind = event["type"]
    if not isinstance(kind, str):
        raise UnknownEvent(f"the type of an event must be a str, not {kind!r:.100}")
    name = kind.replace(".", "_")
    if name[:1] in ("", "_"):
        raise UnknownEvent(
            f"the type {kind!r:.100} is empty, or begins with an underscore or a period"
        )
    return name


class _Shared:
    """A handler whose result is the message for all members of a group; see `shared`."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object, owner: type) -> Callable[[Mapping[str, Any]], Any]:
        bound: Callable[[Mapping[str, Any]], Any] = self._function.__get__(None, owner)
        return bound


def shared(method: Any) -> Any:
    """Mark a handler whose result is sent to the client, and is the same for all clients.

    It is called once for each event of a group in a process, and its result, text or bytes, is sent
    as one frame to all members of the class::

        class Prices(WebsocketConsumer):
            groups = ["prices"]

            @shared
            @staticmethod
            def price_changed(event):
                return json.dumps(event["price"])

    Args:
        method: a static method or a class method that takes an event.

    Raises:
        TypeError: it is neither, or a coroutine function.
    """
    function = getattr(method, "__func__", None)
    if not isinstance(method, staticmethod | classmethod) or function is None:
        raise TypeError(
            "shared needs a staticmethod or a classmethod, as it is called once for all clients:"
            " write @shared above @staticmethod."
        )
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} is shared, so it must not be async.")
    return _Shared(method)


class Handler(NamedTuple):
    """A handler of events of one type.

    Attributes:
        name: the name of the method.
        is_shared: whether it returns the message for all clients; see `shared`.
    """

    name: str
    is_shared: bool


class Handlers:
    """The handlers of one consumer class.

    Args:
        consumer: the class.
        is_async: whether handlers are coroutine functions.

    Attributes:
        of: the name of the class.

    Raises:
        TypeError: a handler is a coroutine function in a synchronous consumer, or the reverse.
    """

    def __init__(self, consumer: type, is_async: bool) -> None:
        self.of = consumer.__qualname__
        self._consumer = consumer
        base = [each for each in consumer.__mro__ if _is_ours(each)]
        self._reserved = {
            name
            for each in base
            for name in (*vars(each), *vars(each).get("__annotations__", ()))
            if name[0] != "_"
        }
        self._reserved.update(WEBSOCKET)
        self._reserved.discard(FROM_CLIENTS)
        self._found: dict[str, Handler] = {}
        for name, value in vars(consumer).items():
            if name[0] != "_" and not _is_ours(consumer):
                self._check(name, value, is_async)

    def refuses(self, event: Mapping[str, Any]) -> bool:
        """Return whether a layer may not send an event, and log that at times.

        Raises:
            UnknownEvent: it has no type, or one that cannot name a handler.
        """
        name = handler_name(event)
        if name == FROM_CLIENTS and not _has_message(event):
            wrong = NO_MESSAGE
        elif name in self._reserved:
            wrong = REFUSED
        else:
            return False
        if _seldom.passes(self._consumer):
            log.warning(wrong, event["type"], self.of)
        return True

    def find(self, event: Mapping[str, Any]) -> Handler:
        """Return the handler of an event.

        Raises:
            UnknownEvent: there is none.
        """
        name = handler_name(event)
        handler = self._found.get(name)
        if handler is None:
            if not self._is_method(name):
                escaped = repr(name)[1:-1]  # a type may contain line breaks
                raise UnknownEvent(
                    f"{self.of} has no handler for events of type {event['type']!r:.100}: write"
                    f" the method {escaped:.100}. It has: {', '.join(self._names()) or 'none'}."
                )
            member = inspect.getattr_static(self._consumer, name)
            handler = self._found[name] = Handler(name, isinstance(member, _Shared))
        return handler

    def _names(self) -> list[str]:
        """Return the names of all handlers for events of layers."""
        return sorted(
            name
            for name in dir(self._consumer)
            if name[0] != "_" and name not in self._reserved and self._is_method(name)
        )

    def _is_method(self, name: str) -> bool:
        """Return whether consumers have a method; ``mro``, for example, only their class has."""
        known = any(name in vars(each) for each in self._consumer.__mro__)
        return known and callable(getattr(self._consumer, name))

    def _check(self, name: str, value: Any, is_async: bool) -> None:
        function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if not inspect.isfunction(function):
            return
        parameters = [*inspect.signature(function).parameters][1:]
        takes_event = parameters in (["event"], ["message"])
        where = f"{self.of}.{name}"
        if name.startswith("websocket_") and name not in WEBSOCKET:
            _warn(where, closest(name, WEBSOCKET) or FROM_CLIENTS)
        elif name in (*LIFECYCLE, *WEBSOCKET) or takes_event:
            if inspect.iscoroutinefunction(function) != is_async:
                raise TypeError(
                    f"{where} must be {'an async' if is_async else 'a plain'} function, as"
                    f" {self.of} is {'a' if is_async else 'no'} subclass of"
                    " AsyncConsumer."
                )
        elif name not in self._reserved and (meant := closest(name, LIFECYCLE, LIKENESS)):
            _warn(where, meant)


def _warn(where: str, meant: str) -> None:
    log.warning("%s is never called by a websocket: did you mean %s?", where, meant)


def _has_message(event: Mapping[str, Any]) -> bool:
    """Return whether an event has a message as a client could send it."""
    text, data = event.get("text"), event.get("bytes")
    return isinstance(text, str) if text is not None else isinstance(data, bytes)


def _is_ours(kind: type) -> bool:
    """Return whether a class is one of this package, and not a user's."""
    return kind is object or kind.__module__.startswith(__package__ + ".")
