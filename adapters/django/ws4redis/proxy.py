"""The host of a handshake, for proxies that do not forward it.

With the nginx configuration in the manual of django-websocket-redis, the Host of a handshake is the
name of the upstream instead of the site's. That name is not in ``ALLOWED_HOSTS``; the origin of the
page is then accepted as the site's own if ``ALLOWED_HOSTS`` lists its full name.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http.request import HttpRequest, split_domain_port, validate_host

from wsredis.adapters.django.application import DISALLOWED_HOST
from wsredis.exceptions import PermissionDenied

__all__ = ["name_host", "require_own_host"]


def name_host(environ: dict[str, Any]) -> None:
    """Replace the host that a proxy has set with the site's."""
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
    """Refuse a handshake whose host is not the site's, even if it matches the origin.

    That happens if another domain resolves to this server.

    Raises:
        PermissionDenied: the host is not in ``ALLOWED_HOSTS``.
    """
    request = HttpRequest()
    request.META = environ
    try:
        request.get_host()
    except DisallowedHost as exc:
        raise PermissionDenied(DISALLOWED_HOST) from exc
