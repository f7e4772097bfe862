"""The files of the browser client, served below the prefix if ``serve_client`` is set.

Only a request that is not a handshake gets a file, so a facility may have the same name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["client_file"]

FOLDER = Path(__file__).parent.parent / "static" / "wsredis"

SUFFIXES = (".js", ".mjs")
"""Of the files that a browser loads; the declarations of types are for editors."""

MAX_AGE = 3600
"""Seconds for which a browser may use a file without asking whether it has changed."""


class ClientFile(NamedTuple):
    """A file and its entity tag (RFC 9110 section 8.8.3)."""

    body: bytes
    tag: str


@lru_cache(maxsize=1)
def _files() -> dict[str, ClientFile]:
    """Return all files by name; read once, so that a request never leads to the disk."""
    found = {}
    for path in FOLDER.iterdir():
        if path.suffix in SUFFIXES:
            body = path.read_bytes()
            found[path.name] = ClientFile(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


def client_file(
    environ: dict[str, Any], prefix: str, start_response: Callable[..., Any]
) -> list[bytes] | None:
    """Answer a GET or HEAD for a file of the browser client; return None for any other request.

    Args:
        environ: the request.
        prefix: the path below which websockets are served.
        start_response: that of the request.
    """
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD") or "HTTP_UPGRADE" in environ:
        return None
    file = _files().get(environ["PATH_INFO"].removeprefix(prefix))
    if file is None:
        return None
    headers = [
        ("Cache-Control", f"public, max-age={MAX_AGE}"),
        ("ETag", file.tag),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if _is_known(environ.get("HTTP_IF_NONE_MATCH", ""), file.tag):
        start_response("304 Not Modified", headers)
        return []
    headers += [
        ("Content-Type", "text/javascript; charset=utf-8"),  # RFC 9239
        ("Content-Length", str(len(file.body))),
    ]
    start_response("200 OK", headers)
    return [file.body] if environ["REQUEST_METHOD"] == "GET" else []


def _is_known(condition: str, tag: str) -> bool:
    """Return whether If-None-Match lists an entity tag; a proxy may have made it weak."""
    known = [each.strip().removeprefix("W/") for each in condition.split(",")]
    return tag in known or "*" in known
