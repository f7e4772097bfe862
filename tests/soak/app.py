"""The site of a soak run: wsredis, consumers, and a page with this worker's census.

Headers set the identity. With SOAK_LEAKS in the environment the site leaks resources on
purpose, to test that a run detects it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from census import census, listening

from wsredis import WebSocketMiddleware
from wsredis.consumers import AsyncWebsocketConsumer, WebsocketConsumer, shared
from wsredis.identity import Identity

OPTIONS: dict[str, Any] = json.loads(os.environ["SOAK_OPTIONS"])


def who(request: Any) -> Identity:
    """Return the identity that the headers of the request name."""
    headers = request.headers
    return Identity(
        user=headers.get("X-User"),
        groups=tuple(filter(None, headers.get("X-Groups", "").split(","))),
        session=headers.get("X-Session"),
    )


def everything(request: Any, requested: Iterable[str]) -> Iterable[str]:
    """Grant all requested channels."""
    return requested


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Respond with the census, or with the subscriptions alone."""
    count = census if environ["PATH_INFO"] == "/census" else listening
    body = json.dumps(count(application)).encode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]


class Sync(WebsocketConsumer):
    """A member of a group, which sends what its client says to all members."""

    def connect(self) -> None:
        self.group = self.scope["url_route"]["kwargs"]["group"]
        self.group_add(self.group)
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.group_send(self.group, {"type": "line", "text": text_data})

    def line(self, event: Any) -> None:
        self.send(text_data=event["text"])


class Shared(Sync):
    """The same, with a handler that runs once for all members."""

    @shared
    @staticmethod
    def line(event: Any) -> str:
        text: str = event["text"]
        return text


class Async(AsyncWebsocketConsumer):
    """The same, asynchronous."""

    async def connect(self) -> None:
        self.group = self.scope["url_route"]["kwargs"]["group"]
        await self.group_add(self.group)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.group_send(self.group, {"type": "line", "text": text_data})

    async def line(self, event: Any) -> None:
        await self.send(text_data=event["text"])


ROUTES = [
    (f"{name}/<str:group>", consumer)
    for name, consumer in (("sync", Sync), ("shared", Shared), ("async", Async))
]

application = WebSocketMiddleware(
    page, identity=who, allowed_channels=everything, routes=ROUTES, **OPTIONS
)

if os.environ.get("SOAK_LEAKS"):
    import leaks

    leaks.install(os.environ["SOAK_LEAKS"].split())
