"""Whoever a proxy in front of us has named in a header."""

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
    "this server folds headers whose names differ in dashes and underscores into one, so a client"
    " could send %s: write a header without dashes, like 'Remoteuser', or twins_dropped=True if"
    " the proxy drops headers with underscores, as nginx does"
)

# The major versions from which on servers drop headers with an underscore. uWSGI and wsgiref fold
# them; what others do is not known here.
_DROPPING = {"gevent": 20, "gunicorn": 22, "Werkzeug": 3}


class ProxyHeaderResolver:
    """A resolver that trusts a proxy's header, if the request comes straight from that proxy.

    The proxy must set each header, or take it away, in every request. Several values, which mean
    that a client has sent one too, are refused; so is a header that could be another one's twin:
    WSGI gives ``X-Forwarded-User`` and ``X_Forwarded_User`` one name.

    Args:
        user_header: name of the header with the user, in UTF-8.
        groups_header: name of the header with the groups, separated by commas; None for none.
        proxies: addresses and networks of the proxies, and ``unix`` for one on a Unix socket.
        twins_dropped: whether no twin gets past the proxy: it drops headers with underscores, or
            sets the headers in every request, whoever sends it.

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
                raise ConfigurationError(f"{name!r} is no header: write one like 'X-Remote-User'.")
        if isinstance(proxies, str) or not proxies:
            raise ConfigurationError(
                "proxies are addresses and networks: write proxies=['127.0.0.1'], or ['unix']."
            )
        try:
            self._proxies = Proxies(proxies)
        except ValueError as exc:
            raise ConfigurationError(f"proxies={proxies!r} is not valid: {exc}.") from exc
        self._user, *rest = map(_variable, names)
        self._groups = rest[0] if rest else None
        with_twins = [] if twins_dropped else [name for name in names if "-" in name]
        self._twins = ", ".join(name.replace("-", "_") for name in with_twins)

    def __call__(self, request: Request, /) -> Identity:
        environ = request.environ
        if self._user not in environ:
            return ANONYMOUS
        if not self._proxies.trusts(environ):
            log.info("a header that names the user is ignored: no listed proxy has sent it")
            return ANONYMOUS
        if self._twins and not _drops_twins(environ):
            log.error(_FOLDED, self._twins)
            raise PermissionDenied(_DENIED)
        user = _text(environ, self._user)
        if not user:
            return ANONYMOUS
        if "," in user:
            log.warning("a handshake with several values of the header for the user is refused")
            raise PermissionDenied(_DENIED)
        groups = _text(environ, self._groups).split(",") if self._groups else []
        return Identity(user, tuple(filter(None, map(str.strip, groups))))


def _variable(header: str) -> str:
    """Return the name of a header in the environ (RFC 3875 section 4.1.18)."""
    return "HTTP_" + header.upper().replace("-", "_")


def _text(environ: dict[str, Any], name: str) -> str:
    """Return a header; PEP 3333 hands its bytes over as latin-1."""
    value: str = environ.get(name, "")
    return value.encode("latin-1").decode().strip()


def _drops_twins(environ: dict[str, Any]) -> bool:
    if "uwsgi.version" in environ:
        return False
    found = re.match(r"(\w+)/(\d+)", environ.get("SERVER_SOFTWARE", ""))
    return found is not None and int(found[2]) >= _DROPPING.get(found[1], math.inf)
