"""Endpoints that answer the handshake in all possible ways; the facility selects one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import gevent

from wsredis import Endpoint, EndpointContext, HandshakeError, WebSocketMiddleware

AGAIN = '{"error": "quota", "retry": false}'

ended: dict[str, list[tuple[int, str]]] = {}
"""Close code and reason of every endpoint that has ended, by its facility."""


class Answering(Endpoint):
    """The base class, which records how a websocket ends."""

    def __init__(self, request: Any, context: EndpointContext) -> None:
        self.context = context

    def later(self, function: Callable[[], None], seconds: float = 0.1) -> None:
        """Call a function on the loop after some time; call it on the loop.

        Where gevent has patched the process, a thread cannot be started there.
        """
        gevent.spawn_later(seconds, function)

    def closed(self, connection: Any, code: int) -> None:
        ended.setdefault(self.context.facility, []).append((code, connection.close_reason))


class Later(Answering):
    """An endpoint that accepts later, in a call scheduled before there was a connection."""

    deferred = True

    def __init__(self, request: Any, context: EndpointContext) -> None:
        super().__init__(request, context)
        self.connection: Any = None
        threading.Timer(0.1, context.soon, [self.decide]).start()

    def connecting(self, connection: Any) -> None:
        self.connection = connection

    def decide(self) -> None:
        if self.connection is None:  # the request is slower than the timer
            self.later(self.decide)
        else:
            self.connection.send("sent before")
            self.connection.accept(self.context.offered[-1], [("X-Answered", "later")])

    def opened(self, connection: Any) -> None:
        connection.send(f"opened with {connection.subprotocol}")

    def received(self, connection: Any, message: Any) -> None:
        connection.send(message)


class RefusedLater(Answering):
    """An endpoint that refuses later."""

    deferred = True

    def connecting(self, connection: Any) -> None:
        self.later(lambda: connection.refuse(409, "Enough.", body=AGAIN, content_type=JSON))


class Silent(Answering):
    """An endpoint that never answers."""

    deferred = True


class Refused(Answering):
    """An endpoint that refuses at once."""

    def __init__(self, request: Any, context: EndpointContext) -> None:
        super().__init__(request, context)
        raise HandshakeError(409, "Enough.", [("X-Quota", "3")], body=AGAIN, content_type=JSON)


class Picks(Answering):
    """An endpoint that chooses the subprotocol and adds a header."""

    def __init__(self, request: Any, context: EndpointContext) -> None:
        super().__init__(request, context)
        self.subprotocol = context.offered[-1]
        self.headers = [("X-Answered", "at once")]


class Holds(Answering):
    """An endpoint that holds reading after each "hold", and counts the messages meanwhile."""

    def __init__(self, request: Any, context: EndpointContext) -> None:
        super().__init__(request, context)
        self.heard = 0

    def received(self, connection: Any, message: Any) -> None:
        self.heard += 1
        if message != "hold":
            connection.send(message)
            return
        heard = self.heard

        def release() -> None:
            connection.send(f"heard {self.heard - heard}")
            connection.release()

        connection.hold()
        self.later(release)


class Drains(Answering):
    """An endpoint that sends until it is told to wait, and then waits."""

    waits = False

    def received(self, connection: Any, message: Any) -> None:
        while connection.send("x" * 1000):
            pass
        self.waits = True

    def drained(self, connection: Any) -> None:
        if self.waits:
            self.waits = False
            connection.send("drained")


JSON = "application/json"

KINDS: dict[str, type[Answering]] = {
    "drains": Drains,
    "holds": Holds,
    "later": Later,
    "picks": Picks,
    "raises": Silent,
    "refused": Refused,
    "refused-later": RefusedLater,
    "silent": Silent,
}


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = json.dumps(ended).encode()
    start_response("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(body)))])
    return [body]


def endpoint(request: Any, context: EndpointContext) -> Endpoint:
    return KINDS[context.facility](request, context)


middleware = WebSocketMiddleware(page, endpoint=endpoint)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Pass a request on; at one address, something around the middleware fails."""

    def fail(*args: Any) -> Any:
        raise LookupError("the session store has a secret problem")

    raises = environ["PATH_INFO"] == "/ws/raises"
    return middleware(environ, fail if raises else start_response)
