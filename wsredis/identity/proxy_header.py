"""Identities from a header that a proxy sets."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

from ..exceptions import ConfigurationError, PermissionDenied
from ..proxies import Proxies
from .base import ANONYMOUS, Identity, Request

__all__ = ["ProxyHeaderResolver"]

log = logging.getLogger("wsredis.identity")

_DENIED = "The client could not be identified."

_FOLDED = (
    "this server does not distinguish dashes and underscores in header names, so a client"
    " could forge the header as %s: write a header without dashes, like 'Remoteuser', or"
    " twins_dropped=True if the proxy drops headers with underscores, as nginx does"
)

# The first major versions of servers that drop headers with an underscore. uWSGI and wsgiref do
# not drop them, and other servers may not.
_DROPPING = {"gevent": 20, "gunicorn": 22, "Werkzeug": 3}


class ProxyHeaderResolver:
    """A resolver that trusts a proxy's header if the request comes directly from that proxy.

    The proxy must set or remove each header in every request. A header with several values is
    refused, as the client must have sent one of them. A header that could be the twin of another
    header is refused too: WSGI has the same name for ``X-Forwarded-User`` and ``X_Forwarded_User``.

    Args:
        user_header: name of the header with the user, in UTF-8.
        groups_header: name of the header with the groups, separated by commas; None for no groups.
        proxies: addresses and networks of the proxies, and ``unix`` for one on a Unix socket.
        twins_dropped: whether no twin gets past the proxy, because it drops headers with
            underscores or sets the headers in all requests of all clients.

    Raises:
        ConfigurationError: there are no proxies, or an argument is not valid.
    """

    def __init__(
        self,
        user_header: str = "X-Forwarded-User",
        groups_header: str | None = None,
        *,
        proxies: Sequence[str],
        twins_dropped: bool = False,
    ) -> None:
        names = [name for name in (user_header, groups_header) if name is not None]
        for name in names:
            if not name or not name.isascii() or not name.replace("-", "a").isalnum():
                raise ConfigurationError(
                    f"{name!r} is not a header name: write one like 'X-Remote-User'."
                )
        if isinstance(proxies, str) or not proxies:
            raise ConfigurationError(
                "proxies must be a list of addresses and networks:"
                " write proxies=['127.0.0.1'], or ['unix']."
            )
        try:
            self._proxies = Proxies(proxies)
        except ValueError as exc:
            raise ConfigurationError(
                f"proxies={proxies!r} is not valid: write addresses, networks like '10.0.0.0/8'"
                " (but not all addresses), or 'unix'."
            ) from exc
        self._user, *rest = map(_variable, names)
        self._groups = rest[0] if rest else None
        with_twins = [] if twins_dropped else [name for name in names if "-" in name]
        self._twins = ", ".join(name.replace("-", "_") for name in with_twins)

    def __call__(self, request: Request, /) -> Identity:
        environ = request.environ
        if self._user not in environ:
            return ANONYMOUS
        if not self._proxies.trusts(environ):
            log.info("the header for the user is ignored: it was not sent by a listed proxy")
            return ANONYMOUS
        if self._twins and not _drops_twins(environ):
            log.error(_FOLDED, self._twins)
            raise PermissionDenied(_DENIED)
        user = _text(environ, self._user)
        if not user:
            return ANONYMOUS
        if "," in user:
            log.warning("a handshake was refused: the header for the user has several values")
            raise PermissionDenied(_DENIED)
        groups = _text(environ, self._groups).split(",") if self._groups else []
        return Identity(user, tuple(filter(None, map(str.strip, groups))))


def _variable(header: str) -> str:
    """Return the name of a header in the environ (RFC 3875 section 4.1.18)."""
    return "HTTP_" + header.upper().replace("-", "_")


def _text(environ: dict[str, Any], name: str) -> str:
    """Return a header as UTF-8 text; PEP 3333 decodes its bytes as latin-1."""
    value: str = environ.get(name, "")
    return value.encode("latin-1").decode().strip()


def _drops_twins(environ: dict[str, Any]) -> bool:
    if "uwsgi.version" in environ:
        return False
    found = re.match(r"(\w+)/(\d+)", environ.get("SERVER_SOFTWARE", ""))
    return found is not None and int(found[2]) >= _DROPPING.get(found[1], math.inf)
