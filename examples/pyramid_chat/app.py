"""A chat in Pyramid for logged-in users: a view issues them a ticket for each websocket.

``pip install pyramid`` and start ``wsredis.examples.pyramid_chat.app:application``. With tickets,
websockets may even be on another host, to which the browser sends no cookies.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPSeeOther
from pyramid.response import Response
from pyramid.session import SignedCookieSessionFactory

from wsredis import WebSocketMiddleware, configure
from wsredis.examples.plain_wsgi.members import FILES, file, members_only, page
from wsredis.tickets import TicketResolver, issue_ticket

# A real site stores it: all its processes need the same secret, also after a restart.
SECRET = os.environ.get("WSREDIS_SECRET") or secrets.token_hex()
configure(secret=SECRET)


def chat(request: Any) -> Response:
    """Show the chat, or the login form."""
    return Response(page(request.session.get("user"), ticket="/ticket"))


def login(request: Any) -> Response:
    """Store the user's name in the session."""
    request.session["user"] = request.POST["user"]  # a real site asks for a password
    return HTTPSeeOther("/", headers=request.response.headers)


def ticket(request: Any) -> Response:
    """Issue a ticket to a logged-in user; the page requests one before each connection."""
    if "user" not in request.session:
        return HTTPForbidden()
    return Response(issue_ticket(request.session["user"]), cache_control="no-store")


def files(request: Any) -> Response:
    """Send a script or a style of the page."""
    body, kind = file(request.path.strip("/"))
    return Response(body, content_type=kind)


with Configurator(session_factory=SignedCookieSessionFactory(SECRET, httponly=True)) as config:
    for view, path, method in (
        (chat, "/", "GET"),
        (login, "/login", "POST"),
        (ticket, "/ticket", "POST"),
        *((files, f"/{path}", "GET") for path in FILES),
    ):
        config.add_route(path, path)
        config.add_view(view, route_name=path, request_method=method)
    application = WebSocketMiddleware(
        config.make_wsgi_app(), identity=TicketResolver(), allowed_channels=members_only
    )
