"""The request of a handshake, as resolvers, policies and endpoints get it."""

from __future__ import annotations

from webob import Request as BaseRequest

from ..identity import ANONYMOUS

__all__ = ["Request"]


class Request(BaseRequest):
    """A `webob.Request` with what a handshake has found out.

    The class has these attributes, as WebOb is slow to look for others.

    Attributes:
        identity: of the client, once the resolver has returned it.
        client_address: where the client is, behind trusted proxies too; "" if that is unknown.
    """

    identity = ANONYMOUS
    client_address = ""
