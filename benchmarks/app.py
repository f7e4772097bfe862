"""The wsredis application of the benchmark: all defaults, a header for the user, a plain page.

The header replaces a site's own way to identify its users; nothing is looked up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wsredis import Identity, WebSocketMiddleware


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def identify(request: Any) -> Identity | None:
    user = request.environ.get("HTTP_X_BENCH_USER")
    groups = request.environ.get("HTTP_X_BENCH_GROUPS")
    if user is None and groups is None:
        return None
    return Identity(user=user, groups=tuple(groups.split(",")) if groups else ())


def allow(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    return requested


application = WebSocketMiddleware(page, identity=identify, allowed_channels=allow)
