"""A chat in Bottle for logged-in users, whose identity is their Beaker session.

``pip install bottle Beaker`` and start ``wsredis.examples.bottle_chat.app:application``.
"""

from __future__ import annotations

from typing import Any

from beaker.middleware import SessionMiddleware
from bottle import Bottle, HTTPResponse, redirect, request

from wsredis import WebSocketMiddleware
from wsredis.examples.plain_wsgi.members import FILES, file, members_only, page
from wsredis.identity import SessionResolver

site = Bottle()


def session_of(request: Any) -> Any:
    """Return the session that the middleware below has loaded for a page or a websocket."""
    return request.environ["beaker.session"]


@site.get("/")
def chat() -> str:
    """Show the chat, or the login form."""
    return page(session_of(request).get("user"))


@site.post("/login")
def login() -> None:
    """Store the user's name in the session."""
    session = session_of(request)
    session.regenerate_id()
    session["user"] = request.forms.getunicode("user")  # a real site asks for a password
    session.save()
    redirect("/")


@site.get(f"/<path:re:{'|'.join(FILES)}>")
def files(path: str) -> HTTPResponse:
    """Send the page's script and style."""
    body, kind = file(path)
    return HTTPResponse(body, content_type=kind)


websockets = WebSocketMiddleware(
    site,
    identity=SessionResolver(session_of),
    allowed_channels=members_only,
)
# Sessions in memory work with one process only; Beaker has other types.
application = SessionMiddleware(
    websockets,
    {"session.type": "memory", "session.httponly": True, "session.samesite": "Lax"},
)
