"""A site that identifies clients in all possible ways, with one middleware for each.

The first message of a websocket is its identity. ``POST /ticket`` gives alice a ticket.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from typing import Any

from wsredis import PubSubEndpoint, WebSocketMiddleware
from wsredis.identity import IdentityResolver, JWTResolver, ProxyHeaderResolver
from wsredis.tickets import TicketResolver, issue_ticket

logging.basicConfig(level=logging.INFO)

KEY = os.environ["WSREDIS_SECRET"]
HERE = ["127.0.0.1", "unix"]


class Teller(PubSubEndpoint):
    """An endpoint that first sends its identity and the client's address."""

    def __init__(self, request: Any, context: Any) -> None:
        super().__init__(request, context)
        known = {**asdict(request.identity), "address": request.client_address}
        self._known = json.dumps(known)

    def opened(self, connection: Any) -> None:
        connection.send(self._known)


GATES: dict[str, IdentityResolver] = {
    "header": ProxyHeaderResolver(groups_header="X-Forwarded-Groups", proxies=HERE),
    "nginx": ProxyHeaderResolver(proxies=HERE, twins_dropped=True),
    "dashless": ProxyHeaderResolver("Remoteuser", proxies=HERE),
    "elsewhere": ProxyHeaderResolver("Remoteuser", proxies=["192.0.2.1"]),
    "jwt": JWTResolver(KEY, algorithms=["HS256"], cookie="token"),
    "ticket": TicketResolver(),
}


def pages(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Give a ticket."""
    body = issue_ticket("alice").encode() if environ["REQUEST_METHOD"] == "POST" else b"page"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application: Any = pages
for name, resolver in GATES.items():
    application = WebSocketMiddleware(
        application, prefix=f"/{name}/", identity=resolver, endpoint=Teller
    )
