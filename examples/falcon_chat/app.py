"""A chat in Falcon for logged-in users, whose identity is a token that is valid for an hour.

``pip install falcon "wsredis[jwt]"`` and start ``wsredis.examples.falcon_chat.app:application``. A
browser sends the token in a cookie, other clients as ``Authorization: Bearer``.
"""

from __future__ import annotations

import os
import secrets
import time

import falcon
import jwt

from wsredis import WebSocketMiddleware
from wsredis.examples.plain_wsgi.members import FILES, file, members_only, page
from wsredis.identity import JWTResolver

# A real site stores it: all its processes need the same secret, also after a restart.
SECRET = os.environ.get("CHAT_SECRET") or secrets.token_hex()
HOUR = 3600  # seconds


class Chat:
    """The chat, or the login form."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type, resp.text = falcon.MEDIA_HTML, page(req.cookies.get("token"))


class Login:
    """The login, which gives the user a token."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        user = req.get_media()["user"]  # a real site asks for a password
        resp.text = jwt.encode({"sub": user, "exp": int(time.time()) + HOUR}, SECRET, "HS256")
        secure = req.scheme == "https"
        resp.set_cookie("token", resp.text, max_age=HOUR, secure=secure, same_site="Lax")
        resp.status, resp.location = falcon.HTTP_SEE_OTHER, "/"


class Files:
    """The scripts and styles of the page."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.data, resp.content_type = file(req.path.strip("/"))


site = falcon.App()
site.add_route("/", Chat())
site.add_route("/login", Login())
for path in FILES:
    site.add_route(f"/{path}", Files())

application = WebSocketMiddleware(
    site,
    identity=JWTResolver(SECRET, algorithms=["HS256"], cookie="token"),
    allowed_channels=members_only,
)
