"""The site of a soak run: wsredis and a page with this worker's census.

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


application = WebSocketMiddleware(page, identity=who, allowed_channels=everything, **OPTIONS)

if os.environ.get("SOAK_LEAKS"):
    import leaks

    leaks.install(application, os.environ["SOAK_LEAKS"].split())
