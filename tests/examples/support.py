"""Start one of the small chats under a real server and log in."""

from __future__ import annotations

import signal
import sys
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ..servers.support import BIN, Setup, Site

__all__ = ["SERVERS", "Chat"]

SERVERS = {
    "uwsgi": (
        *(str(BIN / "uwsgi"), "--binary-path", sys.executable, "--master", "--die-on-term"),
        *("--need-app", "--http-socket", "{host}:{port}", "--gevent", "20", "--module"),
    ),
    "gunicorn": (str(BIN / "gunicorn"), "-k", "gevent", "-b", "{host}:{port}"),
}


class Chat(Site):
    """The running application of an example.

    Args:
        server: a name of `SERVERS`.
        example: name of its package.
        folder: an empty folder.
        redis: URL of Redis.
        config: options of `Config` by name.
    """

    def __init__(
        self, server: str, example: str, folder: Path, redis: str, **config: object
    ) -> None:
        command = (*SERVERS[server], f"wsredis.examples.{example}.app:application")
        setup = Setup(f"{server}-{example}", command, reload=signal.SIGHUP)
        super().__init__(setup, folder, redis, config=config)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_in(self, user: str) -> str:
        """Send the form and return the cookie."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer: HTTPResponse = self.request("POST", "/login", urlencode({"user": user}), form)
        assert answer.status in (302, 303), (answer.status, answer.text)  # type: ignore[attr-defined]
        (cookie,) = answer.headers.get_all("Set-Cookie", [])
        assert {"httponly", "samesite=lax"} <= {part.strip().lower() for part in cookie.split(";")}
        return cookie.partition(";")[0]

    def page(self, cookie: str = "") -> str:
        """Return the first page, whole with what it needs."""
        answer: Any = self.request("GET", "/", headers={"Cookie": cookie})
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/html")
        for path in ("/chat.js", "/chat.css", "/static/wsredis/wsredis.js"):
            assert path not in answer.text or self.get(path)[0] == 200
        return str(answer.text)
