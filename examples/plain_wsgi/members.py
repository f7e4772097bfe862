"""The common parts of the chats in other frameworks: the page, its files, and the access rule."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from wsredis import PermissionDenied

HERE = files("wsredis.examples.plain_wsgi")
KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript"}
SHARED = files("wsredis.examples") / "static"
FILES = {
    "chats.css": SHARED / "chats.css",
    "chats.js": SHARED / "chats.js",
    "chat.css": HERE / "chat.css",
    "chat.js": HERE / "chat.js",
    "static/wsredis/wsredis.js": files("wsredis") / "static/wsredis/wsredis.js",
}

LOGIN = """<!doctype html><title>wsredis chat</title>
<form action="/login" method="post">
  <label>Your name <input name="user" required autofocus></label> <button>Log in</button>
</form>"""


def page(user: str | None, ticket: str = "") -> str:
    """Return the chat, or the login form; ``ticket`` is the path that issues tickets, if any."""
    if not user:
        return LOGIN
    text = (HERE / "chat.html").read_text(encoding="utf-8")
    return text.replace("<body", f'<body data-ticket="{ticket}"')


def file(path: str) -> tuple[bytes, str]:
    """Return a file of the page and its MIME type; raise KeyError if there is none."""
    return FILES[path].read_bytes(), KINDS[path.rpartition(".")[2]]


def members_only(request: Any, requested: tuple[str, ...]) -> list[str]:
    """Let logged-in users subscribe and publish in the chat."""
    if not request.identity.user:
        raise PermissionDenied("Log in first.")
    return [key for key in requested if key.endswith("-broadcast")]
