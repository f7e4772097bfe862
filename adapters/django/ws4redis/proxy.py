"""The host of a page, where a proxy has kept it to itself.

The manual of django-websocket-redis sets nginx up so that a handshake arrives with the name of the
upstream instead of the site's. Such a name is none of ``ALLOWED_HOSTS``; the origin of the page
then counts as the site's own if that setting names it in full.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http.request import HttpRequest, split_domain_port, validate_host

from wsredis.exceptions import PermissionDenied

__all__ = ["name_host", "require_own_host"]


def name_host(environ: dict[str, Any]) -> None:
    """Put the site's host where a proxy has put its own."""
    allowed = settings.ALLOWED_HOSTS
    domain, _ = split_domain_port(environ.get("HTTP_HOST", ""))
    if not allowed or (domain and validate_host(domain, allowed)):
        return
    try:
        origin = urlsplit(environ.get("HTTP_ORIGIN", ""))
        port = origin.port
    except ValueError:
        return
    if port is None and origin.hostname in [host.lower() for host in allowed]:
        environ["HTTP_HOST"] = origin.netloc


def require_own_host(environ: dict[str, Any]) -> None:
    """Refuse a page whose own name leads here: it agrees with the host, and is not the site's.

    Raises:
        PermissionDenied: the host is none of ``ALLOWED_HOSTS``.
    """
    request = HttpRequest()
    request.META = environ
    try:
        request.get_host()
    except DisallowedHost as exc:
        raise PermissionDenied("The host of this request is not in ALLOWED_HOSTS.") from exc
