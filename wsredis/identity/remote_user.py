"""Identities from ``REMOTE_USER``, set by the WSGI server or an outer middleware."""

from __future__ import annotations

from collections.abc import Mapping

from .base import ANONYMOUS, Identity, Request

__all__ = ["RemoteUserResolver"]


class RemoteUserResolver:
    """A resolver that trusts ``REMOTE_USER``, set by the WSGI server or an outer middleware.

    A client's headers cannot set this variable (they arrive as ``HTTP_*``; CGI, RFC 3875 sections
    4.1.11 and 4.1.18).

    Args:
        groups: the groups of each user, as a mapping from user to groups.
    """

    def __init__(self, groups: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._groups = {} if groups is None else groups  # an empty one may be filled later

    def __call__(self, request: Request, /) -> Identity:
        user = request.environ.get("REMOTE_USER")
        return Identity(user, self._groups.get(user, ())) if user else ANONYMOUS
