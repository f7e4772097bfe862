"""Absolute-form request targets, as in ``GET http://example.com/ws/x HTTP/1.1``.

A server must accept them and take the host from the target (RFC 9112 section 3.2.2). gunicorn and
Werkzeug split them; uWSGI, gevent.pywsgi and wsgiref leave the whole target in ``PATH_INFO``.
"""

from __future__ import annotations

import re
from typing import Any

from ..exceptions import HandshakeError

__all__ = ["path_of", "split_target"]

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")

NOT_VALID = "The URL in the request line is not valid: send only its path and query."


def path_of(target: str) -> str:
    """Return the path of an absolute-form target; any other text is returned as it is."""
    found = _ABSOLUTE.match(target)
    return target if found is None else found[2] or "/"


def split_target(environ: dict[str, Any]) -> None:
    """Set path and host as for a target without scheme and host.

    Raises:
        HandshakeError: 400 for a target without a valid host, or with a user.
    """
    path: str = environ["PATH_INFO"]
    found = _ABSOLUTE.match(environ["RAW_URI"] if path[:1] == "/" else path)
    if found is None or not _AUTHORITY.fullmatch(found[1]):
        raise HandshakeError(400, NOT_VALID)
    environ["HTTP_HOST"] = found[1]
    environ["PATH_INFO"] = path_of(path)
