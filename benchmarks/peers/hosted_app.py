"""The applications of channels_app.py on a WSGI server, hosted by wsredis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from channels_app import application as hosted

from wsredis import WebSocketMiddleware


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


application = WebSocketMiddleware(page, asgi=hosted, asgi_prefix="/")
